"""Compare: a prompt through several engines, or over the values of one or two settings, as one sheet."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import streamlit as st

from db.queue import workers
from generator import registry
from generator.params import BadParams
from pages.components import form
from pages.components.notices import NO_EXECUTOR
from pages.shared import form_memory
from pages.shared.errors import plain_errors, problem, sentence
from pages.shared.language import N_, _, ngettext
from pages.shared.navigation import SHEETS, go, show
from pages.shared.studio import the_studio
from pages.shared.text import duration, label
from pages.shared.visitor import the_visitor
from studio import costs
from studio.compare import (
    ENGINE,
    PROMPT,
    Axis,
    Comparison,
    axis,
    choices,
    choices_of,
    compare,
    counted,
    engines_in,
    example,
    permitted,
    planned,
    settings_of,
    spelt_out,
)
from studio.context import Submitter
from studio.engines import engine_title
from studio.errors import SENTENCES
from studio.limits import offered_engines

NOTHING = N_("nothing")
AUTO = "auto"  # the style that the prompt names, else the default
START = (("compare_rows", ENGINE), ("compare_columns", "seed"))
SHOWN_FIRST = 6  # values of a choice that are chosen until somebody chooses
SEEDS = {"all": N_("One for all pictures"), "each": N_("One for each picture")}


def page() -> None:
    """The prompt, the two axes, and what they would make."""
    visitor = the_visitor()
    go()
    st.text(_("A prompt, drawn for every value of one or two settings: a sheet that fills while it is drawn."))
    prompt = _prompt()
    words = _choices(prompt)
    engine = form.choose(_("Engine"), "compare_engine", offered_engines(the_studio()), None, engine_title)
    style = _style(engine)
    first, second = st.columns(2)
    with first:
        engines = _engines(engine, "compare_columns")
        rows = form.choose(_("Rows"), "compare_rows", [*settings_of(engines), *words], ENGINE)
        typed_rows = _values("compare_rows", rows, engines, words)
    nothing = _(NOTHING)
    with second:
        engines = engines_in(engine, rows, ", ".join(typed_rows) if isinstance(typed_rows, list) else "")
        columns = form.choose(
            _("Columns"),
            "compare_columns",
            [NOTHING, *settings_of(engines), *words],
            "seed",
            lambda name: nothing if name == NOTHING else name,
        )
        typed_columns = _values("compare_columns", columns, engines, words) if columns != NOTHING else ""
    base: dict[str, Any] = {PROMPT: prompt}
    if style is not None:
        base["style"] = style
    own_seeds = False
    if "seed" not in (rows, columns):
        base["seed"], own_seeds = _seed()

    def wanted() -> Comparison:
        across = None if columns == NOTHING else spelt_out(the_studio(), _axis(columns, typed_columns))
        return Comparison(engine, base, spelt_out(the_studio(), _axis(rows, typed_rows)), across, own_seeds)

    fits = _forecast(wanted, visitor)
    if st.button(_("Compare"), type="primary", icon=":material/compare:", disabled=not fits):
        with plain_errors():
            asked = wanted()
            sheet = compare(
                the_studio(), visitor, asked.engine, asked.base, asked.rows, asked.columns, own_seeds=asked.own_seeds
            ).id
            if not workers.live(the_studio().db):
                st.toast(_(NO_EXECUTOR), duration="long")
            st.switch_page(SHEETS, query_params={"sheet": sheet})


def _axis(name: str, values: str | list[str]) -> Axis:
    """An axis of what was typed, or of what was chosen from a list. Raises BadParams as `axis`."""
    if isinstance(values, str):
        return axis(name, values)
    return Axis(name, tuple(values)) if values else axis(name, "")


def _forecast(wanted: Callable[[], Comparison], visitor: Submitter) -> bool:
    """How many pictures it makes and how long they take, before it is asked for; whether it can be."""
    try:
        asked = wanted()
    except SENTENCES:
        return True  # values are still missing: the press says which
    try:
        count = counted(asked.rows, asked.columns)
    except SENTENCES as error:
        problem(sentence(error))
        return False
    told = None
    with suppress(*SENTENCES):  # a cell that cannot be drawn: the press says which
        made = planned(the_studio(), asked)
        told = costs.together(the_studio(), visitor, [(engine, params) for _label, engine, params in made])
    sizes = " × ".join(str(len(one.values)) for one in asked.axes)
    pictures = ngettext("{n} picture", "{n} pictures", count)
    line = f"{sizes} = {pictures}" if asked.columns else pictures
    if told is not None and told.refused is None and told.takes_s is not None:
        about = _("about {duration} here") if told.sure else _("at least {duration} here")
        line += ", " + about.replace("{duration}", duration(told.takes_s))
    with st.container(key="compare_count"):
        st.text(line)
        if told is not None and told.refused is not None:
            st.caption(f":material/warning: {label(sentence(told.refused))}")
    return True


def _prompt() -> str:
    key, first = "compare_prompt", form_memory.remembered().get("set_prompt", "")
    prompt: str = st.text_area(
        _("Prompt"),
        form_memory.kept(key, first),
        key=key,
        height=80,
        placeholder="a red heart",
        help=_("A choice such as {example}, or a word list of the host, can be rows or columns.", example="{red|blue}"),
        disabled=_are_prompts(),
    )
    form_memory.remembered()[key] = prompt
    return prompt


def _are_prompts() -> bool:
    """Whether prompts are what is compared."""
    axes = ("compare_rows", "compare_columns")
    return PROMPT in [st.session_state.get(name, form_memory.remembered().get(name)) for name in axes]


def _choices(prompt: str) -> dict[str, list[str]]:
    """What the prompt leaves open, and what it may become."""
    if _are_prompts():
        return {}
    try:
        found = choices_of(the_studio(), prompt)
    except BadParams as error:
        problem(sentence(error))
        return {}
    return {name: values for name, values in found.items() if values}


def _style(engine: str) -> str | None:
    """The style of the embedded models, where the engine's first checkpoint has styles; None: as the prompt says."""
    if not registry.CHECKPOINTS[registry.ENGINES[engine].checkpoints[0]].styled:
        return None
    titles = {AUTO: _("Auto"), **registry.STYLES}
    chosen = form.choose(_("Style"), "compare_style", list(titles), AUTO, titles.__getitem__)
    return None if chosen == AUTO else chosen


def _engines(engine: str, axis_key: str) -> list[str]:
    """The engines to compare with as the axis stands that is drawn later."""
    kept = {**form_memory.remembered(), **{str(key): value for key, value in st.session_state.items()}}
    chosen = kept.get(f"{axis_key}_values_{ENGINE}") or []
    return engines_in(engine, str(kept.get(axis_key)), ", ".join(chosen))


def _values(axis_key: str, name: str, engines: list[str], words: dict[str, list[str]]) -> str | list[str]:
    """What is typed, or chosen where there is a list."""
    key, about = f"{axis_key}_values_{name}", _("Values of {name}", name=label(name) if name in words else name)
    offered = offered_engines(the_studio()) if name == ENGINE else words.get(name) or choices(engines, name)
    if offered:
        first = offered[:SHOWN_FIRST] if name in words else offered[:2] if (axis_key, name) in START else []
        return _chosen(key, about, offered, first, name)
    allowed, shown = permitted(engines, name), example(name)
    start = shown if (axis_key, name) in START else ""
    helped = _("One a line; or with commas between them, prompts with semicolons. Several CLIPs with +.")
    if name == PROMPT:
        helped += " " + _("Every choice in a prompt, such as {example}, is drawn.", example="{red|blue}")
    typed: str = st.text_area(
        about,
        form_memory.kept(key, start),
        key=key,
        height="content",
        placeholder="\n".join(shown.split("; ")) if name == PROMPT else shown,
        help=helped + (" " + _("Permitted: {values}.", values=allowed) if allowed else ""),
    )
    form_memory.remembered()[key] = typed
    return typed


def _chosen(key: str, about: str, offered: list[str], start: list[str], name: str) -> list[str]:
    """Some of a closed set, in the order they are chosen."""
    titles = {ENGINE: engine_title, "style": lambda one: registry.STYLES.get(one, _("any"))}
    before = form_memory.kept(key, start)
    shown = [value for value in before if value in offered]
    if shown != before:  # of other engines, or the host has withdrawn it since
        form.replaced(key, shown)
    chosen: list[str] = st.multiselect(
        about, offered, shown, key=key, format_func=titles.get(name, str), placeholder=_("Choose some")
    )
    form_memory.remembered()[key] = chosen
    return chosen


def _seed() -> tuple[int, bool]:
    """The seed of all cells, so that they differ in what is compared alone; whether each has one of its own instead."""
    key = "compare_seed"
    shown = form_memory.kept(key, secrets.randbelow(2**32))
    first, second = st.columns(2)
    with first:
        titles = {name: _(title) for name, title in SEEDS.items()}
        how = form.choose(_("Seeds"), "compare_seeds", list(SEEDS), "all", titles.__getitem__)
    with second:
        name = _("Seed of the first") if how == "each" else _("Seed of all")
        seed = st.number_input(name, min_value=0, max_value=2**32 - 1, value=shown, step=1, key=key)
    form_memory.remembered()[key] = seed
    if how == "each":
        about = _("No two pictures start from the same drafts or noise: they differ by chance as well.")
    else:
        about = _(
            "Pictures of one engine start from the same drafts and noise, so they differ in what is compared alone; "
            "different engines share neither."
        )
    st.caption(about)
    return int(seed), how == "each"


if __name__ == "__main__":
    show(page)
