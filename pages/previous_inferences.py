"""Previous Inferences: a gallery of all jobs, narrowed and ordered as the address says; one of them under ?job=<id>."""

from __future__ import annotations

import time
from typing import Any

import streamlit as st

from db.jobs import ENDED, Job, State
from db.queue import workers
from pages.components import choosing, deleting, job_detail, looking
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.ratings import standings
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _
from pages.shared.navigation import GENERATION, look_at, show
from pages.shared.studio import the_studio
from pages.shared.text import esc, label, short
from pages.shared.visitor import names_of, the_visitor
from studio import gallery
from studio.engines import engine_title, makes
from studio.gallery import Page

_NO_PICTURE = {State.QUEUED: N_("Waiting"), State.FAILED: N_("Failed"), State.CANCELLED: N_("Cancelled")}


def page() -> None:
    """One job where the address names one, the gallery otherwise."""
    job_id = st.query_params.get("job")
    if job_id:
        job_detail.show(job_id, the_visitor())
    else:
        _gallery()


def _gallery() -> None:
    deleting.said()
    visitor = the_visitor()
    look, beside = looking.asked_for(visitor)
    deleting.pictures_given(visitor)
    with plain_errors():
        rated = standings.best_first(the_studio().db) if look.order == "best" else ()
        found = gallery.page(the_studio(), visitor, look, rated)
        jobs = found.jobs
        for notice in found.notices:
            st.caption(label(_(notice.sentence, **notice.values)))
        if found.reading:
            st.fragment(_again, run_every=1.5 if workers.live(the_studio().db) else 10.0)(time.monotonic())
            return
        if not jobs:
            _nothing(look.page)
            return
        ids = [job.id for job in jobs]
        files, names = files_of(ids), names_of(jobs)
        with beside:
            if any("picture" in files[job_id] for job_id in ids):
                choosing.begin()
        if choosing.is_on():
            choosing.bar(jobs, files, visitor)
        with st.grid("auto", min_column_width=155, key="gallery"):
            for job in jobs:
                with st.container(key=f"tile_{job.id}"):
                    _tile(job, files[job.id], names.get(job.submitter), ids)
        if look.page == 1 and not found.more:
            return
        with st.container(horizontal=True, horizontal_alignment="center", key="turn_pages"):
            by_age = look.order == "newest" and look.meant is None
            # Pages of what is like something are found one from the other.
            before = 1 if look.meant else look.page - 1
            _turn(_("Newer") if by_age else _("Better"), "newer", before, found, look.page > 1)
            _turn(_("Older") if by_age else _("Further down"), "older", look.page + 1, found, found.more)


def _again(since: float) -> None:
    """Looks again once an executor has had some time to read what is searched for."""
    if time.monotonic() - since > 1.0:
        st.rerun()


def _turn(words: str, key: str, page: int, found: Page, there: bool) -> None:
    back = key == "newer"
    st.button(
        words,
        icon=f":material/arrow_{'back' if back else 'forward'}:",
        icon_position="left" if back else "right",
        key=key,
        disabled=not there,
        on_click=looking.turn_to,
        args=(page, found.next),
        kwargs={"anew": found.scored},
    )


def _tile(job: Job, files: dict[str, Any], name: str | None, beside: list[str]) -> None:
    data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
    instead = (
        engine_title(job.engine)
        if makes(job.engine) == "result"
        else _(_NO_PICTURE.get(job.state, N_("Being drawn") if job.state not in ENDED else N_("No picture")))
    )
    draw_picture(data, key=job.id, alt=job.prompt, instead=instead)
    finished = job.state == State.SUCCEEDED and "picture" in files
    if choosing.is_on():
        choosing.tile(job)
    else:
        st.button(
            label(short(job.prompt)),
            key=f"open_{job.id}",
            type="tertiary",
            on_click=look_at if finished else _open,
            args=(job.id, beside) if finished else (job.id,),
            width="stretch",
        )
    if name:
        st.html(f'<div class="t2i-meta"><bdi>{esc(name)}</bdi></div>')


def _open(job_id: str) -> None:
    st.query_params["job"] = job_id


def _nothing(page: int) -> None:
    if looking.is_narrowed():
        empty_state(
            _("Nothing found"), _("No job fits this search and these filters. Take one of them away to see more.")
        )
        if page > 1:
            st.button(_("To the first page"), on_click=looking.turn_to, args=(1, None))
    else:
        empty_state(
            _("No pictures yet"),
            _("Finished pictures are kept here with their settings and their animation."),
            page=GENERATION,
            link=_("Make the first one"),
        )


if __name__ == "__main__":
    show(page)
