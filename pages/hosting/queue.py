"""The host's view of the queue and of the pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.evening.wall import MAX_COUNTED
from db.jobs import ENDED, Job, State
from pages.components import job_card
from pages.components.lineage import STATES
from pages.components.notices import disk_note, empty_state
from pages.components.picture import draw_picture
from pages.hosting.sign_in import is_host, the_host
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, ngettext
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import ago, esc, short
from pages.shared.visitor import names_of
from studio import access, host, wall
from studio.context import Studio, Submitter
from studio.engines import engine_title, engines_making

REFRESH_S = 2.0
SHOWN_WAITING = 40
PAGE = 24

Action = Callable[[Studio, Submitter, str], None]  # of the host, on one job
_BUTTONS = {
    "front": (N_("Front"), N_("Serve this job next")),
    "cancel": (N_("Cancel"), N_("Cancel this job")),
    "hide": (N_("Hide"), N_("Hide this job")),
    "show": (N_("Show"), N_("Show this job")),
}
# Engines whose title says what they do; the others have names.
_ENGINES = (N_("Upscaling"), N_("Ranking"), N_("Download"), N_("Training"), N_("Fine-tuning"))


def act(action: Callable[..., Any], *args: Any) -> None:
    """From a button: the action, or one sentence that says why not."""
    with plain_errors(for_host=True):
        action(the_studio(), the_host(), *args)


def queue_section() -> None:
    """Refreshes by itself."""
    st.fragment(_queue, run_every=REFRESH_S)()


def _queue() -> None:
    with plain_errors(for_host=True):
        if not is_host() or st.session_state.get("host_section") == "Wall":
            st.rerun()
        disk_note(for_host=True)
        db = the_studio().db
        counts, paused = queue.counts(db), house_rules().paused
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            numbers = (
                ngettext("{n} running", "{n} running", counts[State.RUNNING]),
                ngettext("{n} waiting", "{n} waiting", counts[State.QUEUED]),
                ngettext("{n} finished", "{n} finished", counts[State.SUCCEEDED]),
                ngettext("{n} failed", "{n} failed", counts[State.FAILED]),
            )
            st.html(
                f'<div class="t2i-prompt">{esc(_("The queue is paused") if paused else _("The queue is open"))}</div>'
                f'<div class="t2i-meta" role="status">{esc(" · ".join(numbers))}</div>',
                width="content",
            )
            with st.container(horizontal=True, width="content"):
                _to_the_wall()
                if paused:
                    st.button(
                        _("Resume"),
                        key="host_resume",
                        icon=":material/play_arrow:",
                        type="primary",
                        on_click=act,
                        args=(host.resume,),
                    )
                else:
                    st.button(_("Pause"), key="host_pause", icon=":material/pause:", on_click=act, args=(host.pause,))
        if paused and counts[State.RUNNING]:
            st.caption(_("What runs is finished; nothing new is started."))
        running, waiting = queue.running_jobs(db), queue.queued_jobs(db, limit=SHOWN_WAITING)
        files, names = files_of([job.id for job in running]), names_of([*running, *waiting])
        if running:
            st.header(_("Running"), anchor=False)
        for job in running:
            _row(job, names, job_card.status_line(job) + _alone(job), files[job.id].get("preview"))
        if waiting:
            st.header(_("Waiting"), anchor=False)
        for place, job in enumerate(waiting, start=1):
            line = f"{place} · {_('waiting since {ago}', ago=ago(job.created_at))}{_alone(job)}"
            _row(job, names, line, None, first=place == 1)
        if counts[State.QUEUED] > len(waiting):
            more = counts[State.QUEUED] - len(waiting)
            st.caption(ngettext("{n} more waits behind these.", "{n} more wait behind these.", more))


def _to_the_wall() -> None:
    """Where the host wants to be asked about pictures and some wait for that: the way to them."""
    count = wall.waiting(the_studio(), the_host(), limit=1)[1] if house_rules().wall_approval else 0
    if count:
        st.button(
            _("{n} or more for the wall", n=count)
            if count >= MAX_COUNTED
            else ngettext("{n} for the wall", "{n} for the wall", count),
            key="host_to_wall",
            icon=":material/fact_check:",
            on_click=st.session_state.update,
            args=({"host_section": "Wall"},),
        )


def _row(job: Job, names: dict[str, str], line: str, preview: Artefact | None, first: bool = True) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_host_{job.id}"):
        if job.state == State.RUNNING:
            draw_picture(load(preview), key=f"host_{job.id}", alt=job.prompt, side=56)
        hidden = f"{_('Hidden')} · " if job.hidden else ""
        st.html(
            f'<div class="t2i-prompt">{esc(short(job.prompt))}</div>'
            f'<div class="t2i-meta">{esc(hidden)}{esc(called(job.submitter, names))} · '
            f"{esc(engine_called(job.engine))} · {esc(line)}</div>"
        )
        if not first:
            _button("front", job, host.to_front, "vertical_align_top")
        _hide_or_show(job)
        _button("cancel", job, host.cancel, "close", disabled=job.cancel_requested)


def _alone(job: Job) -> str:
    if job.suspect_step is None:
        return ""
    return f" · {_('alone, since its executor was lost at step {step}', step=job.suspect_step)}"


def _button(name: str, job: Job, action: Action, icon: str, disabled: bool = False) -> None:
    word, tip = _BUTTONS[name]
    st.button(
        _(word),
        key=f"host_{name}_{job.id}",
        icon=f":material/{icon}:",
        disabled=disabled,
        on_click=act,
        args=(action, job.id),
        help=_(tip),
    )


def _hide_or_show(job: Job) -> None:
    if job.hidden:
        _button("show", job, host.unhide, "visibility")
    else:
        _button("hide", job, host.hide, "visibility_off")


def called(visitor: str, names: dict[str, str]) -> str:
    """The visitor's name, or the beginning of the id: whoever knows the whole could act in their name."""
    return names.get(visitor) or _("visitor {id}", id=visitor[:6])


def engine_called(engine: str) -> str:
    """The engine's title, in the host's language where it is no name."""
    return _(engine_title(engine))


def pictures_section() -> None:
    """All pictures, hidden ones and those that were never finished as well, newest first."""
    search, only = st.columns([3, 1], vertical_alignment="bottom")
    with search:
        term = st.text_input(
            _("Search"), key="host_search", placeholder=_("Words of a prompt"), icon=":material/search:"
        )
    with only:
        hidden = st.toggle(_("Hidden only"), key="host_hidden")
    trail: list[str] = st.session_state.setdefault("host_trail", [])
    if st.session_state.get("host_filter") != (term, hidden):
        st.session_state["host_filter"] = (term, hidden)
        trail.clear()
    found = access.jobs(
        the_studio(),
        the_host(),
        before_id=trail[-1] if trail else None,
        limit=PAGE + 1,
        states=[State.RUNNING, *ENDED],
        without=engines_making("result"),
        search=term.strip() or None,
        include_hidden=True,
        only_hidden=hidden,
    )
    if not found:
        empty_state(_("No pictures"), _("Nothing is hidden.") if hidden else _("There is nothing here yet."))
        return
    shown = found[:PAGE]
    files, names = files_of([job.id for job in shown]), names_of(shown)
    with st.grid("auto", min_column_width=150, key="host_pictures"):
        for job in shown:
            with st.container(key=f"host_picture_{job.id}", gap="xsmall"):
                _picture(job, files[job.id], names)
    with st.container(horizontal=True, horizontal_alignment="center"):
        st.button(_("Newer"), icon=":material/arrow_back:", key="host_newer", disabled=not trail, on_click=_newer)
        older = len(found) <= PAGE
        st.button(_("Older"), key="host_older", disabled=older, on_click=trail.append, args=(shown[-1].id,))


def _newer() -> None:
    st.session_state["host_trail"].pop()


def _picture(job: Job, files: dict[str, Artefact], names: dict[str, str]) -> None:
    data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
    draw_picture(data, key=f"hosted_{job.id}", alt=job.prompt, instead=_("No picture yet"))
    state = _("Hidden") if job.hidden else "" if job.state == State.SUCCEEDED else _(STATES[job.state])
    told = [state, called(job.submitter, names)]
    st.html(
        f'<div class="t2i-prompt">{esc(short(job.prompt, 60))}</div>'
        f'<div class="t2i-meta">{esc(" · ".join(filter(None, told)))}</div>'
    )
    with st.container(horizontal=True, gap="xsmall"):
        _hide_or_show(job)
