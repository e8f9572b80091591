"""Refine: candidates of a prompt, marked, varied and upscaled in rows; one refinement under ?refinement=<id>."""

from __future__ import annotations

import streamlit as st

from generator import registry
from pages.components import form, refinement
from pages.components.picture import listed
from pages.shared.errors import plain_errors
from pages.shared.files import files_of
from pages.shared.language import _, ngettext
from pages.shared.navigation import show
from pages.shared.studio import the_studio
from pages.shared.text import ago
from pages.shared.visitor import the_visitor
from studio.context import Submitter
from studio.engines import engine_title
from studio.limits import engines_that_vary, first_choice
from studio.refine import begin, own_refinements

SHOWN = 12
COUNTS = (4, 6, 8)
ANY_STYLE = "any"


def page() -> None:
    """The refinement that the address names, else the form that begins one and the visitor's own."""
    refinement_id = st.query_params.get("refinement")
    if refinement_id:
        refinement.show(refinement_id, the_visitor())
    else:
        _begin(the_visitor())
        _list(the_visitor())


def _begin(visitor: Submitter) -> None:
    st.caption(_("Ask for a few pictures, tap those you like, and go on from there, near or far."))
    prompt = form.prompt("a red heart")
    engines = engines_that_vary(the_studio())
    if not engines:
        st.info(_("The host offers no engine that can go on from a picture."))
        return
    default, wanted = first_choice(the_studio())
    engine_cell, style_cell = st.columns(2)
    with engine_cell:
        engine = st.selectbox(
            _("Engine"),
            engines,
            index=engines.index(default) if default in engines else 0,
            key="refine_engine",
            format_func=engine_title,
        )
    style = None
    checkpoint = registry.first_checkpoint(engine, wanted)
    with style_cell:
        if registry.checkpoint(checkpoint).styled:
            any_style = _("Any")
            # Any, unlike on the first page: candidates should differ.
            style = st.selectbox(
                _("Style"),
                [ANY_STYLE, *registry.STYLES],
                key=f"refine_style_{checkpoint}",
                format_func=lambda name: registry.STYLES.get(name, any_style),
            )
    number, button = st.columns([3, 2], vertical_alignment="bottom")
    with number:
        count = st.segmented_control(_("Candidates"), COUNTS, default=COUNTS[1], required=True, key="refine_count")
    with button:
        go = st.button(
            _("Draw candidates"), type="primary", icon=":material/brush:", width="stretch", shortcut="Ctrl+Enter"
        )
    if go:
        with plain_errors():
            found = begin(
                the_studio(),
                visitor,
                prompt=prompt,
                engine=engine,
                checkpoint=checkpoint,
                style=None if style == ANY_STYLE else style,
                count=count or COUNTS[1],
            )
            st.query_params["refinement"] = found.id
            st.rerun()


def _list(visitor: Submitter) -> None:
    rows = own_refinements(the_studio(), visitor, limit=SHOWN)
    if not rows:
        return
    st.header(_("Your refinements"), anchor=False)
    newest = {found.id: next(ids for ids in reversed(shown) if ids) for found, shown in rows}
    files = files_of([job_id for ids in newest.values() for job_id in ids])
    for found, shown in rows:
        drawn = (files[job_id] for job_id in newest[found.id])
        listed(
            "refinement",
            found.id,
            found.prompt,
            [ngettext("{n} row", "{n} rows", len(shown)), ago(found.created_at)],
            next((one for one in drawn if "thumbnail" in one or "preview" in one), {}),
        )


if __name__ == "__main__":
    show(page)
