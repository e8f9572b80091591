"""Compare: a prompt through several engines, or over the values of one or two settings, as one sheet."""

from __future__ import annotations

import secrets
from typing import Any

import streamlit as st

from db.queue import workers
from generator import registry
from pages.components import form
from pages.components.notices import NO_EXECUTOR
from pages.shared import form_memory
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _
from pages.shared.navigation import SHEETS, go, show
from pages.shared.studio import the_studio
from pages.shared.visitor import the_visitor
from studio.compare import ENGINE, PROMPT, axis, choices, compare, engines_in, example, permitted, settings_of
from studio.engines import engine_title
from studio.limits import offered_engines

NOTHING = N_("nothing")
AUTO = "auto"  # the style that the prompt names, else the default
START = (("compare_rows", ENGINE), ("compare_columns", "seed"))


def page() -> None:
    """The prompt, the two axes, and what they would make."""
    visitor = the_visitor()
    go()
    st.text(_("A prompt, drawn for every value of one or two settings: a sheet that fills while it is drawn."))
    prompt = _prompt()
    engine = form.choose(_("Engine"), "compare_engine", offered_engines(the_studio()), None, engine_title)
    style = _style(engine)
    first, second = st.columns(2)
    with first:
        engines = _engines(engine, "compare_columns")
        rows = form.choose(_("Rows"), "compare_rows", settings_of(engines), ENGINE)
        typed_rows = _values("compare_rows", rows, engines)
    nothing = _(NOTHING)
    with second:
        engines = engines_in(engine, rows, typed_rows)
        columns = form.choose(
            _("Columns"),
            "compare_columns",
            [NOTHING, *settings_of(engines)],
            "seed",
            lambda name: nothing if name == NOTHING else name,
        )
        typed_columns = _values("compare_columns", columns, engines) if columns != NOTHING else ""
    seed = _seed() if "seed" not in (rows, columns) else None
    if st.button(_("Compare"), type="primary", icon=":material/compare:"):
        with plain_errors():
            base: dict[str, Any] = {"prompt": prompt}
            if style is not None:
                base["style"] = style
            if seed is not None:
                base["seed"] = seed
            across = None if columns == NOTHING else axis(columns, typed_columns)
            sheet = compare(the_studio(), visitor, engine, base, axis(rows, typed_rows), across).id
            if not workers.live(the_studio().db):
                st.toast(_(NO_EXECUTOR), duration="long")
            st.switch_page(SHEETS, query_params={"sheet": sheet})


def _prompt() -> str:
    key, first = "compare_prompt", form_memory.remembered().get("set_prompt", "")
    chosen = [
        st.session_state.get(name, form_memory.remembered().get(name)) for name in ("compare_rows", "compare_columns")
    ]
    prompt: str = st.text_area(
        _("Prompt"),
        form_memory.kept(key, first),
        key=key,
        height=80,
        placeholder="a red heart",
        disabled=PROMPT in chosen,
    )
    form_memory.remembered()[key] = prompt
    return prompt


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


def _values(axis_key: str, name: str, engines: list[str]) -> str:
    key, label = f"{axis_key}_values_{name}", _("Values of {name}", name=name)
    offered = offered_engines(the_studio()) if name == ENGINE else choices(engines, name)
    if offered:
        return ", ".join(_chosen(key, label, offered, offered[:2] if (axis_key, name) in START else [], name))
    allowed, shown = permitted(engines, name), example(name)
    start = shown if (axis_key, name) in START else ""
    typed: str = st.text_input(
        label,
        form_memory.kept(key, start),
        key=key,
        placeholder=shown,
        help=_("With commas between them, prompts with semicolons; several CLIPs with +.")
        + (" " + _("Permitted: {values}.", values=allowed) if allowed else ""),
    )
    form_memory.remembered()[key] = typed
    return typed


def _chosen(key: str, label: str, offered: list[str], start: list[str], name: str) -> list[str]:
    """Some of a closed set, in the order they are chosen."""
    titles = {ENGINE: engine_title, "style": lambda one: registry.STYLES.get(one, _("any"))}
    before = form_memory.kept(key, start)
    shown = [value for value in before if value in offered]
    if shown != before:  # of other engines, or the host has withdrawn it since
        form.replaced(key, shown)
    chosen: list[str] = st.multiselect(
        label, offered, shown, key=key, format_func=titles.get(name, str), placeholder=_("Choose some")
    )
    form_memory.remembered()[key] = chosen
    return chosen


def _seed() -> int:
    """One seed for all cells, so that they differ in what is compared alone."""
    key = "compare_seed"
    shown = form_memory.kept(key, secrets.randbelow(2**32))
    seed = st.number_input(_("Seed of all"), min_value=0, max_value=2**32 - 1, value=shown, step=1, key=key)
    form_memory.remembered()[key] = seed
    return int(seed)


if __name__ == "__main__":
    show(page)
