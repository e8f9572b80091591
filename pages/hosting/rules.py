"""The visitors, and the rules that hold for them."""

from __future__ import annotations

import streamlit as st

from db.evening.moderation import Visitor
from db.rules import host_rules
from generator import registry
from pages.components.notices import empty_state
from pages.hosting.queue import act, called
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.studio import house_rules, the_settings, the_studio
from pages.shared.text import ago, esc
from studio import host
from studio.engines import engine_title
from studio.limits import first_choice
from studio.settings_form import checkpoints

SHOWN = 50


def visitors_section() -> None:
    """Who has asked for pictures, the last one first."""
    everyone = host.recent_visitors(the_studio(), the_host(), limit=SHOWN)
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
            _button("Lift the ban", "how_to_reg", host.lift_ban, visitor.id)
        else:
            _button("Ban", "block", host.ban, visitor.id)
            _button("Ban and hide", "visibility_off", host.ban, visitor.id, True)


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
    now, settings = house_rules(), the_settings()
    with st.form("host_limits", border=False):
        queued, hourly, costly = st.columns(3)
        configured = settings.max_per_hour_per_submitter
        with queued:
            most_queued = st.number_input(
                "Jobs waiting at once",
                min_value=1,
                max_value=host_rules.MAX_QUEUED,
                value=now.max_queued,
                placeholder=f"{settings.max_queued_per_submitter}, as configured",
            )
        with hourly:
            most_hourly = st.number_input(
                "Jobs in an hour",
                min_value=1,
                max_value=host_rules.MAX_PER_HOUR,
                value=now.max_per_hour,
                placeholder="no limit" if configured is None else f"{configured}, as configured",
            )
        with costly:
            minutes = st.number_input(
                "Minutes for one job",
                min_value=0.0,
                max_value=host_rules.MAX_JOB_S / 60,
                value=None if now.max_job_s is None else now.max_job_s / 60,
                step=1.0,
                placeholder=f"{settings.max_job_s / 60:g}, as configured" if settings.max_job_s else "no limit",
                help="Of an executor that works on nothing else; 0: no limit. A wish that would take longer is refused "
                "where that is known, and a job that has had so much ends and keeps its picture so far. Holds for what "
                "is asked for from now on, not for programs with a host key.",
            )
        if st.form_submit_button("Save limits"):
            with plain_errors(for_host=True):
                most_s = None if minutes is None else minutes * 60
                host.set_limits(the_studio(), the_host(), most_queued, most_hourly, most_s)
                st.toast("Saved.")


def _words() -> None:
    with st.form("host_words", border=False):
        typed = st.text_area(
            "One word or phrase a line",
            value="\n".join(house_rules().refused_words),
            height=140,
            help="Prompts and names with one are refused, however it is written: G o r é, g0re, ꓖꓳꓣꓰ and ǝɹoƃ are "
            "gore. A longer word (gored) and one cut into words (go rest) are let through.",
        )
        if st.form_submit_button("Save words"):
            with plain_errors(for_host=True):
                host.set_words(the_studio(), the_host(), typed)
                st.toast("Saved.")


def _engines() -> None:
    now, drawing = house_rules(), registry.drawing_engines()
    default, preferred = first_choice(the_studio())
    with st.container(key="host_engines"):
        shown = st.multiselect(
            "What visitors may use",
            host.may_be_withheld(),
            default=[name for name in host.may_be_withheld() if name not in now.withheld],
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
            names = checkpoints(the_studio(), engine)
            wanted = registry.first_checkpoint(engine, preferred)
            checkpoint = st.selectbox(
                "and the checkpoint",
                names,
                index=names.index(wanted) if wanted in names else 0,
                format_func=lambda name: registry.checkpoint(name).title,
            )
        if st.button("Save engines"):
            with plain_errors(for_host=True):
                host.set_engines(the_studio(), the_host(), shown, engine, checkpoint)
                st.toast("Saved.")
