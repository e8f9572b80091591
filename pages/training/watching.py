"""A run as it learns: its losses, samples and film, how fast and how long; what its owner may ask of it; two runs."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.errors import UnknownJob
from db.jobs import LIVE, Job, State
from db.models.trained import TrainedModel
from pages.components import job_card
from pages.components.deleting import for_good
from pages.components.facts import facts
from pages.components.notices import empty_state, executor_missing
from pages.components.picture import draw_picture
from pages.shared.charts import legible
from pages.shared.download import download_button
from pages.shared.errors import plain_errors
from pages.shared.files import forget_files, load
from pages.shared.form_memory import preset
from pages.shared.language import N_, _, number
from pages.shared.navigation import GENERATION, go, go_to
from pages.shared.studio import the_studio
from pages.shared.text import duration, esc
from studio import access, deleting, train
from studio.context import Submitter
from studio.submit import cancel
from studio.train import Watched

REFRESH_S = 2.0
FILES = {
    "model": N_("Model"),
    "card": N_("Card"),
    "history": N_("History"),
    "curves": N_("Curves"),
    "samples": N_("Samples"),
    "picture": N_("Grid"),
    "mp4": N_("Film"),
    "tensorboard": N_("Events for TensorBoard"),
}
_AXIS = {"grid": False, "tickCount": 4}
_STATES = {
    State.QUEUED: N_("waits"),
    State.RUNNING: N_("learns"),
    State.SUCCEEDED: N_("done"),
    State.FAILED: N_("failed"),
    State.CANCELLED: N_("cancelled"),
}


def state_line(job: Job) -> str:
    """Where a run is, in a few words."""
    state = _("paused") if job.asked == "pause" and job.state in LIVE else _(_STATES[job.state])
    return f"{state} · {_('step {step} of {total}', step=number(job.step, ',d'), total=number(job.total_steps, ',d'))}"


def show(run_id: str, visitor: Submitter, other_id: str | None = None) -> None:
    """The run, or a sentence where there is none that this visitor may see. other_id: a second one beside it."""
    st.button(_("All runs"), icon=":material/arrow_back:", type="tertiary", on_click=_close)
    try:
        job = train.watch(the_studio(), visitor, run_id).job
        if other_id is not None:
            _side_by_side(run_id, other_id, visitor)
            return
    except UnknownJob:
        empty_state(
            _("No such run"), _("There is no run under this address. It was deleted, or taken out by the host.")
        )
        return
    live = job.state in LIVE
    st.fragment(_body, run_every=REFRESH_S if live else None)(run_id, visitor, live)


def _close() -> None:
    for name in ("run", "with"):
        st.query_params.pop(name, None)


def _body(run_id: str, visitor: Submitter, was_live: bool) -> None:
    with plain_errors():
        go()
        try:
            found = train.watch(the_studio(), visitor, run_id)
        except UnknownJob:  # hidden or deleted since the page was drawn
            st.rerun()
        job = found.job
        if was_live and job.state not in LIVE:
            st.rerun()
        if job.state in LIVE and not found.paused:
            executor_missing()
        st.html(
            f'<div class="t2i-prompt whole">{esc(job.params.get("name") or job.prompt)}</div>'
            f'<div class="t2i-meta">{esc(state_line(job))}</div>{job_card.bar(job.step / job.total_steps, job)}'
        )
        if job.error:
            st.warning(esc(job.error), icon=":material/error:")
        _asked(found, visitor)
        if job.state not in LIVE:
            with st.container(horizontal=True, gap="small"):
                if found.model is not None:
                    _finished(found.model, job)
                deletion(job.id, job.submitter, visitor)
        look, numbers = st.columns([6, 5], gap="large")
        with look:
            _pictures(found)
        with numbers:
            _facts(found)
            _losses({"": found})
        _downloads(found, visitor)
        _compare_with(job, visitor)


def _asked(found: Watched, visitor: Submitter) -> None:
    """Pause, go on, stop and keep, cancel: for whoever asked for the run, and the host."""
    job = found.job
    if job.state not in LIVE or not (access.owns(visitor, job) or visitor.is_host):
        return
    if found.asked == "keep":
        st.info(_("It ends with the model it has, as soon as its executor looks."), icon=":material/save:")
        return
    with st.container(horizontal=True, gap="small"):
        if found.paused:
            _button(_("Go on"), "play_arrow", train.go_on, job, visitor)
        else:
            _button(_("Pause"), "pause", train.pause, job, visitor)
        if job.step:
            _button(_("Stop and keep the model"), "save", train.keep, job, visitor)
        if access.owns(visitor, job):
            _button(_("Cancel"), "close", cancel, job, visitor)


def deletion(job_id: str, submitter: str, visitor: Submitter) -> None:
    """The button that deletes a run with its model: for whoever asked for it, and the host."""
    if not (visitor.is_host or visitor.id == submitter):
        return
    with st.popover(_("Delete"), icon=":material/delete:", type="tertiary", key=f"deletion_{job_id}"):
        st.text(
            _(
                "The run goes with its samples, its film and its model, and jobs that still want to draw with it fail; "
                "pictures that were drawn stay. This cannot be undone."
            )
        )
        for_good(f"delete_{job_id}", _delete, job_id, visitor)


def _delete(job_id: str, visitor: Submitter) -> None:
    with plain_errors():
        deleting.delete_job(the_studio(), visitor, job_id)
        forget_files()
        _close()
        st.toast(_("The run is deleted."))


def _button(label: str, icon: str, ask: Callable[..., Job], job: Job, visitor: Submitter) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"run_{icon}",
        on_click=_do,
        args=(ask, job.id, visitor),
        disabled=job.cancel_requested,
    )


def _do(ask: Callable[..., Job], job_id: str, visitor: Submitter) -> None:
    with plain_errors():
        ask(the_studio(), visitor, job_id)


def _finished(model: TrainedModel, job: Job) -> None:
    """The way to the form, with the model chosen."""
    if train.engine_of(model) is None:
        return
    captions = model.card.get("captions") or job.params.get("captions") or [""]
    st.button(
        _("Draw with it"), icon=":material/brush:", type="primary", on_click=draw_with, args=(model, str(captions[0]))
    )


def draw_with(model: TrainedModel, prompt: str = "") -> None:
    """From a callback: the form, with this model chosen."""
    chosen = train.engine_of(model)
    if chosen is not None:
        preset({"set_engine": chosen[0], "set_checkpoint": chosen[1], **({"set_prompt": prompt} if prompt else {})})
        go_to(GENERATION)


def _pictures(found: Watched) -> None:
    """The newest samples, each interval's before them, or their film."""
    files = found.files
    film = files.get("webp") or files.get("gif")
    newest = files.get("picture") or files.get("preview")
    kinds = [N_("Samples"), *([N_("Film of learning")] if film is not None else [])]
    shown = kinds[0]
    if len(kinds) > 1:
        shown = st.segmented_control(
            _("Show"),
            kinds,
            default=kinds[0],
            key="run_look",
            format_func=_,
            required=True,
            label_visibility="collapsed",
        )
    if shown == kinds[0]:
        sheets = _sheets(files.get("samples"))
        steps = sorted(sheets)
        data = load(newest)
        if len(steps) > 1:
            step = st.select_slider(
                _("Drawn at step"),
                [*steps, None],
                value=None,
                key="run_sheet",
                format_func=lambda one: _("newest") if one is None else number(one, ",d"),
            )
            data = data if step is None else sheets[step]
        draw_picture(data, key="run_samples", alt=_("Samples"), instead=_("Samples are drawn at the first interval."))
    else:
        draw_picture(load(film), key="run_film", alt=_("Film of learning"))
    captions = found.job.params.get("captions") or []
    if captions:
        st.caption(" · ".join(esc(one) for one in captions))


def _sheets(file: Artefact | None) -> dict[int, bytes]:
    """The sheets of samples by step."""
    data = load(file)
    if data is None:
        return {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {int(name.removesuffix(".png")): archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError):
        return {}


def _facts(found: Watched) -> None:
    job, unknown = found.job, "–"
    pace, left, memory = found.steps_per_s, found.left_s, found.memory
    rows = [
        (_("Loss in training"), unknown if found.train is None else number(found.train, ".4f")),
        (_("Loss in validation"), unknown if found.validation is None else number(found.validation, ".4f")),
        (
            _("Best"),
            unknown
            if found.best is None
            else _("{loss} at step {step}", loss=number(found.best, ".4f"), step=number(found.best_step or 0, ",d")),
        ),
        (_("Speed"), unknown if pace is None else _("{pace} steps/s", pace=number(pace, ".2f"))),
        (_("Left"), unknown if left is None else duration(left)),
        (_("Memory"), unknown if memory is None else f"{number(memory / 1e9, '.2f')} GB"),
        (_("Data"), train.data_name(the_studio(), str(job.params.get("data", "")))),
        (_("Licence"), str(job.params.get("licence", unknown))),
    ]
    facts(rows)


def _losses(runs: Mapping[str, Watched]) -> None:
    """The losses by step, on a logarithmic scale. runs: by the names that stand before each line's, "" for one run."""
    kinds = {"train": _("training"), "validation": _("validation")}
    values = [
        {"step": row.step, "loss": loss, "of": f"{run} {title}".strip()}
        for run, found in runs.items()
        for row in found.history.rows
        for kind, title in kinds.items()
        if (loss := getattr(row, kind)) is not None and loss > 0
    ]
    if not values:
        st.caption(_("The losses are drawn here as soon as the first are measured."))
        return
    st.vega_lite_chart(
        legible(
            {
                "data": {"values": values},
                "mark": {"type": "line", "strokeWidth": 2, "point": len(values) < 60},
                "encoding": {
                    "x": {"field": "step", "type": "quantitative", "title": _("step"), "axis": _AXIS},
                    "y": {
                        "field": "loss",
                        "type": "quantitative",
                        "title": _("loss"),
                        "scale": {"type": "log", "nice": False},
                        "axis": _AXIS,
                    },
                    "color": {"field": "of", "type": "nominal", "title": None, "legend": {"orient": "top"}},
                    "tooltip": [
                        {"field": "of", "type": "nominal"},
                        {"field": "step", "type": "quantitative"},
                        {"field": "loss", "type": "quantitative", "format": ".4f"},
                    ],
                },
                "height": 240,
            }
        ),
        width="stretch",
        alt=_("Losses by step"),
    )


def _downloads(found: Watched, visitor: Submitter) -> None:
    there = [(kind, name) for kind, name in FILES.items() if kind in found.files]
    if not there:
        return
    st.header(_("To take home"), anchor=False)
    with st.container(horizontal=True, gap="small"):
        for kind, name in there:
            artefact = found.files[kind]
            download_button(
                _(name),
                partial(access.file, the_studio(), visitor, artefact),  # read when it is asked for
                file_name=f"{found.job.params.get('name', found.job.id)}-{kind}.{artefact.key.rsplit('.', 1)[-1]}",
                mime=artefact.media_type,
                key=f"download_run_{kind}",
            )


def _compare_with(job: Job, visitor: Submitter) -> None:
    others = {one.id: one for one in train.runs(the_studio(), visitor) if one.id != job.id}
    if not others:
        return
    st.header(_("Compare with another run"), anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        other = st.selectbox(
            _("Run"), [*others], key="run_other", format_func=lambda one: str(others[one].params.get("name") or one)
        )
        st.button(_("Compare"), icon=":material/compare:", on_click=st.query_params.update, args=({"with": other},))


def _side_by_side(first_id: str, second_id: str, visitor: Submitter) -> None:
    """Two runs: samples beside each other, losses in one chart, and the settings in which they differ."""
    with plain_errors():
        found = train.compare(the_studio(), visitor, first_id, second_id)
        names = [str(one.job.params.get("name") or one.job.id) for one in found.runs]
        for column, one, name in zip(st.columns(2, gap="large"), found.runs, names, strict=True):
            with column:
                st.html(
                    f'<div class="t2i-prompt">{esc(name)}</div><div class="t2i-meta">{esc(state_line(one.job))}</div>'
                )
                file = one.files.get("picture") or one.files.get("preview")
                draw_picture(load(file), key=f"beside_{one.job.id}", alt=name, instead=_("No samples yet"))
        _losses(dict(zip(names, found.runs, strict=True)))
        st.header(_("What differs"), anchor=False)
        facts((name, f"{_value(one)} → {_value(other)}") for name, one, other in found.settings)


def _value(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
