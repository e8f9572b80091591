"""The form of an engine: a widget for each of its settings, which keeps what was set in it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from db.artefacts import Artefact
from db.jobs import Job
from generator import registry
from generator.checkpoints.inventory import missing
from generator.params import BadParams, Params, params_class, validate
from pages.components import given_pictures
from pages.shared.form_memory import given_defaults, kept, preset, remembered, undrawn
from pages.shared.language import _
from pages.shared.studio import the_settings, the_studio
from studio import given
from studio.context import Submitter
from studio.limits import engines_that_vary, first_choice
from studio.settings_form import OWN_WIDGET, Field, clips, defaults, follows, loras

_WRITTEN = {"numbers": ", ", "lines": "\n"}  # kinds of which several are written in one field, and what is between them
_NAMES_WEIGHTS = ("checkpoint", "base", "clip", "upscaler")  # what they name may have to be downloaded first


def current_defaults(engine: str, checkpoint: str, beside: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults while the other settings are as the form has them now, as skip_steps follows from steps.

    A setting that nobody has changed shows its new default. beside: what is set beside the fields, such as the prompt.
    """
    usual = defaults(engine, checkpoint)
    given = given_defaults()
    keys = {name: key_of(engine, checkpoint, name) for name in usual if name not in (*OWN_WIDGET, "checkpoint")}
    before = {name: given.get(key, usual[name]) for name, key in keys.items()}
    shown = {name: st.session_state.get(key, remembered().get(key)) for name, key in keys.items()}
    changed = {name: value for name, value in shown.items() if value is not None and value != _typed(before[name])}
    try:
        now = validate(engine, {"prompt": "x", "checkpoint": checkpoint, "seed": 0, **changed, **beside}).model_dump()
    except BadParams:  # said when a picture is asked for
        now = {name: value for name, value in before.items() if value is not None}
    now = {**usual, **now}
    for name, key in keys.items():
        if name not in changed:
            told = key in given or key in remembered()  # else it is drawn for the first time, with this default
            given[key] = now[name]
            if told and now[name] != before[name]:
                preset({key: _typed(now[name])})
    return {**now, "seed": None}


def _typed(value: Any) -> Any:
    """A default as its widget has it."""
    return list(value) if isinstance(value, tuple) else value


def key_of(engine: str, checkpoint: str, name: str) -> str:
    """The key of a widget. The checkpoint is part of it, so that each checkpoint keeps its own settings."""
    return f"set_{name}" if name in ("checkpoint", "style") else f"set_{engine}_{checkpoint}_{name}"


def prompt(example: str) -> str:
    """The field of the prompt, the same on every page that draws."""
    key, about = "set_prompt", _(str(Params.model_fields["prompt"].description))
    written: str = st.text_area(_("Prompt"), kept(key, ""), key=key, height="content", placeholder=example, help=about)
    remembered()[key] = written
    return written


def choose(label: str, key: str, names: Sequence[str], default: str | None, titles: Callable[[str], str] = str) -> str:
    """One of `names`; what was chosen before where it is still offered, else the default or the first of them."""
    first = default if default in names else names[0]
    shown = kept(key, first)
    if shown not in names:  # the host has withdrawn it since
        shown = replaced(key, first)
    chosen: str = st.selectbox(label, names, names.index(shown), key=key, format_func=titles)
    remembered()[key] = chosen
    return chosen


def replaced(key: str, value: Any) -> Any:
    """The value that a widget is to show instead of what it had, which is not to be had any more."""
    if key in st.session_state:
        st.session_state[key] = value
    return value


def draw(field: Field, engine: str, checkpoint: str, default: Any) -> Any:
    """The widget of a field; returns its value."""
    key = key_of(engine, checkpoint, field.name)
    default = as_written(field, default)
    value = kept(key, default)
    fitting = _fitting(field, value, default)
    value = _widget(field, key, fitting if fitting == value else replaced(key, fitting), default)
    remembered()[key] = value
    return read(field, value)


def value_of(field: Field, engine: str, checkpoint: str, default: Any) -> Any:
    """What the widget of a field would return, which is not drawn."""
    key = key_of(engine, checkpoint, field.name)
    default = as_written(field, default)
    remembered()[key] = value = _fitting(field, undrawn(key, default), default)
    return read(field, value)


def _fitting(field: Field, value: Any, default: Any) -> Any:
    """The value as the field permits it now: a job may be of a time when the range was another, a choice of another
    engine, or withdrawn by the host since."""
    if field.kind in ("whole", "number") and value is not None:
        minimum, maximum = (bound if bound is not None else value for bound in (field.minimum, field.maximum))
        return (int if field.kind == "whole" else float)(min(max(value, minimum), maximum))
    return default if field.kind == "choice" and field.name != "upscaler" and value not in field.choices else value


def as_written(field: Field, default: Any) -> Any:
    """A default as the widget of the field has it."""
    if field.kind == "choices":
        return list(default)
    if field.kind == "number":
        return float(default)
    return _WRITTEN[field.kind].join(map(str, default)) if field.kind in _WRITTEN else default


def read(field: Field, value: Any) -> Any:
    """What a widget's value means: of a line of whole numbers their list, in which what is none stays as it is written,
    of lines the list of those with something in them."""
    if field.kind == "numbers":
        parts = re.split(r"[\s,;]+", value.strip(" ,;"))
        return [int(part) if re.fullmatch(r"\d{1,9}", part) else part for part in parts if part]
    if field.kind == "lines":
        return [line.strip() for line in value.splitlines() if line.strip()]
    return value


def _widget(field: Field, key: str, value: Any, default: Any) -> Any:
    if field.kind == "choice":
        free = field.name == "upscaler"  # or a file of the host's own
        choices = (*field.choices, value) if free and value not in field.choices else field.choices
        return st.selectbox(
            _label(field),
            choices,
            index=choices.index(value) if value in choices else 0,
            key=key,
            help=_tip(field),
            format_func=lambda name: _shown(field, name),
            accept_new_options=free,
        )
    if field.kind == "choices":
        maximum = None if field.maximum is None else int(field.maximum)
        free = field.name == "lora"  # the host's, as they are or with a weight that is written: flat:0.8
        known = loras(the_studio()) if free else clips(the_studio()) if field.name == "clip" else field.choices
        named = list(dict.fromkeys([*known, *value]))
        return st.multiselect(
            _label(field),
            named,
            default=[name for name in value if name in named],
            key=key,
            accept_new_options=free,
            help=_tip(field),
            max_selections=maximum,
            format_func=lambda name: _shown(field, name),
        )
    if field.kind == "switch":
        return st.toggle(_label(field), value, key=key, help=_tip(field))
    if field.kind == "whole":
        minimum = None if field.minimum is None else int(field.minimum)
        maximum = None if field.maximum is None else int(field.maximum)
        return st.number_input(
            _label(field),
            min_value=minimum,
            max_value=maximum,
            value=value,
            step=int(field.step or 1),
            key=key,
            help=_tip(field),
            placeholder=_("random") if field.name == "seed" else None,
        )
    if field.kind == "number":
        step = 10.0 ** math.floor(math.log10(default)) if 0 < default < 0.1 else 0.1
        return st.number_input(
            _label(field),
            min_value=field.minimum,
            max_value=field.maximum,
            value=value,
            step=step,
            format="%g",
            key=key,
            help=_tip(field),
        )
    if field.kind == "lines":
        return st.text_area(_label(field), value, key=key, help=_tip(field), height=100)
    return st.text_input(_label(field), value, key=key, help=_tip(field))


def _label(field: Field) -> str:
    return _(field.title) + (f" ({_(field.unit)})" if field.unit else "")


def _tip(field: Field) -> str:
    """What the setting does; where the label is translated, also the name by which errors and files call it."""
    name = "" if _(field.title) == field.title else f" `{field.name}`"
    return _(field.help) + name


def _shown(field: Field, name: Any) -> str:
    """A choice as the form shows it: checkpoints by their titles, and whether they must be downloaded first."""
    if field.name not in _NAMES_WEIGHTS:
        return str(name)
    if not name:
        return _("none")
    spec = registry.CHECKPOINTS.get(name) if field.name != "clip" else None
    absent = missing(name, the_settings().checkpoints_dir)
    return (spec.title if spec else str(name)) + (" " + _("(not installed)") if absent else "")


def widgets_of(engine: str, checkpoint: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the widgets, by key, that show these settings; not the prompt's, the seed's and the pictures'."""
    values: dict[str, Any] = {"set_engine": engine, "set_checkpoint": checkpoint}
    for name, value in params.items():
        if name in OWN_WIDGET:
            continue
        key = key_of(engine, checkpoint, name)
        values[key] = value
        given_defaults()[key] = value if follows(engine, params, name) else None
    known = params.get("style") in (None, *registry.STYLES)
    values["set_style"] = params.get("style") if known else None
    values["set_style_words"] = "" if known else params["style"]
    return {**values, "set_as_typed": bool(params.get("as_typed"))}


def preset_from(job: Job, visitor: Submitter, *, picture: Artefact | None = None) -> None:
    """Fill the form with the settings of a job, the seed left random; picture: start from this one of its files.

    Pictures that somebody else gave with it are left out, and that is said in the form.

    Where the job's engine starts from no picture, one that does is chosen, with its own settings.
    """
    values: dict[str, Any] = {"set_prompt": job.prompt}
    if picture is not None and "init_image" not in params_class(job.engine).model_fields:
        engines, (default, wanted) = engines_that_vary(the_studio()), first_choice(the_studio())
        if engines:
            values["set_engine"] = default if default in engines else engines[0]
            values["set_checkpoint"] = registry.first_checkpoint(values["set_engine"], wanted)
        preset({**values, **given_pictures.preset([given_pictures.finished(job, picture)])})
        return
    taken = given.taken_over(the_studio(), visitor, job)
    params = dict(taken.params)
    values |= widgets_of(job.engine, job.checkpoint, params)
    values[key_of(job.engine, job.checkpoint, "seed")] = None
    pictures = given_pictures.of_settings(params)
    if picture is not None:
        pictures = [one for one in pictures if one.setting == "image_prompts"]
        pictures.insert(0, given_pictures.finished(job, picture))
    if job.params.get("init") == "image":  # the picture says so, as long as it is there
        values[key_of(job.engine, job.checkpoint, "init")] = defaults(job.engine, job.checkpoint)["init"]
    left_out = bool(taken.withheld) and picture is None
    preset({**values, **given_pictures.preset(pictures, left_out=left_out)})
