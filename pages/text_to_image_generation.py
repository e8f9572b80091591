"""Text-to-Image Generation: what to draw on one side, the pictures as they form on the other."""

from __future__ import annotations

from typing import Any

import streamlit as st

from characters.seen import as_seen
from db.queue import workers
from generator import registry
from generator.checkpoints.inventory import missing, wrong_default
from generator.checkpoints.memory import estimate_memory
from generator.params import params_class, validate
from generator.prompts import parse_prompts
from pages.components import form, job_card, visitor_name
from pages.components.notices import NO_EXECUTOR
from pages.components.picture import draw_picture
from pages.shared.errors import plain_errors
from pages.shared.frame import scroll_to
from pages.shared.language import _, ngettext, number
from pages.shared.navigation import show
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import label
from pages.shared.visitor import the_visitor
from studio import access, settings_form
from studio.context import Submitter
from studio.engines import engine_title
from studio.limits import first_choice, offered_engines
from studio.settings_form import OWN_WIDGET, Field
from studio.submit import MAX_PICTURES, Wish, starting, submit
from studio.uploads import TYPES, Upload

EXAMPLES = (
    "a red heart",
    "a slice of pizza",
    "a blue car",
    "a penguin",
    "a smiling face with sunglasses",
    "a rocket",
)
ANY_STYLE = "any"


def page() -> None:
    """The form and the visitor's jobs; side by side where there is room."""
    visitor = the_visitor()
    wish, pictures = st.columns([5, 8], gap="large")
    with wish:
        _draw_form(visitor)
    with pictures, st.container(key="your_pictures"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.header(_("Your pictures"), anchor=False, width="content")
            visitor_name.popover(visitor)
        job_card.live(visitor)


def _draw_form(visitor: Submitter) -> None:
    values: dict[str, Any] = {}
    form.prompt(EXAMPLES[0])
    with st.container(horizontal=True, gap="xsmall", key="examples"):
        for example in EXAMPLES:
            st.button(example, key=f"example_{example}", on_click=form.preset, args=({"set_prompt": example},))
    engine = _engine()
    checkpoints = settings_form.checkpoints(the_studio(), engine)
    checkpoint = st.session_state.get("set_checkpoint", form.remembered().get("set_checkpoint"))
    settings = the_settings()
    if checkpoint not in checkpoints:
        checkpoint = registry.first_checkpoint(engine, first_choice(the_studio())[1])
    if checkpoint not in checkpoints:
        checkpoint = checkpoints[0]  # a folder that is not there
    trouble = wrong_default(settings.default_engine, settings.default_checkpoint, settings.checkpoints_dir)
    if trouble is not None and not missing(checkpoint, settings.checkpoints_dir):  # that is said below
        st.caption(label(trouble))
    groups = settings_form.fields(engine, checkpoint, checkpoints)
    defaults = form.current_defaults(engine, checkpoint, _beside(engine))
    if registry.checkpoint(checkpoint).styled:
        values["style"] = _style()
    elif params_class(engine).style_is_text:
        values["style"] = _style_in_words()
    _main_settings(groups.pop("main"), engine, checkpoint, defaults, values)
    pictures, go = _how_many()
    answer = st.container()
    uploads = _more_settings(groups, engine, checkpoint, defaults, values)
    values["prompt"] = st.session_state["set_prompt"]
    with answer, plain_errors():
        if go:
            _submit(visitor, _wish(engine, values, pictures, uploads))
        _what_it_takes(engine, values)


def _beside(engine: str) -> dict[str, Any]:
    """The prompt and the pictures as far as other settings follow from them, before their widgets are drawn."""
    offered, found = params_class(engine).model_fields, {"prompt": st.session_state["set_prompt"]}
    for name in ("init_image", "image_prompts"):
        there = st.session_state.get(f"upload_{name}") or form.remembered().get(f"set_{name}")
        if name in offered and there:
            found[name] = "a picture"
    return found if as_seen(found["prompt"]).strip() or "image_prompts" in found else {**found, "prompt": "x"}


def _engine() -> str:
    names = offered_engines(the_studio())
    if len(names) == 1:
        return names[0]
    return form.choose(_("Engine"), "set_engine", names, first_choice(the_studio())[0], engine_title)


def _style() -> str | None:
    key = form.keep("set_style", registry.DEFAULT_STYLE)
    if st.session_state[key] not in registry.STYLES:
        st.session_state[key] = ANY_STYLE
    any_style = _("Any")
    chosen = st.pills(
        _("Style"),
        [ANY_STYLE, *registry.STYLES],
        default=st.session_state[key],
        key=key,
        required=True,
        format_func=lambda name: registry.STYLES.get(name, any_style),
        wrap=True,
    )
    form.remembered()[key] = chosen
    return None if chosen in (None, ANY_STYLE) else chosen


def _style_in_words() -> str | None:
    key = form.keep("set_style_words", "")
    words = st.text_input(
        _("Style"),
        st.session_state[key],
        key=key,
        max_chars=200,
        placeholder=_("none"),
        help=_("Words added to the prompt."),
    )
    form.remembered()[key] = words
    return as_seen(words).strip() or None


def _main_settings(
    main: list[Field], engine: str, checkpoint: str, defaults: dict[str, Any], values: dict[str, Any]
) -> None:
    """Draws the settings of the main group into two columns."""
    fields = [field for field in main if field.name not in OWN_WIDGET]
    if registry.checkpoint(checkpoint).only_side:
        fields = [field for field in fields if field.name not in ("width", "height")]
    for field in fields:
        if field.kind == "choice" and len(field.choices) > 1:
            values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
        elif field.kind == "choice":
            values[field.name] = field.choices[0]  # nothing to choose
    numbers = [field for field in fields if field.kind != "choice"]
    cells = [cell for _ in range((len(numbers) + 2) // 2) for cell in st.columns(2, wrap=False)]
    for field, cell in zip(numbers, cells, strict=False):
        with cell:
            values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
    with cells[len(numbers)]:
        key = form.keep(form.key_of(engine, checkpoint, "seed"), None)
        values["seed"] = st.number_input(
            _("Seed"),
            min_value=0,
            max_value=2**32 - 1,
            value=None,  # what it is again when it is emptied
            step=1,
            key=key,
            placeholder=_("random"),
            help=_("Same seed, settings and device: same picture. Empty: a new one each time."),
        )
        form.remembered()[key] = values["seed"]


def _how_many() -> tuple[int, bool]:
    """Draws the number of pictures beside the button; returns it, and whether the button was pressed."""
    number, button = st.columns([2, 3], wrap=False, vertical_alignment="bottom")
    with number:
        key = form.keep("set_pictures", 1)
        pictures = st.number_input(
            _("Pictures"),
            min_value=1,
            max_value=MAX_PICTURES,
            value=st.session_state[key],
            step=1,
            key=key,
            help=_("Each with its own seed."),
        )
        form.remembered()[key] = pictures
    with button:
        go = st.button(_("Generate"), type="primary", icon=":material/brush:", width="stretch", shortcut="Ctrl+Enter")
    return pictures, go


def _more_settings(
    groups: dict[str, list[Field]],
    engine: str,
    checkpoint: str,
    defaults: dict[str, Any],
    values: dict[str, Any],
) -> dict[str, list[Any]]:
    """Draws the folded settings; returns what was uploaded, by the setting it is for."""
    uploads: dict[str, list[Any]] = {}
    with st.expander(_("More settings"), icon=":material/tune:"):
        for group, fields in groups.items():
            st.markdown(f"**{_(group.capitalize())}**")
            names = {field.name for field in fields}
            if "init_image" in names:
                uploads["init_image"] = _upload(
                    "init_image", _("Picture to start from"), _("Starts from this picture.")
                )
            if "mask_image" in names:
                uploads["mask_image"] = _upload(
                    "mask_image", _("Mask: its white part is drawn anew"), _("What is white here is drawn anew.")
                )
            if "image_prompts" in names:
                resemble = _("Pictures to resemble")
                uploads["image_prompts"] = st.file_uploader(
                    resemble, TYPES, accept_multiple_files=True, key="upload_image_prompts"
                )
                kept_prompts = form.remembered().get("set_image_prompts")
                if kept_prompts and not uploads["image_prompts"]:
                    named = [one.text for one in parse_prompts(kept_prompts, negative_only=True)]
                    _kept("image_prompts", resemble, _("Is to resemble these pictures."), named)
            drawn = [field for field in fields if field.name not in OWN_WIDGET]
            for at in range(0, len(drawn), 2):
                for field, cell in zip(drawn[at : at + 2], st.columns(2, vertical_alignment="bottom"), strict=False):
                    with cell:
                        values[field.name] = form.draw(field, engine, checkpoint, defaults[field.name])
    offered, kept = params_class(engine).model_fields, form.remembered()
    for name in ("init_image", "image_prompts", "mask_image"):
        if name in offered and name not in registry.checkpoint(checkpoint).unused and kept.get(f"set_{name}"):
            values[name] = kept[f"set_{name}"]
    return uploads


def _upload(name: str, label: str, said: str) -> list[Any]:
    """One picture, new or kept from before; returns what was uploaded."""
    uploaded = st.file_uploader(label, TYPES, key=f"upload_{name}")
    kept = form.remembered().get(f"set_{name}")
    if kept and uploaded is None:
        _kept(name, label, said, [kept])
    return [] if uploaded is None else [uploaded]


def _kept(name: str, label: str, said: str, references: list[str]) -> None:
    """Pictures that a setting already names, by key, or by the id of a record as in the settings of a variation."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"row_{name}"):
        for number, reference in enumerate(references):
            with plain_errors():  # the host may have hidden it since
                draw_picture(access.source(the_studio(), reference), key=f"kept_{name}_{number}", alt=label, side=56)
        st.text(said)
        key, forget = f"remove_{name}", ({f"set_{name}": None},)
        st.button(_("Remove"), key=key, icon=":material/close:", on_click=form.preset, args=forget)


def _wish(engine: str, values: dict[str, Any], pictures: int, uploads: dict[str, list[Any]]) -> Wish:
    lineage: tuple[str | None, str | None] = (None, None)
    if values.get("init_image") and not uploads.get("init_image"):
        lineage = form.remembered().get("set_lineage") or lineage
    sent = {name: [Upload(one.name, one.getvalue()) for one in some] for name, some in uploads.items()}
    return Wish(engine, values, pictures, sent, *lineage)


def _submit(visitor: Submitter, wish: Wish) -> None:
    jobs = submit(the_studio(), visitor, wish)
    st.toast(ngettext("In the queue.", "{n} pictures in the queue.", len(jobs)))
    scroll_to("your_pictures", jobs[-1].id)
    if not workers.live(the_studio().db):
        st.toast(_(NO_EXECUTOR), duration="long")


def _what_it_takes(engine: str, values: dict[str, Any]) -> None:
    """The size and memory of what would be made, once the settings are sound."""
    try:
        params = validate(engine, {**starting(values), "prompt": values["prompt"] or "x", "seed": 0})
    except ValueError:
        return
    width, height = params.actual_size
    memory = estimate_memory(params, the_settings().checkpoints_dir) / 2**30
    memory_text = _("at most {memory} GB of memory on the executor.", memory=number(memory, ".1f"))
    if params.upscale > 1:
        large = (width * params.upscale, height * params.upscale)
        sizes = _("{size} px, upscaled to {large} px", size=f"{width} × {height}", large="{} × {}".format(*large))
    else:
        sizes = f"{width} × {height} px"
    st.caption(f"{sizes}, {memory_text}")
    folder, upscalers = the_settings().checkpoints_dir, (params.upscaler,) if params.upscale > 1 else ()
    absent = [name for name in (params.checkpoint, *params.clip, *params.loss_networks, *upscalers)]
    absent = [name for name in absent if missing(name, folder)]
    if absent:
        st.caption(_("Not installed on this machine yet:"))
        st.code(f"python -m generator.checkpoints download {' '.join(absent)}", language="bash", wrap_lines=True)


if __name__ == "__main__":
    show(page)
