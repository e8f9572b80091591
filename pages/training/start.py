"""A new run: preset, name, captions, and every other setting as it is declared."""

from __future__ import annotations

import re
from typing import Any

import streamlit as st

from db.datasets.records import Dataset
from generator.params import BadParams, validate_job
from pages.components import form as widgets
from pages.components.notices import executor_missing
from pages.shared.errors import plain_errors, problem, sentence
from pages.shared.language import N_, _
from pages.shared.studio import the_studio
from studio import train
from studio.context import Submitter
from studio.settings_form import run_fields

ENGINE = "train"
PRESETS = {
    "tiny": N_("Tiny: 32 px, minutes on a CPU"),
    "small": N_("Small: 64 px, hours on a CPU"),
    "eir": N_("EIR: 128 px, as in EIR's tutorial, hours on a GPU"),
    "large": N_("Large: 256 px, in the latents of Stable Diffusion, days on a GPU"),
}
_GROUPS = {
    "main": N_("Length"),
    "watching": N_("Watching"),
    "optimisation": N_("Optimisation"),
    "model": N_("Network"),
    "diffusion": N_("Diffusion"),
}


def form(data: Dataset, visitor: Submitter) -> None:
    """The form of a new run on these data; its button starts it."""
    left, right = st.columns(2)
    preset = left.selectbox(_("Preset"), list(PRESETS), key="train_preset", format_func=lambda one: _(PRESETS[one]))
    name = right.text_input(
        _("Name of the model"),
        max_chars=64,
        key="train_name",
        placeholder=_suggested(data.name),
        help=_("Letters, digits, _ and -; it is drawn with under this name."),
    )
    captions = st.text_area(
        _("Captions to watch, one a line"),
        key="train_captions",
        height=100,
        placeholder=_("None: some of the pictures that are kept from training."),
        help=_("They are drawn again and again while it learns, at most 16."),
    )
    values: dict[str, Any] = {"preset": preset, "data": data.reference, "name": name or _suggested(data.name)}
    values["captions"] = [line.strip() for line in captions.splitlines() if line.strip()]
    values["licence"] = data.licence
    try:
        first = validate_job(ENGINE, {"data": data.reference, "name": "x", "preset": preset}).model_dump()
    except BadParams as error:
        problem(sentence(error))
        return
    with st.expander(_("All settings")):
        for group, fields in run_fields(ENGINE).items():
            st.markdown(f"**{_(_GROUPS.get(group, group))}**")
            columns = st.columns(3)
            for n, field in enumerate(fields):
                with columns[n % 3]:
                    value = widgets.draw(field, ENGINE, preset, first[field.name])
                if value != first[field.name]:
                    values[field.name] = value
    executor_missing()
    if st.button(_("Start training"), type="primary", icon=":material/model_training:"):
        with plain_errors():
            job = train.submit(the_studio(), visitor, ENGINE, values)
            st.query_params["run"] = job.id
            st.rerun()


def _suggested(name: str) -> str:
    """A name for the model, from that of its data."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:48] or "my-model"
