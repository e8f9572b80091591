"""The folded settings of the form: engine, checkpoint, size, steps, seed and all others, and which are changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from characters.seen import as_seen
from generator import registry
from generator.checkpoints.inventory import missing, wrong_default
from generator.params import params_class
from masking import for_visitors
from pages.components import form
from pages.shared import form_memory
from pages.shared.language import N_, _, number
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import label, plain, short
from studio import settings_form
from studio.engines import engine_title
from studio.limits import first_choice, offered_engines
from studio.settings_form import OWN_WIDGET, Field

SHAPES = {N_("Square"): (1.0, 1.0), N_("Wide"): (1.5, 1.0), N_("Tall"): (1.0, 1.5)}
SHOWN_VALUE = 24  # characters


def engine() -> str:
    """The widget of the engine, where there is more than one."""
    names = offered_engines(the_studio())
    if len(names) == 1:
        return names[0]
    return form.choose(_("Engine"), "set_engine", names, first_choice(the_studio())[0], engine_title)


def checkpoint_of(engine: str, checkpoints: Sequence[str]) -> str:
    """The one that is chosen, before its widget is drawn: the other settings are its own."""
    settings = the_settings()
    checkpoint: str = st.session_state.get("set_checkpoint", form_memory.remembered().get("set_checkpoint"))
    if checkpoint not in checkpoints:
        checkpoint = registry.first_checkpoint(engine, first_choice(the_studio())[1])
    if checkpoint not in checkpoints:
        checkpoint = checkpoints[0]  # a folder that is not there
    trouble = wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir)
    if trouble is not None and not missing(checkpoint, settings.checkpoints_dir):  # that is said below
        st.caption(label(for_visitors(trouble)))
    return checkpoint


def beside(values: dict[str, Any]) -> dict[str, Any]:
    """The prompt and the pictures as far as other settings follow from them, before their widgets are drawn."""
    found = {"prompt": values["prompt"]}
    for name in ("init_image", "image_prompts", "mask_image"):
        if name in values:
            found[name] = "a picture"
    return found if as_seen(found["prompt"]).strip() or "image_prompts" in found else {**found, "prompt": "x"}


def draw_main(
    main: Sequence[Field], engine: str, checkpoint: str, defaults: dict[str, Any], values: dict[str, Any]
) -> None:
    """Draws the settings of the main group into two columns, and reads them into the values."""
    fields = [field for field in main if field.name not in OWN_WIDGET]
    if registry.checkpoint(checkpoint).only_side:
        fields = [field for field in fields if field.name not in ("width", "height")]
    for field in fields:
        if field.kind == "choice" and len(field.choices) > 1:
            values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
        elif field.kind == "choice":
            values[field.name] = field.choices[0]  # nothing to choose
    if {"width", "height"} <= {field.name for field in fields}:
        _shapes(fields, engine, checkpoint, defaults)
    numbers = [field for field in fields if field.kind != "choice"]
    cells = [cell for _ in range((len(numbers) + 2) // 2) for cell in st.columns(2, wrap=False)]
    for field, cell in zip(numbers, cells, strict=False):
        with cell:
            values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
    with cells[len(numbers)]:
        key = form.key_of(engine, checkpoint, "seed")
        first = form_memory.kept(key, None)
        values["seed"] = st.number_input(
            _("Seed"),
            min_value=0,
            max_value=2**32 - 1,
            value=None if key in st.session_state else first,  # what it is again when it is emptied
            step=1,
            key=key,
            placeholder=_("random"),
            help=_("Same seed, settings and device: same picture. Empty: a new one each time."),
        )
        form_memory.remembered()[key] = values["seed"]


def draw_more(
    groups: Mapping[str, Sequence[Field]],
    engine: str,
    checkpoint: str,
    defaults: dict[str, Any],
    values: dict[str, Any],
    *,
    unfolded: bool,
) -> None:
    """Draws the other groups where they are unfolded, and reads them into the values."""
    for group, fields in groups.items():
        drawn = [field for field in fields if field.name not in OWN_WIDGET]
        if begins_from_picture(values):  # it is shown beside the prompt that the picture starts from it
            drawn = [field for field in drawn if field.name != "init"]
        if not unfolded:
            values |= {one.name: form.value_of(one, engine, checkpoint, defaults[one.name]) for one in drawn}
            continue
        if drawn:
            st.markdown(f"**{_(group.capitalize())}**")
        for at in range(0, len(drawn), 2):
            for field, cell in zip(drawn[at : at + 2], st.columns(2, vertical_alignment="bottom"), strict=False):
                with cell:
                    values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
    if begins_from_picture(values) and "init" in params_class(engine).model_fields:
        values["init"] = "image"


def begins_from_picture(values: Mapping[str, Any]) -> bool:
    """Whether what is drawn begins as the given picture; with a mask, what is drawn anew begins as `init` says."""
    return "init_image" in values and "mask_image" not in values


def _shapes(fields: Sequence[Field], engine: str, checkpoint: str, defaults: Mapping[str, Any]) -> None:
    """A way to the usual proportions; the sides can be written as well."""
    sides = {field.name: field for field in fields if field.name in ("width", "height")}
    keys = {name: form.key_of(engine, checkpoint, name) for name in sides}
    kept = form_memory.remembered()
    now = tuple(st.session_state.get(keys[name], kept.get(keys[name], defaults[name])) for name in ("width", "height"))
    base, most = min(defaults["width"], defaults["height"]), min(field.maximum or 1 << 14 for field in sides.values())
    with st.container(horizontal=True, gap="xsmall", key="shapes"):
        for name, shape in SHAPES.items():
            fits = min(base, most / max(shape))
            size = tuple(_side(sides[side], fits * part) for side, part in zip(("width", "height"), shape, strict=True))
            st.button(
                _(name),
                key=f"shape_{name}",
                help=f"{size[0]} × {size[1]} px",
                type="primary" if now == size else "secondary",
                on_click=form_memory.preset,
                args=({keys["width"]: size[0], keys["height"]: size[1]},),
            )


def _side(field: Field, wanted: float) -> int:
    """The nearest that is allowed, in px."""
    step, least, most = int(field.step or 1), int(field.minimum or 1), int(field.maximum or 1 << 14)
    return min(max(round(wanted / step) * step, least), most)


def draw_changed(fields: Sequence[Field], engine: str, checkpoint: str, values: Mapping[str, Any]) -> None:
    """What is not as it usually is, each with a way back."""
    first, wanted = first_choice(the_studio())
    chips: list[tuple[str, str, dict[str, Any]]] = []
    if engine != first and first in offered_engines(the_studio()):
        chips.append(("engine", engine_title(engine), {"set_engine": first}))
    usual = registry.first_checkpoint(engine, wanted)
    if checkpoint != usual:
        chips.append(("checkpoint", registry.checkpoint(checkpoint).title, {"set_checkpoint": usual}))
    known, follows = {field.name: field for field in fields}, dict[str, Any]()
    for name, value in settings_form.changed(engine, checkpoint, values).items():
        if name in known and not (name == "init" and begins_from_picture(values)):
            key = form.key_of(engine, checkpoint, name)
            follows[key] = value
            chips.append(
                (name, f"{_(known[name].title)} {_told(values[name])}", {key: form.as_written(known[name], value)})
            )
    if values.get("seed") is not None:
        chips.append(("seed", f"{_('Seed')} {values['seed']}", {form.key_of(engine, checkpoint, "seed"): None}))
    if not chips:
        return
    with st.container(horizontal=True, gap="xsmall", key="changed"):
        for name, text, back in chips:
            st.button(
                label(text),
                key=f"changed_{name}",
                icon=":material/close:",
                icon_position="right",
                help=_("As it usually is"),
                on_click=_put_back,
                args=(back, {key: usual for key, usual in follows.items() if key in back}),
            )


def _put_back(values: dict[str, Any], usual: dict[str, Any]) -> None:
    form_memory.given_defaults().update(usual)  # what follows from other settings follows again
    form_memory.preset(values)


def _told(value: Any) -> str:
    words = number(value, "g") if isinstance(value, float) else plain(value)
    return short(words or _("none"), SHOWN_VALUE)
