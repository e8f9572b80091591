"""A new run: what is to be trained, and every setting of it as it is declared; what it will need, before it is asked
for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from db.datasets.records import Dataset
from generator.params import BadParams, problems, validate_job
from pages.components import form as widgets
from pages.components.notices import executor_missing
from pages.shared.errors import plain_errors, problem, sentence
from pages.shared.language import N_, _, named, number
from pages.shared.studio import the_studio
from pages.shared.text import label, size
from studio import run_needs, train
from studio.context import Submitter
from studio.limits import is_offered
from studio.settings_form import Field, run_fields

TRAIN, LORA = "train", "train-lora"
KINDS = {TRAIN: N_("A model of my own"), LORA: N_("A style or subject for Stable Diffusion")}
PRESETS = {
    "tiny": N_("Tiny: 32 px, about an hour on a CPU"),
    "small": N_("Small: 64 px, hours on a CPU"),
    "eir": N_("EIR: 128 px, as in EIR's tutorial, hours on a GPU"),
    "large": N_("Large: 256 px, in the latents of Stable Diffusion, days on a GPU"),
}
# Shown before the others are unfolded, in this order; name, preset, base and captions have widgets of their own.
_OPEN = {TRAIN: ("steps", "licence"), LORA: ("trigger", "rank", "resolution", "steps")}
_OWN_WIDGET = ("preset", "name", "captions")
_GROUPS = {
    "main": N_("Length and data"),
    "data": N_("Pictures"),
    "watching": N_("Watching"),
    "optimisation": N_("Optimisation"),
    "model": N_("Network"),
    "diffusion": N_("Diffusion"),
}


@dataclass
class _Form:
    """What is set so far. start: the preset or the base, by which settings are remembered; first: what each setting is
    before anybody changes it; at: where to say what is wrong with each, those that are folded among them."""

    engine: str
    start: str
    first: dict[str, Any]
    values: dict[str, Any]
    at: dict[str, DeltaGenerator] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)

    def draw(self, one: Field, *, folded: bool = False) -> None:
        """The widget of a setting, and a place below it for what is wrong with it."""
        default = self.first[one.name]
        value = widgets.draw(one, self.engine, self.start, default)
        self.at[one.name] = st.empty()
        if folded:
            self.folded.add(one.name)
        if value is not None and value != (list(default) if isinstance(default, tuple) else default):
            self.values[one.name] = value


def form(data: Dataset, visitor: Submitter) -> None:
    """The form of a new run on these data; its button starts it."""
    engine = _kind()
    if engine is None:
        return
    bases = run_needs.bases(the_studio(), engine)
    if engine == LORA and not bases:
        _no_base()
        return
    left, right = st.columns(2)
    with left:
        given, start = _start(engine, bases)
    with right:
        name = _name(data)
    try:
        at_first = validate_job(engine, {**given, "data": data.reference, "name": "x"}).model_dump()
    except BadParams as error:
        problem(sentence(error))
        return
    values = {**given, "data": data.reference, "name": name, "licence": data.licence}
    made = _Form(engine, start, {**at_first, "licence": data.licence, "seed": None}, values, {"name": right.empty()})
    groups = run_fields(engine, _offered(bases, at_first))
    fields = {one.name: one for group in groups.values() for one in group}
    _row((fields[one] for one in _OPEN[engine]), made)
    values["captions"] = _captions(engine, made)
    with st.expander(_("All settings")):
        for group, some in groups.items():
            drawn = [one for one in some if one.name not in (*_OWN_WIDGET, *_OPEN[engine], "checkpoint")]
            if drawn:
                st.markdown(f"**{_(_GROUPS.get(group, group))}**")
                _row(drawn, made, folded=True)
    if not _wrong(made):
        _needs(made, visitor)
    executor_missing()
    if st.button(_("Start training"), type="primary", icon=":material/model_training:"):
        with plain_errors():
            job = train.submit(the_studio(), visitor, engine, values)
            st.query_params["run"] = job.id
            st.rerun()


def _kind() -> str | None:
    """The engine of what is to be trained; None where the host offers none."""
    engines = [engine for engine in KINDS if is_offered(the_studio(), engine)]
    if len(engines) < 2:
        return engines[0] if engines else None
    titles = named(KINDS.values())
    chosen: str = st.radio(
        _("What is trained"),
        engines,
        key="train_kind",
        format_func=lambda one: titles(KINDS[one]),
        horizontal=True,  # one below the other where that is too wide
    )
    return chosen


def _no_base() -> None:
    st.info(
        _(
            "This changes a Stable Diffusion that is there, and none is on this machine yet. The host fetches one, or "
            "puts one of their own into the folder diffusers of the checkpoints:"
        ),
        icon=":material/download:",
    )
    st.code("python -m generator.checkpoints download stable-diffusion-1-5", language="bash", wrap_lines=True)


def _start(engine: str, bases: list[str]) -> tuple[dict[str, Any], str]:
    """The setting that the others start from, and its value."""
    if engine == LORA:
        base = widgets.choose(_("Base"), "train_base", bases, None)
        return {"checkpoint": base}, base
    preset = widgets.choose(_("Preset"), "train_preset", list(PRESETS), None, lambda one: _(PRESETS[one]))
    return {"preset": preset}, preset


def _name(data: Dataset) -> str:
    suggested = _suggested(data.name)
    return (
        st.text_input(
            _("Name of the model"),
            max_chars=64,
            key="train_name",
            placeholder=suggested,
            help=_("Letters, digits, _ and -; it is drawn with under this name."),
        )
        or suggested
    )


def _captions(engine: str, made: _Form) -> list[str]:
    written = st.text_area(
        _("Captions to watch, one a line"),
        key="train_captions",
        height=100,
        placeholder=_("None: some of the pictures that are kept from training.")
        if engine == TRAIN
        else _("None: some captions of the pictures."),
        help=_("They are drawn again and again while it learns, at most 16."),
    )
    made.at["captions"] = st.empty()
    return [line.strip() for line in written.splitlines() if line.strip()]


def _offered(bases: list[str], first: dict[str, Any]) -> list[str]:
    """The bases to choose from: those that are there, and the one that a preset names."""
    return list(dict.fromkeys([*bases, *([first["base"]] if first.get("base") else [])]))


def _row(fields: Iterable[Field], made: _Form, *, folded: bool = False) -> None:
    """Settings side by side, in rows, so that they have the same order where there is one column."""
    drawn = list(fields)
    across = 3 if folded else len(drawn)
    for at in range(0, len(drawn), across):
        for one, cell in zip(drawn[at : at + across], st.columns(across, vertical_alignment="top"), strict=False):
            with cell:
                made.draw(one, folded=folded)


def _wrong(made: _Form) -> bool:
    """Say what is wrong with each setting where it is set, of folded ones below as well; whether anything is."""
    wrong = problems(made.engine, made.values)
    for name, said in wrong.items():
        if name in made.at:
            made.at[name].caption(f":red[:material/error: {label(said)}]")
        if name not in made.at or name in made.folded:
            problem(said)
    return bool(wrong)


def _needs(made: _Form, visitor: Submitter) -> None:
    """How large model and saved states will be, and what memory it takes."""
    with plain_errors():
        told = run_needs.told(the_studio(), visitor, made.engine, made.values)
        needs = told.needs
        sizes = _(
            "Model: {model}. Saved states, the last two: {states}; the disk needs {disk} free at the start.",
            model=size(needs.model),
            states=size(needs.states),
            disk=size(needs.disk),
        )
        memory = _(
            "About {memory} of memory with {pictures} pictures at once; a smaller Micro batch needs less.",
            memory=size(needs.memory),
            pictures=number(needs.pictures_at_once, ",d"),
        )
        st.caption(f"{sizes} {memory}")
        if not told.fits:
            st.warning(
                _("There is not so much room on the disk now; such a run would fail."), icon=":material/disc_full:"
            )
        if told.missing:
            st.caption(_("Not installed on this machine yet:"))
            command = f"python -m generator.checkpoints download {' '.join(told.missing)}"
            st.code(command, language="bash", wrap_lines=True)


def _suggested(name: str) -> str:
    """A name for the model, from that of its data."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:48] or "my-model"
