"""What failed: why, with which settings and on which executor; and having it tried again or hidden, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from db.jobs import Job
from pages.components.notices import empty_state
from pages.hosting.queue import called, engine_called
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors, sentence
from pages.shared.language import N_, _, chosen_in_words, ngettext
from pages.shared.studio import the_studio
from pages.shared.text import ago, esc, label, short
from pages.shared.visitor import names_of
from studio import failures

PAGE = 50
MAX_REASONS = 3
ANY = N_("All")
# A kind is called by its name in words; these are translated, and other kinds are rare.
_KINDS = (
    *(N_("Executor lost"), N_("Out of memory"), N_("Engine error"), N_("Over budget"), N_("Not finite")),
    *(N_("Checkpoint missing"), N_("Checkpoint damaged"), N_("Download failed"), N_("Downloads off")),
    *(N_("Bad params"), N_("Unknown name"), N_("Prompt too long"), N_("Bad image"), N_("Source changed")),
    *(N_("Source hidden"), N_("Unknown artefact"), N_("Device unavailable"), N_("Not enough memory")),
    *(N_("Store full"), N_("Store unavailable"), N_("Disk nearly full"), N_("No room to train"), N_("Diverged")),
)
SHOWN = ("width", "height", "steps", "seed", "cutn", "clip", "upscale")


def failures_section() -> None:
    """The newest ones of the kind chosen, and what to do about those that are marked."""
    with plain_errors(for_host=True):
        _said()
        counts = failures.kinds(the_studio(), the_host())
        if not counts:
            empty_state(_("Nothing failed"), _("Jobs that fail are listed here, until they are tried again or hidden."))
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
        _("Kind"),
        list(names),
        default=ANY,
        required=True,
        format_func={one: f"{kind_name(one)} {names[one]}" for one in names}.__getitem__,
        key=chosen_in_words(f"failed_kind_{len(counts)}"),
        label_visibility="collapsed",
    )
    return None if chosen in (None, ANY) else chosen


def kind_name(kind: str) -> str:
    """A kind of failure in words."""
    return _(kind.replace("_", " ").capitalize()) if kind else ""


def _actions(found: Sequence[Job], kind: str | None, total: int) -> None:
    marked = [job.id for job in found if st.session_state.get(_key(job))]
    ids = [job.id for job in found]
    with st.container(horizontal=True, vertical_alignment="center", key="failed_actions"):
        if len(marked) < len(found):
            st.button(_("Mark all"), key="failed_mark", icon=":material/check_box:", on_click=_mark, args=(found, True))
        else:
            st.button(_("Unmark all"), key="failed_mark", icon=":material/close:", on_click=_mark, args=(found, False))
        count = len(marked)
        st.button(
            ngettext("Try {n} again", "Try {n} again", count) if marked else _("Try again"),
            key="failed_again",
            icon=":material/replay:",
            type="primary",
            disabled=not marked,
            on_click=_again,
            args=(marked,),
            help=_("The same settings, for who asked for it"),
        )
        st.button(
            ngettext("Hide {n}", "Hide {n}", count) if marked else _("Hide"),
            key="failed_hide",
            icon=":material/visibility_off:",
            disabled=not marked,
            on_click=_hide,
            args=(marked,),
            help=_("Out of this list and all others"),
        )
        if total > len(ids):
            st.button(
                ngettext("Try {n} again", "Try all {n} again", min(total, failures.MAX_AT_ONCE)),
                key="failed_all",
                icon=":material/replay:",
                on_click=_all_again,
                args=(kind,),
            )
    if total > len(ids):
        st.caption(_("The newest {shown} of {total}.", shown=len(ids), total=total))


def _row(job: Job, names: dict[str, str]) -> None:
    with st.container(horizontal=True, wrap=False, vertical_alignment="top", key=f"row_failed_{job.id}"):
        st.checkbox(
            label(_("Mark {prompt}", prompt=short(job.prompt, 60))), key=_key(job), label_visibility="collapsed"
        )
        ended = "" if job.finished_at is None else ago(job.finished_at)
        tries = _("attempt {n} of {most}", n=job.attempt, most=job.max_attempts) if job.max_attempts > 1 else ""
        where = ", ".join(filter(None, (job.worker_id, tries))) if job.worker_id else ""
        facts = [
            kind_name(job.error_kind or ""),
            f"{engine_called(job.engine)}, {_settings(job)}",
            ended,
            called(job.submitter, names),
            where,
        ]
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(short(job.prompt))}</bdi></div>'
            f"<div>{esc(job.error or _('No reason was given.'))}</div>"
            f'<div class="t2i-meta">{esc(" · ".join(filter(None, facts)))}</div>'
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


def _told(done: failures.Retried) -> str:
    """What became of it in one line, with MAX_REASONS reasons at most."""
    parts = [ngettext("{n} job waits again.", "{n} jobs wait again.", len(done.again))]
    reasons = sorted({sentence(why, for_host=True) for why in done.refused.values()})
    if reasons:
        why = " ".join(reasons[:MAX_REASONS])
        parts.append(ngettext("{n} not queued: {why}", "{n} not queued: {why}", len(done.refused), why=why))
    if len(reasons) > MAX_REASONS:
        more = len(reasons) - MAX_REASONS
        parts.append(ngettext("And {n} other reason.", "And {n} other reasons.", more))
    return " ".join(parts)


def _again(job_ids: Sequence[str]) -> None:
    with plain_errors(for_host=True):
        st.session_state["failed_said"] = _told(failures.try_again(the_studio(), the_host(), job_ids))


def _all_again(kind: str | None) -> None:
    with plain_errors(for_host=True):
        st.session_state["failed_said"] = _told(failures.try_kind_again(the_studio(), the_host(), kind))


def _hide(job_ids: Sequence[str]) -> None:
    with plain_errors(for_host=True):
        count = failures.hide(the_studio(), the_host(), job_ids)
        st.session_state["failed_said"] = ngettext("{n} job is hidden.", "{n} jobs are hidden.", count)
