"""One job in detail: its picture, how it formed, what it was made with, and what can be done next."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from db import votes
from db.artefacts import Artefact
from db.errors import UnknownJob
from db.jobs import Job, State
from generator import registry
from generator.output.licence import licence_in
from generator.params import BadParams, JobParams, Params, validate_job
from pages.components import acts, deleting, form, job_card, lineage, results, sharing, stage
from pages.components.facts import facts
from pages.components.notices import empty_state
from pages.components.picture import draw_picture
from pages.shared.charts import legible
from pages.shared.download import download_button
from pages.shared.errors import plain_errors
from pages.shared.files import files_of, load
from pages.shared.language import N_, _, named, number
from pages.shared.navigation import GENERATION, go, go_to
from pages.shared.studio import the_studio
from pages.shared.text import duration, esc, moment, plain
from pages.shared.visitor import names_of
from studio import access, given
from studio.context import Submitter
from studio.engines import engine_title, makes
from studio.file_names import file_name
from studio.standing import taken
from studio.submit import run_again

DOWNLOADS = {
    "picture": "PNG",
    "gif": "GIF",
    "mp4": "MP4",
    "webp": "WebP",
    "sheet": N_("Sprite sheet"),
    "json": "JSON",
    "result": "JSON",
}
_AXIS, _LOOSE = {"grid": False, "tickCount": 4}, {"zero": False}


def show(job_id: str, visitor: Submitter) -> None:
    """The job, or a sentence where there is none that this visitor may see."""
    st.button(_("All inferences"), icon=":material/arrow_back:", type="tertiary", on_click=_close)
    deleting.by_link(job_id, visitor)
    try:
        job = access.job(the_studio(), visitor, job_id)
    except UnknownJob:
        empty_state(
            _("No such job"), _("There is no job under this address. It was deleted, or taken out by the host.")
        )
        return
    ended = job.state not in (State.QUEUED, State.RUNNING)
    st.fragment(_body, run_every=None if ended else 1.0)(job.id, visitor, ended)


def _close() -> None:
    for name in ("job", "delete"):
        st.query_params.pop(name, None)


def _body(job_id: str, visitor: Submitter, ended: bool) -> None:
    with plain_errors():
        go()
        try:
            job = access.job(the_studio(), visitor, job_id)
        except UnknownJob:  # hidden or deleted since the page was drawn
            st.rerun()
        if not ended and job.state not in (State.QUEUED, State.RUNNING):
            st.rerun()
        files = files_of([job.id])[job.id]
        look, facts = st.columns([5, 6], gap="large")
        with look:
            if makes(job.engine) == "result":
                results.show(job, files.get("result"), visitor)
            else:
                _picture(job, files, visitor)
            _downloads(job, files, visitor)
        with facts:
            st.html(f'<div class="t2i-prompt whole">{esc(job.prompt)}</div>')
            share = job.step / job.total_steps
            st.html(f'<div class="t2i-meta">{esc(job_card.status_line(job))}</div>{job_card.bar(share, job)}')
            _next_steps(job, files, visitor)
            _facts(job, files, visitor)
            if len(job.history) > 1:
                st.header(_("Score by step"), anchor=False)
                _curve(job)
            lineage.show(job, visitor)


def _curve(job: Job) -> None:
    """The score by step, with axes."""
    steps = {"domain": [0, job.total_steps], "nice": False}
    st.vega_lite_chart(
        legible(
            {
                "data": {"values": [{"step": step, "score": score} for step, score in job.history]},
                "mark": {"type": "line", "strokeWidth": 2, "interpolate": "monotone"},
                "encoding": {
                    "x": {"field": "step", "type": "quantitative", "title": _("step"), "scale": steps, "axis": _AXIS},
                    "y": {
                        "field": "score",
                        "type": "quantitative",
                        "title": _("score"),
                        "scale": _LOOSE,
                        "axis": _AXIS,
                    },
                    "tooltip": [
                        {"field": "step", "type": "quantitative"},
                        {"field": "score", "type": "quantitative", "format": ".3f"},
                    ],
                },
                "height": 160,
            }
        ),
        width="stretch",
        alt=_("Score by step, now {score}", score=number(job.history[-1][1], ".2f")),
    )


def _picture(job: Job, files: dict[str, Artefact], visitor: Submitter) -> None:
    if job.state == State.SUCCEEDED and "picture" in files:
        stage.show(job, files, visitor, [job], key="detail_stage")
        return
    kinds = [N_("Picture"), N_("Animation")]
    moving = files.get("gif") or files.get("webp")
    shown = kinds[0]
    if moving is not None:
        shown = st.segmented_control(
            _("Show"),
            kinds,
            default=kinds[0],
            required=True,
            key=f"show_{job.id}",
            format_func=named(kinds),
            label_visibility="collapsed",
        )
    still = files.get("picture") or files.get("preview")
    data = load(moving if shown == kinds[1] else still)
    draw_picture(data, key=f"detail_{job.id}", alt=job.prompt, instead=_("There is no picture yet"))


def _downloads(job: Job, files: dict[str, Artefact], visitor: Submitter) -> None:
    there = [(kind, name) for kind, name in DOWNLOADS.items() if kind in files]
    if not there:
        return
    with st.container(horizontal=True, gap="small"):
        for kind, name in there:
            artefact = files[kind]
            download_button(
                _(name),
                # Read when it is asked for, so that a look at a job does not load its film.
                partial(access.file, the_studio(), visitor, artefact),
                file_name=file_name(job, artefact),
                mime=artefact.media_type,
                key=f"download_{kind}",
            )


def _next_steps(job: Job, files: dict[str, Artefact], visitor: Submitter) -> None:
    with st.container(horizontal=True, gap="small"):
        if job.state in (State.QUEUED, State.RUNNING):
            if access.owns(visitor, job):
                st.button(
                    _("Cancel"),
                    icon=":material/close:",
                    disabled=job.cancel_requested,
                    on_click=acts.cancel,
                    args=(job.id, visitor),
                )
            deleting.popover(job, visitor)
            return
        st.button(_("Run again"), icon=":material/refresh:", on_click=_run_again, args=(job, visitor), type="primary")
        drawn = makes(job.engine) == "drawing"
        if drawn:
            st.button(_("Edit settings"), icon=":material/edit:", on_click=_edit, args=(job, visitor))
        if "picture" in files:
            lineage.next_steps(job, files["picture"], visitor)
            if drawn:
                st.button(
                    _("Use as init image"),
                    icon=":material/image:",
                    on_click=_edit,
                    args=(job, visitor, files["picture"]),
                )
            if not job.hidden:
                with st.popover(_("Share"), icon=":material/share:"):
                    sharing.link(job)
        deleting.popover(job, visitor)
    if drawn:
        st.caption(_("Run again: the same settings with a new seed."))
    if given.shown(the_studio(), visitor, [job])[job.id].withheld:
        st.caption(
            _(
                "It was made with a picture that somebody gave and that is shown to nobody else: its settings are "
                "taken without that. To go on from what you see, vary it or use it as init image."
            )
        )


def _run_again(job: Job, visitor: Submitter) -> None:
    with plain_errors():
        run_again(the_studio(), visitor, job)
        go_to(GENERATION)


def _edit(job: Job, visitor: Submitter, picture: Artefact | None = None) -> None:
    form.preset_from(job, visitor, picture=picture)
    go_to(GENERATION)


def _size(params: JobParams, picture: Artefact | None) -> str | None:
    """As large as the file is, and what became of upscaling it; None where there is no picture."""
    if params.actual_size is None:
        return None
    drawn = "{} × {} px".format(*params.actual_size)
    if not isinstance(params, Params) or params.upscale == 1 or picture is None or picture.width is None:
        return drawn
    if (picture.width, picture.height) == params.actual_size:
        return _("{size}, could not be upscaled", size=drawn)
    return _("{large} px, upscaled from {size}", large=f"{picture.width} × {picture.height}", size=drawn)


def _facts(job: Job, files: dict[str, Artefact], visitor: Submitter) -> None:
    checkpoint = registry.CHECKPOINTS.get(job.checkpoint)
    made: dict[str, Any] = {
        _("By"): names_of([job]).get(job.submitter),
        _("Engine"): engine_title(job.engine),
        _("Checkpoint"): checkpoint.title if checkpoint else job.checkpoint,
        _("Seed"): job.params.get("seed"),
    }
    try:
        params = validate_job(job.engine, job.params)
        made[_("Size")] = _size(params, files.get("picture"))
        withheld = given.shown(the_studio(), visitor, [job])[job.id].withheld
        changed: dict[str, Any] | None = params.changed() | dict.fromkeys(withheld, _("given by whoever asked for it"))
    except (BadParams, registry.UnknownName):
        changed = None
    made |= _worded(job)
    made[_("Steps")] = _("{done} of {total}", done=job.step, total=job.total_steps)
    made[_("Submitted")] = moment(job.created_at)
    if job.finished_at and job.started_at:
        made[_("Took")] = duration(taken(job))
        made[_("Licence")] = licence_in(load(files.get("json")))
    if job.state == State.SUCCEEDED:
        tally = votes.tallies(the_studio().db, [job.id])[job.id]
        if tally.wins + tally.losses + tally.ties:
            made[_("Votes")] = _(
                "{wins} won, {losses} lost, {ties} undecided", wins=tally.wins, losses=tally.losses, ties=tally.ties
            )
    _table(made)
    st.header(_("Settings that differ from the defaults"), anchor=False)
    if changed is None:
        st.text(_("They were written by another version of the studio; the JSON file has all of them."))
    elif changed:
        _table({name: plain(value) for name, value in changed.items()})
    else:
        st.text(_("None: all settings are the defaults."))


def _worded(job: Job) -> dict[str, str]:
    """What was typed where something else is drawn, and what was chosen of it."""
    said: dict[str, Any] = job.params.get("wording") or {}
    titles = {"prompt": _("Typed"), "negative_prompt": _("Typed as negative prompt")}
    rows = {title: said[name]["typed"] for name, title in titles.items() if name in said}
    choices = [choice for one in said.values() for choice in one["choices"]]
    return rows | ({_("Chosen"): "; ".join(choices)} if choices else {})


def _table(rows: dict[str, Any]) -> None:
    facts((name, value) for name, value in rows.items() if value is not None)
