"""Vote Images: two pictures, one tap. Every pair is shown to a visitor once."""

from __future__ import annotations

from functools import partial

import streamlit as st

from db.errors import AlreadyVoted, PairGone, TooFast, UnknownJob
from db.jobs import Job, State
from db.votes import Choice
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors, sentence
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, ngettext
from pages.shared.navigation import GENERATION, LEADERBOARD, show
from pages.shared.studio import the_studio
from pages.shared.text import esc, short
from pages.shared.visitor import the_visitor
from studio import access, vote
from studio.context import Submitter

ALT = {"left": N_("left picture: {prompt}"), "right": N_("right picture: {prompt}")}
NAMES = {"left": N_("Left one"), "right": N_("Right one")}


def page() -> None:
    """The pair to compare next, or what to do where there is none."""
    visitor = the_visitor()
    pair = _pair(visitor)
    given = vote.given(the_studio(), visitor)
    if pair is None:
        _nothing_to_compare(given)
        return
    left, right = pair
    with st.container(key="vote_area"):
        _question(left, right)
        files = files_of([left.id, right.id])
        sides: tuple[Choice, Choice] = ("left", "right")
        for job, cell, choice in zip(pair, st.columns(2, gap="small", wrap=False), sides, strict=True):
            with cell, st.container(key=f"vote_{choice}"):
                found = files[job.id]
                draw_picture(load(found.get("picture")), key=choice, alt=_(ALT[choice], prompt=job.prompt))
                st.button(
                    _(NAMES[choice]),
                    key=f"choose_{choice}",
                    on_click=partial(_cast, visitor, left, right, choice),
                    type="primary",
                    width="stretch",
                    shortcut=choice.capitalize(),
                )
        st.button(
            _("Can't tell"),
            key="choose_tie",
            on_click=partial(_cast, visitor, left, right, "tie"),
            width="stretch",
            shortcut="Down",
        )
        st.html(f'<div class="t2i-meta t2i-question">{_progress(given)}</div>')
        if given:
            with st.container(horizontal_alignment="center"):
                st.page_link(LEADERBOARD, label=_("Leaderboard"), icon=":material/arrow_forward:", width="content")


def _pair(visitor: Submitter) -> tuple[Job, Job] | None:
    """The pair on show until it is voted on, so that a reload or a widget does not deal another one."""
    shown: tuple[str, str] | None = st.session_state.get("pair")
    if shown is not None:
        try:
            pair = access.job(the_studio(), visitor, shown[0]), access.job(the_studio(), visitor, shown[1])
            if all(job.state == State.SUCCEEDED for job in pair):
                return pair
        except UnknownJob:
            pass
    found = _dealer().next_pair(the_studio(), visitor)
    st.session_state["pair"] = None if found is None else (found[0].id, found[1].id)
    return found


@st.cache_resource(show_spinner=False)
def _dealer() -> vote.Dealer:
    # Shared by all who vote: what votes on some hundred pictures say is worked out once in a while.
    return vote.Dealer()


def _question(left: Job, right: Job) -> None:
    if " ".join(left.prompt.casefold().split()) == " ".join(right.prompt.casefold().split()):
        st.html(
            f'<div class="t2i-meta t2i-question">{esc(_("Which picture shows this better?"))}</div>'
            f'<div class="t2i-prompt whole t2i-question">{esc(short(left.prompt, 200))}</div>'
        )
        return
    question = _("Which picture shows its own prompt better?")
    st.html(f'<div class="t2i-meta t2i-question">{esc(question)}</div>')
    for job, cell in zip((left, right), st.columns(2, gap="small", wrap=False), strict=True):
        with cell:
            st.html(f'<div class="t2i-prompt t2i-question t2i-two">{esc(short(job.prompt, 120))}</div>')


def _cast(visitor: Submitter, left: Job, right: Job, choice: Choice) -> None:
    with plain_errors():
        try:
            vote.cast(the_studio(), visitor, left.id, right.id, choice)
        except TooFast as error:
            st.toast(sentence(error))
            return
        except AlreadyVoted:
            # The same pair was open in another tab; the vote there counts.
            st.toast(_("You have already compared these two; here are the next."))
        except PairGone:
            st.toast(_("One of these two was taken out meanwhile, so your vote does not count; here are the next."))
        st.session_state["pair"] = None


def _progress(given: int) -> str:
    """HTML: how many votes they have given, and what helps with the first."""
    if given == 0:
        return f'{esc(_("Your first vote."))} <span class="t2i-keys">{esc(_("The arrow keys work too."))}</span>'
    return esc(ngettext("{n} vote so far. Thank you.", "{n} votes so far. Thank you.", given))


def _nothing_to_compare(given: int) -> None:
    if given:
        empty_state(
            _("You have seen every pair"),
            ngettext(
                "You have given {n} vote. New pictures bring new pairs.",
                "You have given {n} votes. New pictures bring new pairs.",
                given,
            ),
            page=LEADERBOARD,
            link=_("See the leaderboard"),
        )
    else:
        empty_state(
            _("Nothing to compare yet"),
            _("Voting needs two finished pictures of about one size. Ask for several of one prompt for a good pair."),
            page=GENERATION,
            link=_("Make some pictures"),
        )


if __name__ == "__main__":
    show(page)
