"""What failed: why, with which settings and on which executor; and having it tried again or hidden, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db.jobs import Job
from pages.components.notices import empty_state
from pages.hosting.queue import called
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.studio import the_studio
from pages.shared.text import ago, esc, label, short
from pages.shared.visitor import names_of
from studio import failures
from studio.engines import engine_title

PAGE = 50
ANY = "All"
# What the host reads for a kind; others are read from their names.
NAMES = {"executor_lost": "Executor lost", "out_of_memory": "Out of memory", "engine_error": "Engine error"}
SHOWN = ("width", "height", "steps", "seed", "cutn", "clip", "upscale")


def failures_section() -> None:
    """The newest ones of the kind chosen, and what to do about those that are marked."""
    with plain_errors(for_host=True):
        _said()
        counts = failures.kinds(the_studio(), the_host())
        if not counts:
            empty_state("Nothing failed", "Jobs that fail are listed here, until they are tried again or hidden.")
            return
        kind = _kind(counts)
        found = failures.failures(the_studio(), the_host(), kind=kind, limit=PAGE)
        _actions(found, kind, counts[kind] if kind else sum(counts.values()))
        names = names_of(found)
        for job in found:
            _row(job, names)


def _kind(counts: dict[str, int]) -> str | None:
    names = {ANY: sum(counts.values()), **counts}
    # The key changes with what there is: one that is gone would be kept as the choice.
    chosen = st.pills(
        "Kind",
        list(names),
        default=ANY,
        required=True,
        format_func=lambda one: f"{kind_name(one)} {names[one]}",
        key=f"failed_kind_{len(counts)}",
        label_visibility="collapsed",
    )
    return None if chosen in (None, ANY) else chosen


def kind_name(kind: str) -> str:
    """A kind of failure in words."""
    return NAMES.get(kind) or kind.replace("_", " ").capitalize()


def _actions(found: Sequence[Job], kind: str | None, total: int) -> None:
    marked = [job.id for job in found if st.session_state.get(_key(job))]
    ids = [job.id for job in found]
    with st.container(horizontal=True, vertical_alignment="center", key="failed_actions"):
        if len(marked) < len(found):
            st.button("Mark all", key="failed_mark", icon=":material/check_box:", on_click=_mark, args=(found, True))
        else:
            st.button("Unmark all", key="failed_mark", icon=":material/close:", on_click=_mark, args=(found, False))
        count = f" {len(marked)}" if marked else ""
        st.button(
            f"Try{count} again",
            key="failed_again",
            icon=":material/replay:",
            type="primary",
            disabled=not marked,
            on_click=_again,
            args=(marked,),
            help="The same settings, for who asked for it",
        )
        st.button(
            f"Hide{count}",
            key="failed_hide",
            icon=":material/visibility_off:",
            disabled=not marked,
            on_click=_hide,
            args=(marked,),
            help="Out of this list and all others",
        )
        if total > len(ids):
            st.button(
                f"Try all {min(total, failures.MAX_AT_ONCE)} again",
                key="failed_all",
                icon=":material/replay:",
                on_click=_all_again,
                args=(kind,),
            )
    if total > len(ids):
        st.caption(f"The newest {len(ids)} of {total}.")


def _row(job: Job, names: dict[str, str]) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="top", key=f"row_failed_{job.id}"):
        st.checkbox(label(f"Mark {short(job.prompt, 60)}"), key=_key(job), label_visibility="collapsed")
        ended = "" if job.finished_at is None else ago(job.finished_at)
        tries = f", attempt {job.attempt} of {job.max_attempts}" if job.max_attempts > 1 else ""
        where = f" · {job.worker_id}{tries}" if job.worker_id else ""
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(short(job.prompt))}</bdi></div>'
            f"<div>{esc(job.error or 'No reason was given.')}</div>"
            f'<div class="t2i-meta">{esc(kind_name(job.error_kind or ""))} · {esc(engine_title(job.engine))}, '
            f"{esc(_settings(job))} · {esc(ended)} · {esc(called(job.submitter, names))}{esc(where)}</div>"
        )


def _settings(job: Job) -> str:
    given = job.params
    size = f"{given['width']} x {given['height']} px" if {"width", "height"} <= set(given) else ""
    others = (
        f"{name} {', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name in SHOWN[2:]
        if (value := given.get(name)) is not None
    )
    return ", ".join(part for part in (job.checkpoint, size, *others) if part)


def _key(job: Job) -> str:
    return f"failed_{job.id}"


def _mark(found: Sequence[Job], marked: bool) -> None:
    for job in found:
        st.session_state[_key(job)] = marked


def _said() -> None:
    """What the last press did, above the list it changed."""
    if text := st.session_state.pop("failed_said", None):
        st.info(label(text), icon=":material/info:")


def _again(job_ids: Sequence[str]) -> None:
    with plain_errors(for_host=True):
        st.session_state["failed_said"] = failures.try_again(the_studio(), the_host(), job_ids).told


def _all_again(kind: str | None) -> None:
    with plain_errors(for_host=True):
        st.session_state["failed_said"] = failures.try_kind_again(the_studio(), the_host(), kind).told


def _hide(job_ids: Sequence[str]) -> None:
    with plain_errors(for_host=True):
        count = failures.hide(the_studio(), the_host(), job_ids)
        st.session_state["failed_said"] = f"{count} {'job is' if count == 1 else 'jobs are'} hidden."
