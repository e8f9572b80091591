"""The visitors, and the rules that hold for them."""

from __future__ import annotations

import streamlit as st

from db import rules, visitors
from db.visitors import Visitor
from generator import registry
from generator.inventory import own_folders
from pages.components.notices import empty_state
from pages.hosting import actions
from pages.hosting.queue import act, called
from pages.shared.engines import engine_title
from pages.shared.errors import plain_errors
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import ago, esc

SHOWN = 50


def visitors_section() -> None:
    """Who has asked for pictures, the last one first."""
    everyone = visitors.recent(the_studio().db, limit=SHOWN)
    if not everyone:
        empty_state("Nobody yet", "Visitors are listed here once they have asked for a picture.")
    else:
        st.caption(
            "A visitor is a browser. A ban ends what they have in progress; a determined one can come back with "
            "another browser, so lower the limits as well."
        )
    for visitor in everyone:
        _visitor(visitor)


def _visitor(visitor: Visitor) -> None:
    names = {visitor.id: visitor.name} if visitor.name else {}
    banned = "Banned · " if visitor.banned_at else ""
    seen = "" if visitor.last_at is None else f" · last asked {ago(visitor.last_at)}"
    asked = "1 job" if visitor.asked == 1 else f"{visitor.asked} jobs"
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_visitor_{visitor.id[:12]}"):
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(called(visitor.id, names))}</bdi></div>'
            f'<div class="t2i-meta">{banned}{asked}, {visitor.live} in progress{esc(seen)}</div>'
        )
        if visitor.banned_at:
            _button("Lift the ban", "how_to_reg", actions.lift_ban, visitor.id)
        else:
            _button("Ban", "block", actions.ban, visitor.id)
            _button("Ban and hide", "visibility_off", actions.ban, visitor.id, True)


def _button(label: str, icon: str, action: object, *args: object) -> None:
    st.button(
        label,
        key=f"{label.lower().replace(' ', '_')}_{args[0]}",
        icon=f":material/{icon}:",
        on_click=act,
        args=(action, *args),
        help=f"{label}: this visitor",
    )


def rules_section() -> None:
    """Limits, words and engines; each group is saved by itself and holds from the next request on."""
    st.header("Limits for each visitor", anchor=False)
    _limits()
    st.header("Refused words", anchor=False)
    _words()
    st.header("Engines", anchor=False)
    _engines()


def _limits() -> None:
    now, settings = house_rules(), the_studio().settings
    with st.form("host_limits", border=False):
        queued, hourly = st.columns(2)
        configured = settings.max_per_hour_per_submitter
        with queued:
            most_queued = st.number_input(
                "Jobs waiting at once",
                min_value=1,
                max_value=rules.MOST_QUEUED,
                value=now.max_queued,
                placeholder=f"{settings.max_queued_per_submitter}, as configured",
            )
        with hourly:
            most_hourly = st.number_input(
                "Jobs in an hour",
                min_value=1,
                max_value=rules.MOST_PER_HOUR,
                value=now.max_per_hour,
                placeholder="no limit" if configured is None else f"{configured}, as configured",
            )
        if st.form_submit_button("Save limits"):
            with plain_errors():
                actions.set_limits(most_queued, most_hourly)
                st.toast("Saved.")


def _words() -> None:
    with st.form("host_words", border=False):
        typed = st.text_area(
            "One word or phrase a line",
            value="\n".join(house_rules().refused_words),
            height=140,
            help="Prompts and names with one are refused, however it is written: G o r é is gore, gored is not.",
        )
        if st.form_submit_button("Save words"):
            with plain_errors():
                actions.set_words(typed)
                st.toast("Saved.")


def _engines() -> None:
    now, settings = house_rules(), the_studio().settings
    drawing = registry.drawing_engines()
    default = now.default_engine or settings.default_engine
    with st.container(key="host_engines"):
        shown = st.multiselect(
            "What visitors may use",
            actions.offered(),
            default=[name for name in actions.offered() if name not in now.withheld],
            format_func=engine_title,
        )
        first, second = st.columns(2)
        with first:
            engine = st.selectbox(
                "A new page starts with",
                drawing,
                index=drawing.index(default) if default in drawing else 0,
                format_func=engine_title,
            )
        with second:
            own = [n for n in own_folders(settings.checkpoints_dir) if registry.offers(engine, n)]
            names = [*registry.ENGINES[engine].checkpoints, *own]
            wanted = registry.first_checkpoint(engine, now.default_checkpoint or settings.default_checkpoint)
            checkpoint = st.selectbox(
                "and the checkpoint",
                names,
                index=names.index(wanted) if wanted in names else 0,
                format_func=lambda name: registry.checkpoint_spec(name).title,
            )
        if st.button("Save engines"):
            with plain_errors():
                actions.set_engines(shown, engine, checkpoint)
                st.toast("Saved.")
