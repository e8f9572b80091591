"""Text-to-Image Generation: what to draw on one side, the pictures as they form on the other."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from characters.seen import as_seen
from db.queue import estimate, workers
from db.queue.paces import Cost
from generator import registry
from generator.checkpoints.inventory import missing
from generator.checkpoints.memory import estimate_memory
from generator.params import params_class, validate
from generator.wording import Understood
from pages.components import (
    form,
    given_pictures,
    job_card,
    picture_in,
    prompt_history,
    settings_panel,
    telling,
    visitor_name,
)
from pages.components.notices import NO_EXECUTOR, disk_note
from pages.shared import form_memory
from pages.shared.errors import plain_errors, sentence
from pages.shared.frame import scroll_to
from pages.shared.language import _, ngettext, number
from pages.shared.navigation import show
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import duration, label
from pages.shared.visitor import the_visitor
from studio import costs, settings_form
from studio.context import Submitter
from studio.submit import MAX_PICTURES, Wish, starting, submit
from studio.wording import understood

EXAMPLES = (
    "a red heart",
    "a slice of pizza",
    "a blue car",
    "a penguin",
    "a smiling face with sunglasses",
    "a rocket",
)
COSTS_S = 3.0  # what jobs cost here is looked up again after so long
AUTO_STYLE, ANY_STYLE = "auto", "any"  # what the words say, else the default; and none in particular


def page() -> None:
    """The form and the visitor's jobs; side by side where there is room."""
    visitor = the_visitor()
    wish, pictures = st.columns([5, 8], gap="large")
    with wish:
        _draw_form(visitor)
    with pictures, st.container(key="your_pictures"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            jobs, more = job_card.jobs_of(visitor)
            st.header(_("Your pictures") if jobs else _("Made here lately"), anchor=False, width="content")
            with st.container(horizontal=True, gap="xsmall", width="content"):
                if jobs:
                    telling.wish()
                visitor_name.popover(visitor)
        job_card.live(visitor, jobs, more)


def _draw_form(visitor: Submitter) -> None:
    """The prompt and what goes with every picture; below it, folded, all settings."""
    values: dict[str, Any] = {"prompt": form.prompt(EXAMPLES[0])}
    reading = st.container(key="reading", gap="xxsmall")
    given, earlier = st.container(key="given"), prompt_history.earlier(visitor)
    with st.container(horizontal=True, gap="xsmall", key="examples"):
        prompt_history.chooser(earlier)
        for example in EXAMPLES:
            preset = ({"set_prompt": example},)
            st.button(example, key=f"example_{example}", on_click=form_memory.preset, args=preset)
    style, bar, changed = st.container(key="go_style"), st.container(key="go_bar"), st.container()
    answer = st.container(gap="xxsmall")
    settings = st.expander(_("Settings"), icon=":material/tune:", key="settings", on_change="rerun")
    with settings:  # first, since the others follow from the engine
        engine = settings_panel.engine()
        checkpoints = settings_form.checkpoints(the_studio(), engine)
        checkpoint = settings_panel.checkpoint_of(engine, checkpoints)
        main, more = st.container(), st.container()
    with st.expander(_("Start from a picture"), icon=":material/add_photo_alternate:"):
        given_pictures.uploaders(engine, checkpoint, visitor)
    picture_in.inlet(engine, checkpoint, visitor)
    with given, plain_errors():
        given_pictures.draw(engine, checkpoint, visitor, picture_in.ways(engine, checkpoint, visitor))
    values |= given_pictures.values(engine, checkpoint)
    groups = settings_form.fields(engine, checkpoint, checkpoints)
    defaults = form.current_defaults(engine, checkpoint, settings_panel.beside(values))
    with style:
        if registry.checkpoint(checkpoint).styled:
            values |= _style()
        elif params_class(engine).style_is_text:
            values["style"] = _style_in_words()
    with main:
        settings_panel.draw_main(groups["main"], engine, checkpoint, defaults, values)
    with more:
        others = {name: fields for name, fields in groups.items() if name != "main"}
        settings_panel.draw_more(others, engine, checkpoint, defaults, values, unfolded=bool(settings.open))
    with bar:
        pictures, go = _how_many()
    with changed:
        fields = [field for group in groups.values() for field in group]
        settings_panel.draw_changed(fields, engine, checkpoint, values)
    if st.session_state.get("set_as_typed", form_memory.remembered().get("set_as_typed")):
        values["as_typed"] = True
    newest = None
    with reading, plain_errors():  # what is wrong is said where it was typed
        if go:
            newest = _submit(visitor, engine, checkpoint, values, pictures)
        else:
            disk_note()
    if go:  # outside of what is written above: that would not be empty then, and move all that follows
        scroll_to("set_prompt" if newest is None else "your_pictures", newest or secrets.token_hex(4))
    elif given_pictures.is_one_new() and not go:
        scroll_to("given", secrets.token_hex(4))
    with answer, plain_errors():
        _what_it_takes(visitor, engine, values, pictures, reading)
    prompt_history.arrows(earlier)


def _style() -> dict[str, str | None]:
    """The style that was chosen; nothing where the words of the prompt may choose it."""
    key = "set_style"
    shown = form_memory.kept(key, AUTO_STYLE)
    if shown not in (AUTO_STYLE, *registry.STYLES):
        shown = form.replaced(key, ANY_STYLE)
    own = {AUTO_STYLE: _("Auto"), ANY_STYLE: _("Any")}
    chosen = st.pills(
        _("Style"),
        [AUTO_STYLE, ANY_STYLE, *registry.STYLES],
        default=shown,
        key=key,
        required=True,
        format_func=lambda name: registry.STYLES.get(name) or own[name],
        help=_(
            "Auto: the style that the prompt names, as in “a silhouette of an eagle”, otherwise {style}. Several "
            "pictures have another style each, as with Any.",
            style=registry.STYLES[registry.DEFAULT_STYLE],
        ),
        wrap=True,
    )
    form_memory.remembered()[key] = chosen
    if chosen in (None, AUTO_STYLE):
        return {}
    return {"style": None if chosen == ANY_STYLE else chosen}


def _style_in_words() -> str | None:
    key = "set_style_words"
    words = st.text_input(
        _("Style"),
        form_memory.kept(key, ""),
        key=key,
        max_chars=200,
        placeholder=_("none"),
        help=_("Words added to the prompt."),
    )
    form_memory.remembered()[key] = words
    return as_seen(words).strip() or None


def _how_many() -> tuple[int, bool]:
    """Draws the number of pictures beside the button; returns it, and whether the button was pressed."""
    number, button = st.columns([2, 3], wrap=False, vertical_alignment="bottom")
    with number:
        key = "set_pictures"
        pictures = st.number_input(
            _("Pictures"),
            min_value=1,
            max_value=MAX_PICTURES,
            value=shown if (shown := form_memory.kept(key, 1)) in range(1, MAX_PICTURES + 1) else form.replaced(key, 1),
            step=1,
            key=key,
            help=_("Each with its own seed."),
        )
        form_memory.remembered()[key] = pictures
    with button:
        go = st.button(_("Generate"), type="primary", icon=":material/brush:", width="stretch", shortcut="Ctrl+Enter")
    return pictures, go


def _submit(visitor: Submitter, engine: str, checkpoint: str, values: dict[str, Any], pictures: int) -> str:
    """Returns the id of the newest job."""
    given_pictures.check(engine, checkpoint, visitor)
    lineage = given_pictures.lineage(engine, checkpoint)
    jobs = submit(the_studio(), visitor, Wish(engine, values, pictures, {}, *lineage))
    given_pictures.asked_for(jobs[0], given_pictures.takes(engine, checkpoint))
    st.toast(ngettext("In the queue.", "{n} pictures in the queue.", len(jobs)))
    if not workers.live(the_studio().db):
        st.toast(_(NO_EXECUTOR), duration="long")
    return jobs[-1].id


def _reading(read: Understood, example: bool) -> None:
    """How the prompt is read, below it, with a way to have it taken as it was typed. example: it is so by one seed."""
    if example:
        st.caption(_("For example, since each picture draws its own choice:"))
    for notice in read.notices:
        st.caption(label(_(notice.sentence, **notice.values)), width="stretch")
    if read.values.get("as_typed") or any(notice.reads for notice in read.notices):
        key = "set_as_typed"
        shown = form_memory.kept(key, False)
        form_memory.remembered()[key] = st.toggle(_("Take it as I typed it"), shown, key=key)


def _what_it_takes(
    visitor: Submitter, engine: str, values: dict[str, Any], pictures: int, reading: DeltaGenerator
) -> None:
    """How the prompt is read, and size, memory and time of what would be made, once the settings are sound."""
    try:
        typed = {**starting(values), "prompt": values["prompt"] or "x"}
        seed = typed.pop("seed", None)
        read = understood(the_studio(), engine, {**typed, "seed": seed or 0})
        # Drawn with a seed of its own where none is given: then it is an example. Nothing is said of most prompts.
        example = bool(read.notices) and seed is None and "seed" in understood(the_studio(), engine, typed).values
        with reading:
            _reading(read, example)
        params = validate(engine, read.values)
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
    costing = partial(_cost, the_settings().database_url)
    _how_long(costs.of(the_studio(), visitor, engine, params, pictures, costing))
    folder, upscalers = the_settings().checkpoints_dir, (params.upscaler,) if params.upscale > 1 else ()
    absent = [name for name in (params.checkpoint, *params.clip, *params.loss_networks, *upscalers)]
    absent = [name for name in absent if missing(name, folder)]
    if absent:
        st.caption(_("Not installed on this machine yet:"))
        st.code(f"python -m generator.checkpoints download {' '.join(absent)}", language="bash", wrap_lines=True)


@st.cache_data(ttl=COSTS_S, max_entries=500, show_spinner=False)
def _cost(
    database_url: str, engine: str, batch_key: str, pixels: int | None, total_steps: int, jobs: int
) -> tuple[Cost, float] | None:
    # Shared by all visitors who ask for such jobs.
    return estimate.cost(the_studio().db, engine, batch_key, pixels, total_steps, jobs)


def _how_long(told: costs.Told) -> None:
    """How long it takes here, said before it is asked for, and whether the host allows it."""
    if told.refused is not None:
        st.caption(f":material/warning: {label(sentence(told.refused))}")
    elif told.takes_s is not None:
        about = _("About {duration} here.") if told.sure else _("At least {duration} here.")
        st.caption(about.replace("{duration}", duration(told.takes_s)))


if __name__ == "__main__":
    show(page)
