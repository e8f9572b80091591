"""Previous Inferences: a gallery of all jobs, newest first, and one job in detail under ?job=<id>."""

from __future__ import annotations

from typing import Any

import streamlit as st

from db.jobs import ENDED, LIVE, Job, State
from generator import registry
from pages.components import deleting, form, job_detail
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.shared import form_memory
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, named
from pages.shared.navigation import GENERATION, show
from pages.shared.studio import the_studio
from pages.shared.text import esc, label, short
from pages.shared.visitor import names_of, the_visitor
from studio import access
from studio.engines import engine_title, engines_making, makes

PAGE = 24
STATUSES: dict[str, tuple[State, ...] | None] = {
    N_("Finished"): (State.SUCCEEDED,),
    N_("In progress"): LIVE,
    N_("Failed"): (State.FAILED,),
    N_("Cancelled"): (State.CANCELLED,),
    N_("All"): None,
}
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
    chosen = _filters()
    deleting.pictures_given(the_visitor())
    # The ids before which the pages that were left begin; the address of a page is the id it starts before.
    trail: list[str] = st.session_state.setdefault("trail", [])
    if st.session_state.get("filtered_by") != chosen:
        trail.clear()
        st.session_state["filtered_by"] = chosen
    before = trail[-1] if trail else None
    jobs = access.jobs(the_studio(), the_visitor(), before_id=before, limit=PAGE + 1, **chosen)
    if not jobs:
        _nothing(chosen)
        return
    files, names = files_of([job.id for job in jobs[:PAGE]]), names_of(jobs[:PAGE])
    with st.grid("auto", min_column_width=155, key="gallery"):
        for job in jobs[:PAGE]:
            with st.container(key=f"tile_{job.id}"):
                _tile(job, files[job.id], names.get(job.submitter))
    with st.container(horizontal=True, horizontal_alignment="center", key="turn_pages"):
        st.button(_("Newer"), icon=":material/arrow_back:", key="newer", disabled=not trail, on_click=_newer)
        st.button(
            _("Older"),
            icon=":material/arrow_forward:",
            icon_position="right",
            key="older",
            disabled=len(jobs) <= PAGE,
            on_click=trail.append,
            args=(jobs[:PAGE][-1].id,),
        )


def _filters() -> dict[str, Any]:
    """Draws search and filters; returns them as `access.jobs` takes them. They outlive a look at one job."""
    kept = form_memory.remembered()
    search, others = st.columns(2)
    with others:
        engine_cell, status_cell = st.columns(2, wrap=False)
    with search:
        key = "gallery_search"
        kept[key] = st.text_input(
            _("Search"),
            form_memory.kept(key, ""),
            key=key,
            placeholder=_("Words of a prompt"),
            icon=":material/search:",
        )
    with engine_cell:
        every = _("All that make pictures")
        names = ["", *registry.ENGINES]
        engine = form.choose(_("Engine"), "gallery_engine", names, "", lambda name: engine_title(name) or every)
    with status_cell:
        status = form.choose(_("Status"), "gallery_status", list(STATUSES), None, named(STATUSES))
    key = "gallery_mine"
    kept[key] = st.toggle(_("Only mine"), form_memory.kept(key, False), key=key)
    return {
        "search": kept["gallery_search"].strip() or None,
        "engine": engine or None,
        "without": () if engine else engines_making("result"),  # found by their name only
        "states": STATUSES[status],
        "mine": kept["gallery_mine"],
    }


def _tile(job: Job, files: dict[str, Any], name: str | None) -> None:
    data = load(files.get("thumbnail") or files.get("preview") or files.get("picture"))
    instead = (
        engine_title(job.engine)
        if makes(job.engine) == "result"
        else _(_NO_PICTURE.get(job.state, N_("Being drawn") if job.state not in ENDED else N_("No picture")))
    )
    draw_picture(data, key=job.id, alt=job.prompt, instead=instead)
    st.button(
        label(short(job.prompt)),
        key=f"open_{job.id}",
        type="tertiary",
        on_click=_open,
        args=(job.id,),
        width="stretch",
    )
    if name:
        st.html(f'<div class="t2i-meta"><bdi>{esc(name)}</bdi></div>')


def _open(job_id: str) -> None:
    st.query_params["job"] = job_id


def _newer() -> None:
    st.session_state["trail"].pop()


def _nothing(chosen: dict[str, Any]) -> None:
    narrowed = chosen["search"] or chosen["engine"] or chosen["mine"] or chosen["states"] != (State.SUCCEEDED,)
    if narrowed:
        empty_state(
            _("Nothing found"), _("No job fits this search and these filters. Take one of them away to see more.")
        )
    else:
        empty_state(
            _("No pictures yet"),
            _("Finished pictures are kept here with their settings and their animation."),
            page=GENERATION,
            link=_("Make the first one"),
        )


if __name__ == "__main__":
    show(page)
