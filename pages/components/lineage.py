"""What a finished picture can become next, what it was made from and what was made from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from db import queue
from db.artefacts import Artefact
from db.jobs import Job, State
from db.sheets import submissions
from generator import registry
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _
from pages.shared.navigation import INFERENCES, SHEETS, go_to
from pages.shared.studio import the_studio
from pages.shared.text import label, short
from studio import access
from studio.context import Submitter
from studio.engines import engine_title
from studio.limits import engines_that_vary, is_offered
from studio.submit import MAX_PICTURES
from studio.upscale import upscale
from studio.vary import drawing_of, vary

SHOWN_CHILDREN = 24
DEFAULT_VARIATIONS = 4
DEFAULT_SKIP_RATE = 0.5
STATES = {
    State.QUEUED: N_("Queued"),
    State.RUNNING: N_("Running"),
    State.SUCCEEDED: N_("Succeeded"),
    State.FAILED: N_("Failed"),
    State.CANCELLED: N_("Cancelled"),
}


def next_steps(job: Job, picture: Artefact, visitor: Submitter) -> None:
    """The buttons Vary and Upscale, each with its few settings."""
    engines = engines_that_vary(the_studio())
    if engines:
        _vary_settings(job, picture, visitor, engines)
    if is_offered(the_studio(), "upscale"):
        _upscale_settings(job, picture, visitor)


def _vary_settings(job: Job, picture: Artefact, visitor: Submitter, engines: list[str]) -> None:
    with st.popover(_("Vary"), icon=":material/shuffle:"):
        drawn_by = drawing_of(the_studio(), job).engine
        engine = st.selectbox(
            _("Engine"),
            engines,
            index=engines.index(drawn_by) if drawn_by in engines else 0,
            key=f"vary_engine_{job.id}",
            format_func=engine_title,
        )
        count = st.number_input(
            _("Variations"), min_value=1, max_value=MAX_PICTURES, value=DEFAULT_VARIATIONS, key=f"vary_count_{job.id}"
        )
        skip_rate = st.slider(
            _("Skip rate"),
            min_value=0.0,
            max_value=1.0,
            value=DEFAULT_SKIP_RATE,
            step=0.05,
            key=f"vary_skip_{job.id}",
            help=_("The share of the way that is skipped: greater keeps more of this picture."),
        )
        st.button(
            _("Make variations"),
            type="primary",
            key=f"vary_{job.id}",
            on_click=make_variations,
            args=(job, picture, visitor, engine, int(count), float(skip_rate)),
        )


def _upscale_settings(job: Job, picture: Artefact, visitor: Submitter) -> None:
    with st.popover(_("Upscale"), icon=":material/zoom_out_map:"):
        checkpoints = list(registry.ENGINES["upscale"].checkpoints)
        checkpoint: str = st.selectbox(
            _("Model"),
            checkpoints,
            key=f"upscale_model_{job.id}",
            format_func=lambda name: registry.CHECKPOINTS[name].title,
        )
        scale = registry.CHECKPOINTS[checkpoint].scale
        if picture.width and picture.height:
            st.caption(
                _(
                    "{size} px becomes {large} px.",
                    size=f"{picture.width} × {picture.height}",
                    large=f"{scale * picture.width} × {scale * picture.height}",
                )
            )
        st.button(
            _("Upscale"),
            type="primary",
            key=f"upscale_{job.id}",
            on_click=_upscale,
            args=(job, picture, visitor, checkpoint),
        )


def make_variations(
    job: Job,
    picture: Artefact,
    visitor: Submitter,
    engine: str,
    count: int = DEFAULT_VARIATIONS,
    skip_rate: float = DEFAULT_SKIP_RATE,
) -> None:
    """Queue them and show their sheet; what stands against it is shown as one sentence."""
    with plain_errors():
        sheet = vary(the_studio(), visitor, job, picture, engine=engine, count=count, skip_rate=skip_rate)
        go_to(SHEETS, sheet=sheet.id)


def _upscale(job: Job, picture: Artefact, visitor: Submitter, checkpoint: str) -> None:
    with plain_errors():
        go_to(INFERENCES, job=upscale(the_studio(), visitor, job, picture, checkpoint=checkpoint).id)


def show(job: Job, visitor: Submitter) -> None:
    """The picture this one was made from, those made from it, and the sheet it is on."""
    db = the_studio().db
    parent = access.made_from(the_studio(), visitor, job)
    parents = [] if parent is None else [parent]
    made_from_it = queue.children(db, job.id, limit=SHOWN_CHILDREN)
    sheet = submissions.of_jobs(db, [job.id]).get(job.id)
    if sheet is not None:
        st.page_link(
            SHEETS,
            label=_("All pictures of its sheet"),
            icon=":material/grid_view:",
            query_params={"sheet": sheet.id},
        )
    if parents:
        st.subheader(_("Made from"), anchor=False)
        _thumbnails(parents, [engine_title(one.engine) for one in parents], "parent")
    if made_from_it:
        st.subheader(_("Made from it"), anchor=False)
        _thumbnails(made_from_it, what_became(job, made_from_it), "child")


def what_became(job: Job, made: Sequence[Job]) -> list[str]:
    """What each picture made from a job is to it, in a few words; alike ones are numbered, the oldest first."""
    said = [_became(job, one) for one in made]
    total, seen, names = Counter(said), Counter[str](), list[str]()
    for words in reversed(said):
        seen[words] += 1
        names.append(f"{words} {seen[words]}" if total[words] > 1 else words)
    return names[::-1]


def _became(job: Job, made: Job) -> str:
    if made.engine == "upscale":
        return _("Upscaled copy")
    if made.prompt != job.prompt:
        return short(made.prompt, 40)
    return _("Drawn again") if made.source_artefact_id is None else _("Variation")


def _thumbnails(jobs: list[Job], names: list[str], kind: str) -> None:
    files = files_of([job.id for job in jobs])
    with st.grid("auto", min_column_width=96, key=f"lineage_{kind}"):
        for job, name in zip(jobs, names, strict=True):
            with st.container(key=f"tile_{kind}_{job.id}"):
                found = files[job.id]
                data = load(found.get("thumbnail") or found.get("preview") or found.get("picture"))
                draw_picture(data, key=f"{kind}_{job.id}", alt=job.prompt, instead=_(STATES[job.state]))
                st.button(
                    label(name),
                    key=f"open_{kind}_{job.id}",
                    type="tertiary",
                    width="stretch",
                    on_click=_open,
                    args=(job.id,),
                )


def _open(job_id: str) -> None:
    st.query_params["job"] = job_id
