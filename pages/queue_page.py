"""Queue: what runs, what waits and who does the work."""

from __future__ import annotations

import time

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.jobs import Job, State
from db.queue import statuses, workers
from pages.components import acts, job_card
from pages.components.notices import NO_EXECUTOR, disk_note, empty_state, executor_missing, paused_note
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import _, ngettext
from pages.shared.navigation import GENERATION, show
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import ago, duration, esc, short
from pages.shared.visitor import names_of, the_visitor
from studio.access import may_see, owns
from studio.context import Submitter

SHOWN_WAITING = 25
REFRESH_S = 2.0


def page() -> None:
    """Refreshes by itself, so that it can be left open."""
    st.toggle(_("Only mine"), key="queue_mine")
    st.fragment(_queue, run_every=REFRESH_S)(the_visitor())


def _wanted(job: Job, visitor: Submitter) -> bool:
    return may_see(visitor, job) and (owns(visitor, job) or not st.session_state.get("queue_mine"))


def _queue(visitor: Submitter) -> None:
    with plain_errors():
        disk_note()
        db = the_studio().db
        running = [job for job in queue.running_jobs(db) if _wanted(job, visitor)]
        waiting = queue.queued_jobs(db, limit=job_card.MAX_WAITING)
        if running or waiting:
            executor_missing()
        else:
            paused = paused_note()
            empty_state(
                _("The queue is empty"),
                _("Nothing is being drawn and nothing waits, until the host goes on.")
                if paused
                else _("Nothing is being drawn and nothing waits: your picture would start at once."),
                page=GENERATION,
                link=_("Make a picture"),
            )
        if running:
            st.header(_("Running ({count})", count=len(running)), anchor=False)
            files = files_of([job.id for job in running])
            for job in running:
                _running(job, files[job.id], visitor)
        if waiting:
            _waiting_list(waiting, visitor)
        _executors()


def _running(job: Job, files: dict[str, Artefact], visitor: Submitter) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=_row_key(job, visitor)):
        draw_picture(load(files.get("preview")), key=job.id, alt=job.prompt, side=56)
        st.html(
            f'<div class="t2i-prompt">{esc(short(job.prompt))}</div>'
            f'<div class="t2i-meta">{esc(job_card.status_line(job))}</div>'
            f"{job_card.bar(job.step / job.total_steps, job)}"
        )
        _cancel(job, visitor)


def _waiting_list(waiting: list[Job], visitor: Submitter) -> None:
    total = len(waiting) if len(waiting) < job_card.MAX_WAITING else queue.counts(the_studio().db)[State.QUEUED]
    st.header(_("Waiting ({count})", count=total), anchor=False)
    # What is hidden keeps its place in the line.
    placed = [(n, job) for n, job in enumerate(waiting, start=1) if _wanted(job, visitor)]
    shown = placed[:SHOWN_WAITING]
    # One's own jobs are what one came for, however far behind they are.
    own = [(place, job) for place, job in placed[SHOWN_WAITING:] if owns(visitor, job)][:SHOWN_WAITING]
    names, paused = names_of(job for _, job in shown), house_rules().paused
    for place, job in shown + own:
        wait = job_card.place_of(job).wait
        estimate = _("Starts when an executor is free")
        if wait is not None:
            estimate = _("Starts in about {duration}", duration=duration(wait))
        if paused:
            estimate = _("Starts when the host goes on")
        elif job.step:
            estimate = job_card.paused_at(job, wait)
        with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=_row_key(job, visitor)):
            st.html(f'<div class="t2i-place">{place}</div>', width="content")
            name = names.get(job.submitter)
            since = _("waiting since {ago}", ago=ago(job.created_at))
            mine = f"{_('Yours')} · " if owns(visitor, job) else f"{esc(name)} · " if name else ""
            st.html(
                f'<div class="t2i-prompt">{esc(short(job.prompt))}</div>'
                f'<div class="t2i-meta">{mine}{esc(estimate)} · {esc(since)}</div>'
            )
            _cancel(job, visitor)
    if total > len(shown) + len(own) and not st.session_state.get("queue_mine"):
        st.caption(
            ngettext("{n} more waits behind these.", "{n} more wait behind these.", total - len(shown) - len(own))
        )


def _row_key(job: Job, visitor: Submitter) -> str:
    return f"row_mine_{job.id}" if owns(visitor, job) else f"row_{job.id}"


def _cancel(job: Job, visitor: Submitter) -> None:
    if owns(visitor, job):
        st.button(
            _("Cancel"),
            key=f"cancel_{job.id}",
            icon=":material/close:",
            disabled=job.cancel_requested,
            on_click=acts.cancel,
            args=(job.id, visitor),
        )


def _executors() -> None:
    alive = workers.live(the_studio().db)
    st.header(_("Executors ({count})", count=len(alive)), anchor=False)
    if not alive:
        st.text(_(NO_EXECUTOR))
    for worker in alive:
        places = ngettext("{n} place", "{n} places", worker.places)
        beat = max(time.time() - worker.beat_at, 0)
        seen = _("just now") if beat < 10 else _("{duration} ago", duration=duration(beat))
        beaten = _("last heartbeat {ago}", ago=seen)
        serves = _("serves {engines}", engines=", ".join(worker.engines))
        title = _("{device} on {machine}", device=worker.device, machine=worker.hostname)
        with st.container(key=f"row_worker_{worker.id}"):
            st.html(
                f'<div class="t2i-prompt">{esc(title)}</div>'
                f'<div class="t2i-meta">{esc(_doing(worker.status))} · {places} · {esc(beaten)} · '
                f"{esc(serves)}</div>"
            )


def _doing(status: str) -> str:
    return "; ".join(_(sentence, **values) for sentence, values in statuses.parts_of(status) if sentence)


if __name__ == "__main__":
    show(page)
