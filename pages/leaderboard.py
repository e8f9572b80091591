"""Leaderboard: what the votes say of pictures, engines and settings, how sure that is, and the votes to take home."""

from __future__ import annotations

import streamlit as st

from generator import registry
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.ratings import charts, downloads, standings
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, named, ngettext, number
from pages.shared.navigation import VOTES, go, look_at, show
from pages.shared.studio import the_studio
from pages.shared.text import esc, label, short
from ratings.agreement import Share
from ratings.standings import Rated, Standings
from studio.engines import engine_title
from studio.standings import best_rated, model_title

SHOWN_BEST = 12
REFRESH_S = 30.0
WAIT_S = 2.0


def page() -> None:
    """Refreshes by itself: often until the first ratings are there, then slowly."""
    ready = standings.keeper().current(the_studio().db) is not None
    st.fragment(_leaderboard, run_every=REFRESH_S if ready else WAIT_S)(ready)


def _leaderboard(ready: bool) -> None:
    with plain_errors():
        go()
        found = standings.keeper().current(the_studio().db)
        if found is None:
            empty_state(_("The votes are being counted"), _("There are many; the ratings appear here by themselves."))
            return
        if not ready:
            st.rerun()
        if not found.votes:
            empty_state(
                _("No votes yet"),
                _("Ratings appear here once visitors have compared pictures."),
                page=VOTES,
                link=_("Give the first vote"),
            )
            return
        _summary(found)
        _best(found)
        _engines(found)
        _settings(found)
        _clip(found)
        st.header(_("Votes over time"), anchor=False)
        charts.by_time(found)
        _method(found)
        downloads.buttons()


def _summary(found: Standings) -> None:
    facts = [(_("Votes"), found.votes), (_("Voters"), found.voters), (_("Pictures compared"), found.pictures)]
    with st.container(horizontal=True, gap="medium", key="standings_facts"):
        for name, count in facts:
            st.metric(name, number(count, ","), width="content")


def _best(found: Standings) -> None:
    best = best_rated(the_studio().db, found, SHOWN_BEST)
    if not best:
        return
    st.header(_("Best pictures"), anchor=False)
    files = files_of([job.id for _rated, job in best])
    with st.grid("auto", min_column_width=155, key="best_pictures"):
        for place, (rated, job) in enumerate(best, start=1):
            there = files[job.id]
            with st.container(key=f"tile_best_{job.id}"):
                draw_picture(load(there.get("thumbnail") or there.get("picture")), key=f"best_{job.id}", alt=job.prompt)
                st.button(
                    label(f"{place}. {short(job.prompt)}"),
                    key=f"open_{job.id}",
                    type="tertiary",
                    on_click=look_at,
                    args=(job.id, [one.id for _, one in best]),
                    width="stretch",
                )
                st.html(f'<div class="t2i-meta">{esc(_line(rated))}<br>{esc(engine_title(job.engine))}</div>')
    st.caption(_("In the order of the lower end of the rating's interval: pictures that are good and known to be."))


def _line(rated: Rated) -> str:
    votes = ngettext("{n} vote", "{n} votes", rated.votes)
    between = _("{low} to {high}", low=f"{rated.low:.0f}", high=f"{rated.high:.0f}")
    return f"{rated.rating:.0f} ({between}), {votes}"


def _engines(found: Standings) -> None:
    st.header(_("Engines"), anchor=False)
    if not found.engines:
        st.text(_("Two engines can be compared once pictures of both have met in a vote."))
        return
    by_model = False
    if len(found.models) > len(found.engines):
        views = [N_("By engine"), N_("By engine and checkpoint")]
        chosen = st.segmented_control(
            _("Ratings"),
            views,
            default=views[0],
            required=True,
            key="engines_by",
            format_func=named(views),
            label_visibility="collapsed",
        )
        by_model = chosen == views[1]
    if by_model:
        charts.ratings([(model_title(rated.name), rated) for rated in found.models])
    else:
        charts.ratings([(engine_title(rated.name), rated) for rated in found.engines])
    st.caption(
        _(
            "From votes between pictures of different engines. The line is where the rating lies with 95 % confidence, "
            "for these pictures and visitors like these."
        )
    )


def _settings(found: Standings) -> None:
    st.header(_("Settings"), anchor=False)
    engines = sorted(found.effects, key=lambda name: (name not in registry.ENGINES, name))
    if not engines:
        st.text(
            _(
                "A setting is rated once pictures of one engine that differ in it have met in ten votes: the Compare "
                "page makes such pictures."
            )
        )
        return
    engine = engines[0]
    if len(engines) > 1:
        engine = st.selectbox(_("Engine"), engines, key="effects_of", format_func=engine_title)
    charts.effects(found.effects[engine])
    st.caption(
        _(
            "Points that a value adds to a picture's rating, beside the middle of the values shown and with the other "
            "settings alike."
        )
    )


def _clip(found: Standings) -> None:
    st.header(_("Do people agree with CLIP?"), anchor=False)
    if found.clip is None:
        st.text(_("This takes votes between pictures of one prompt, scored by the same CLIP model."))
    else:
        st.text(
            _(
                "Of two pictures of one prompt, people preferred the one with the higher CLIP score {share}. {verdict}",
                share=_share(found.clip),
                verdict=_verdict(found.clip),
            )
        )
    if len(found.points) >= 2:
        charts.scatter(found.points)
        st.caption(_("Each mark is a picture. Scores of different CLIP models and prompts are not on one scale."))


def _share(share: Share) -> str:
    return _(
        "{share} % of the time ({low} to {high} %, {votes})",
        share=f"{100 * share.value:.0f}",
        low=f"{100 * share.low:.0f}",
        high=f"{100 * share.high:.0f}",
        votes=ngettext("{n} vote", "{n} votes", share.votes),
    )


def _verdict(share: Share) -> str:
    if share.low > 0.5:
        return _("So the score says something about what people like.")
    if share.high < 0.5:
        return _("So the score prefers what people do not like.")
    return _("That may still be chance.")


def _method(found: Standings) -> None:
    with st.expander(_("How this is counted")):
        lines = [
            _(
                "Ratings follow the Bradley-Terry model: 1000 is the middle, and a picture with 100 points more is "
                "preferred 64 % of the time. Ties count half for both."
            ),
            _(
                "Intervals are found by weighing the voters anew some hundred times (Bayesian bootstrap); few votes "
                "give a wide interval."
            ),
            _(
                "Pairs with close ratings and few votes come first, and chance decides which picture is on the left. "
                "No voter counts for much more than the typical one, and nobody can vote twice on a pair. Unless "
                "most votes come from one network address, its votes count on a picture for at most a quarter of what "
                "the others do; browsers that came less than ten minutes ago count for half."
            ),
            _(
                "{ties} of {votes} votes were ties.",
                ties=number(found.ties, ","),
                votes=number(found.votes, ","),
            ),
        ]
        if found.left is not None:
            lines.append(_("The left picture was preferred {share}.", share=_share(found.left)))
        for line in lines:
            st.text(line)


if __name__ == "__main__":
    show(page)
