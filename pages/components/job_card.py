"""The live part of the generation page: one card per job of the visitor, refreshed while something happens."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.jobs import ENDED, LIVE, Job, State
from db.queue import estimate
from db.queue.estimate import Place
from db.sheets import submissions
from generator.images.encode import data_uri
from pages.components import acts, landing, telling
from pages.components.notices import say_standstill, standstill
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _, ngettext, number
from pages.shared.navigation import QUEUE, SHEETS, go, look_at
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import duration, esc, label, quoted, short
from studio import access, gallery
from studio.context import Submitter
from studio.engines import engine_title, makes
from studio.standing import taken

SHOWN_WAITING = 6
SHOWN_ENDED = 6
MAX_WAITING = 1000
WIDE = 200  # units of a curve from the first step to the last; it is as wide as its card
# Seconds between two looks: until the first picture is there, while one forms, while one waits.
FIRST_S, RUNNING_S, WAITING_S = 0.3, 0.7, 2.0
SOON_S = 2.0  # what starts within so long is looked for as what has started
NEW_S = 10.0  # so long after it was asked for or began; later it is something that takes its time
TOGETHER_S = 2.0  # jobs of one submission are made within this time
_DRAWN_AGAIN = "drawn_again"


def jobs_of(visitor: Submitter) -> tuple[list[Job], int]:
    """The visitor's jobs worth watching, newest first, and how many more are waiting behind them."""
    studio = the_studio()
    live = access.jobs(studio, visitor, mine=True, states=[State.QUEUED, State.RUNNING], limit=200)
    waiting = [job for job in live if job.state == State.QUEUED]
    gone = acts.dismissed()
    ended = access.jobs(studio, visitor, mine=True, states=ENDED, limit=SHOWN_ENDED + len(gone))
    ended = [job for job in ended if job.id not in gone][:SHOWN_ENDED]
    # The oldest of the waiting are served first.
    shown = [job for job in live if job.state == State.RUNNING] + waiting[-SHOWN_WAITING:] + ended
    return in_order(shown), max(len(waiting) - SHOWN_WAITING, 0)


def in_order(jobs: list[Job]) -> list[Job]:
    """The newest submission first; pictures asked for together in the order in which they are served.

    A job keeps its place when its state changes, so nothing jumps.
    """
    groups: list[list[Job]] = []
    for job in sorted(jobs, key=lambda job: job.id):
        if groups and _together([groups[-1][-1], job]):
            groups[-1].append(job)
        else:
            groups.append([job])
    return [job for group in reversed(groups) for job in group]


def _together(two: list[Job]) -> bool:
    """Whether they are two, and were asked for together."""
    if len(two) < 2:
        return False
    one, other = two
    return one.prompt == other.prompt and abs(one.created_at - other.created_at) < TOGETHER_S


def live(visitor: Submitter, jobs: list[Job], more: int) -> None:
    """Cards of the visitor's jobs, as `jobs_of` found them: those that wait or form refresh, the others stay."""
    st.fragment(_cards)(visitor, [(jobs, more)])


def _pace(jobs: list[Job]) -> float | None:
    """Seconds between two looks at these jobs; None where nothing will change.

    Often until the first picture is there. In a long line most visitors wait: looking less often for them leaves the
    web app's time to those with a picture that forms.
    """
    running = [job for job in jobs if job.state == State.RUNNING]
    if running:
        return FIRST_S if any(job.step < 2 and _is_new(job.started_at) for job in running) else RUNNING_S
    waiting = [job for job in jobs if job.state == State.QUEUED]
    if not waiting:
        return None
    return FIRST_S if any(_starts_soon(job) for job in waiting) else WAITING_S


def _starts_soon(job: Job) -> bool:
    if not _is_new(job.created_at):
        return False
    place = place_of(job)
    return place.position == 1 if place.wait is None else place.wait < SOON_S


def _is_new(since: float | None) -> bool:
    return since is not None and abs(time.time() - since) < NEW_S


def _cards(visitor: Submitter, found: list[tuple[list[Job], int]]) -> None:
    """found: what is there at the first run, taken out of the list; later runs look for themselves."""
    with plain_errors():
        _go_on()
        jobs, more = found.pop() if found else jobs_of(visitor)
        shown = _shown(jobs, more)
        if shown.standstill is not None:
            say_standstill(*shown.standstill)
        if not jobs:
            landing.show(visitor)
            return
        _newest_sheet(jobs)
        with st.grid("auto", min_column_width=260, key="live_cards"):
            # Without a box of its own: the grid's cells are the cards. Always the first of it: what takes the place of
            # something else has the insides of that until all is drawn.
            with st.container(key="forming"):
                if shown.forming:
                    st.fragment(_look_again, run_every=shown.pace)(visitor, shown, [jobs])
            _draw(jobs[shown.forming :], visitor, jobs)
        if not shown.forming:
            telling.tab(jobs)
        if more:
            st.caption(ngettext("{n} more of yours waits behind these.", "{n} more of yours wait behind these.", more))
            st.page_link(QUEUE, label=_("See the whole queue"), icon=":material/hourglass:")


def _go_on() -> None:
    """Follow what was asked for in a callback: another page, or all of this one anew."""
    go()
    if st.session_state.pop("form_changed", False):
        st.rerun()


@dataclass(frozen=True)
class _Shown:
    """What stands on the page. forming: so many of the jobs, from the first on, are drawn again every `pace` s. more:
    wait behind these. standstill: what is said above them."""

    ids: list[str]
    forming: int
    pace: float | None
    more: int
    standstill: tuple[bool, bool] | None


def _shown(jobs: list[Job], more: int) -> _Shown:
    pace = _pace(jobs)
    return _Shown([job.id for job in jobs], _drawn_again(jobs), pace, more, None if pace is None else standstill())


def _drawn_again(jobs: list[Job]) -> int:
    """How many of the jobs, from the first on, are drawn again at every look: up to the last that waits or runs, and,
    until something else is asked for, as many once that has ended. A card that left the others would be drawn twice
    for a moment, and all below it would move."""
    before = st.session_state.get(_DRAWN_AGAIN, ())
    if any(job.state in LIVE and job.id not in before for job in jobs):
        last = max(n for n, job in enumerate(jobs) if job.state in LIVE)
        before = st.session_state[_DRAWN_AGAIN] = tuple(job.id for job in jobs[: last + 1])
    return max((n + 1 for n, job in enumerate(jobs) if job.id in before), default=0)


def _look_again(visitor: Submitter, shown: _Shown, found: list[list[Job]]) -> None:
    """The cards of what waits or forms; the whole page anew where jobs have come, gone or ended. found: as above."""
    with plain_errors():
        _go_on()
        if found:
            jobs = found.pop()
        else:
            jobs, more = jobs_of(visitor)
            if _shown(jobs, more) != shown:
                st.rerun()
        with _draw(jobs[: shown.forming], visitor, jobs):
            telling.tab(jobs)  # in the last of them: beside them it would take the place of a card


def _draw(some: list[Job], visitor: Submitter, jobs: list[Job]) -> AbstractContextManager[Any]:
    """Cards of some of the jobs, in the container that is open; returns the last card."""
    card: AbstractContextManager[Any] = nullcontext()
    if not some:
        return card
    beside = [job.id for job in jobs]
    files, on = files_of([job.id for job in some]), gallery.on_boards(the_studio(), visitor, [job.id for job in some])
    boards = list(gallery.boards_of(the_studio(), visitor))
    for job in some:
        alone = job is jobs[0] and not _together(jobs[:2])
        card = st.container(border=True, key=f"job_{job.id}", height="stretch")
        with card:
            _card(job, files[job.id], visitor, on[job.id], boards, beside, alone=alone)
    return card


def _newest_sheet(jobs: list[Job]) -> None:
    """The way to the sheet of the newest pictures that were asked for together."""
    sheets = submissions.of_jobs(the_studio().db, [job.id for job in jobs])
    if sheets:
        newest = max(sheets.values(), key=lambda sheet: sheet.id)
        st.page_link(
            SHEETS,
            label=label(
                _(
                    "All of “{prompt}” side by side, to rank and choose from",
                    prompt=quoted(short(newest.prompt, 40)),
                )
            ),
            icon=":material/grid_view:",
            query_params={"sheet": newest.id},
        )


def _card(
    job: Job,
    files: dict[str, Artefact],
    visitor: Submitter,
    on: set[str],
    boards: list[str],
    beside: list[str],
    *,
    alone: bool,
) -> None:
    """alone: the newest, asked for by itself; large on a phone too."""
    data = load(files.get("picture") or files.get("preview"))
    with st.container(key=f"look_{job.id}"):
        draw_picture(data, key=job.id, alt=job.prompt, instead=_instead(job))
        if job.state == State.SUCCEEDED and "picture" in files:
            st.button(_("Look at it"), key=f"view_{job.id}", on_click=look_at, args=(job.id, beside))
    share = job.step / job.total_steps if job.state in (State.QUEUED, State.RUNNING, State.SUCCEEDED) else 0
    st.html(
        f'<div class="t2i-prompt{" t2i-alone" if alone else ""}">{esc(short(job.prompt, 120))}</div>'
        f'<div class="t2i-meta">{esc(status_line(job))}</div>{bar(share, job)}'
    )
    heard(job)
    curve(job, height=56)
    acts.draw(job, files.get("picture"), data, visitor, on=on, boards=boards)


def _instead(job: Job) -> str:
    if makes(job.engine) == "result" and job.state != State.QUEUED:
        return engine_title(job.engine)
    return {
        State.QUEUED: _("Waiting for its turn"),
        State.RUNNING: _("The first picture is on its way"),
        State.FAILED: _("Failed before there was a picture"),
        State.CANCELLED: _("Cancelled before there was a picture"),
        State.SUCCEEDED: _("The picture is no longer in the store"),
    }[job.state]


def status_line(job: Job) -> str:
    """Where the job stands, in one line."""
    if job.state == State.QUEUED:
        found = place_of(job)
        if found.position == 0:
            return _("Starting")
        if job.step:
            return paused_at(job, found.wait)
        place = (
            _("Next in the queue") if found.position == 1 else _("Number {place} in the queue", place=found.position)
        )
        if found.wait is None:
            return place
        return f"{place} · {_('starts in about {duration}', duration=duration(found.wait))}"
    if job.state == State.RUNNING:
        if job.cancel_requested:
            return _("Cancelling")
        if job.waits_for == "store":
            return _("Finished; waits for the store")
        if job.step >= job.total_steps:
            return _("Finishing")
        parts = [_("Step {step} of {total}", step=job.step, total=job.total_steps)]
        left = _left(the_settings().database_url).get(job.id)
        parts += [] if job.score is None else [_("score {score}", score=number(job.score, ".2f"))]
        parts += [] if left is None else [_("{duration} left", duration=duration(left))]
        return " · ".join(parts)
    if job.state == State.SUCCEEDED:
        score = "" if job.score is None else _("Score {score}", score=number(job.score, ".2f")) + " · "
        return score + _("done in {duration}", duration=duration(taken(job)))
    if job.state == State.FAILED:
        said = _("Failed. {reason}", reason=job.error or _("No reason was given."))
        return said if job.retried_as is None else f"{said} {_('The host had it tried again.')}"
    if not job.step:
        return _("Cancelled")
    return _("Cancelled at step {step} of {total}", step=job.step, total=job.total_steps)


def paused_at(job: Job, wait: float | None) -> str:
    """Where a job stands that has given its place to others, and in how many s it goes on; None: not known."""
    paused = _("Paused at step {step} of {total}", step=f"{job.step:,}", total=f"{job.total_steps:,}")
    if wait is None:
        return paused
    return f"{paused} · {_('its turn comes again in about {duration}', duration=duration(wait))}"


def heard(job: Job) -> None:
    """For those who listen to the page: a word when a picture begins and when it ends, not at every step."""
    said = {
        State.QUEUED: _("Paused") if job.step else _("Waiting for its turn"),
        State.RUNNING: _("Being drawn"),
        State.SUCCEEDED: _("Succeeded"),
        State.FAILED: _("Failed"),
        State.CANCELLED: _("Cancelled"),
    }[job.state]
    with st.container(key=f"heard_{job.id}"):
        st.html(f'<div role="status">{esc(said)}: {esc(short(job.prompt, 120))}</div>')


def place_of(job: Job) -> Place:
    """Place and estimated wait of a waiting job. Raises UnknownJob."""
    url = the_settings().database_url
    looked, known = _places(url)
    if job.id not in known and job.created_at >= looked:
        _places.clear(url)  # it came after that look, and the next one serves all visitors
        looked, known = _places(url)
    return known.get(job.id) or queue.places(the_studio().db, [job.id])[job.id]


# Not cache_data, which would copy a thousand places at every call; nobody changes them.
@st.cache_resource(ttl=2.0, max_entries=4, show_spinner=False)
def _places(database_url: str) -> tuple[float, dict[str, Place]]:
    """When the queue was looked at, and the places in it. Shared by all visitors: an estimate plays it forward."""
    return time.time(), estimate.first_places(the_studio().db, MAX_WAITING)


@st.cache_resource(ttl=1.0, max_entries=4, show_spinner=False)
def _left(database_url: str) -> dict[str, float]:
    # Shared by all visitors, as the places are.
    return estimate.time_left(the_studio().db)


def bar(share: float, job: Job) -> str:
    """HTML of a progress bar; it keeps its place, invisible, where nothing is half done."""
    percent = round(100 * min(max(share, 0.0), 1.0))
    shown = "" if job.state == State.RUNNING or (job.state == State.QUEUED and job.step) else " none"
    return (
        f'<div class="t2i-bar{shown}" role="progressbar" aria-label="{esc(_("Progress"))}" aria-valuenow="{percent}" '
        f'aria-valuemin="0" aria-valuemax="100"><i style="width: {percent}%"></i></div>'
    )


def curve(job: Job, *, height: int) -> None:
    """The score by step as a small line; the same height is kept while there is none."""
    with st.container(key=f"curve_{job.id}", height=height + 8, border=False):
        if len(job.history) > 1:
            st.html(_line(job, height))


def _line(job: Job, height: int) -> str:
    # Drawn here: these cards are drawn anew all the time for everybody, and a chart takes a hundred times as long.
    scores = [score for _step, score in job.history]
    highest, span = max(scores), max(max(scores) - min(scores), 1e-9)
    points = " ".join(
        f"{WIDE * step / job.total_steps:.1f},{1 + (height - 2) * (highest - score) / span:.1f}"
        for step, score in job.history
    )
    said = _("Score by step, now {score}", score=number(job.history[-1][1], ".2f"))
    # st.html takes no SVG, but a style: the line is the mask of a box in the theme's colour.
    drawing = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {height}" preserveAspectRatio="none">'
        f'<polyline points="{points}" fill="none" stroke="#000" stroke-width="2" stroke-linejoin="round" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
    mask = f"url({data_uri(drawing.encode(), 'image/svg+xml')})"
    return (
        f'<div class="t2i-curve" role="img" aria-label="{esc(said)}" '
        f'style="height: {height}px; -webkit-mask-image: {mask}; mask-image: {mask}"></div>'
    )
