"""The viewer: one picture large over the page it was tapped on, what it was made with beside it, and the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from db.jobs import Job, State
from generator import registry
from pages.components import acts, job_card, stage
from pages.components.facts import facts
from pages.shared.errors import plain_errors
from pages.shared.files import files_of
from pages.shared.language import _
from pages.shared.navigation import GENERATION, VIEWED, VIEWED_ON, go
from pages.shared.studio import the_studio
from pages.shared.text import esc, moment
from pages.shared.visitor import names_of, the_visitor
from studio import access, gallery
from studio.context import Submitter
from studio.engines import engine_title

NEAR = 12  # pictures on either side that can be moved to at once


def show(page: str) -> None:
    """At the end of a page: the viewer, where a picture was opened on it."""
    st.session_state.pop("look", None)
    if st.session_state.setdefault(VIEWED_ON, page) != page:  # left with the browser's own buttons
        _close()
    if VIEWED in st.session_state:
        st.dialog(_("Picture"), width="large", on_dismiss=_close)(_viewer)()


def _close() -> None:
    st.session_state.pop(VIEWED, None)
    st.session_state.pop(VIEWED_ON, None)


def _viewer() -> None:
    with plain_errors():
        go()
        if st.session_state.pop("form_changed", False):  # to be drawn from the form
            _close()
            st.switch_page(GENERATION)
        visitor = the_visitor()
        job_id, ids = st.session_state[VIEWED]
        here = ids.index(job_id) if job_id in ids else 0
        first = max(0, here - NEAR)
        among = _with_pictures(ids[first : here + NEAR + 1], visitor)
        job = next((one for one in among if one.id == job_id), None)
        if job is None:  # deleted, or taken out by the host
            _close()
            st.rerun()
        with st.container(key="viewer"):
            look, told = st.columns([8, 5], gap="medium")
            files = files_of([job.id])[job.id]
            with look:
                of = (first, len(ids))
                went = stage.show(job, files, visitor, among, key="viewer_stage", of=of)
            if went is not None and went != job.id:
                st.session_state[VIEWED] = (went, ids)
                st.rerun(scope="fragment")
            with told:
                _told(job, files, visitor)


def _with_pictures(ids: Sequence[str], visitor: Submitter) -> list[Job]:
    """Those that this visitor may see and that have a picture; the others are passed over."""
    found = access.those_seen(the_studio(), visitor, ids)
    files = files_of([one.id for one in found])
    return [one for one in found if one.state == State.SUCCEEDED and "picture" in files[one.id]]


def _told(job: Job, files: dict[str, Any], visitor: Submitter) -> None:
    st.html(f'<div class="t2i-prompt whole">{esc(job.prompt)}</div>')
    st.html(f'<div class="t2i-meta">{esc(job_card.status_line(job))}</div>')
    picture = files["picture"]
    on = gallery.on_boards(the_studio(), visitor, [job.id])[job.id]
    boards = gallery.boards_of(the_studio(), visitor)
    acts.draw(job, picture, None, visitor, on=on, boards=boards, place="viewer_")  # below the picture it is downloaded
    checkpoint = registry.CHECKPOINTS.get(job.checkpoint)
    made = {
        _("By"): names_of([job]).get(job.submitter),
        _("Engine"): engine_title(job.engine),
        _("Checkpoint"): checkpoint.title if checkpoint else job.checkpoint,
        _("Style"): registry.STYLES.get(str(job.params.get("style"))),
        _("Steps"): job.total_steps,
        _("Seed"): job.params.get("seed"),
        _("Size"): f"{picture.width} × {picture.height} px" if picture.width else None,
        _("Submitted"): moment(job.created_at),
    }
    facts((name, value) for name, value in made.items() if value is not None)
