"""The rules that hold for visitors."""

from __future__ import annotations

import streamlit as st

from db.rules import host_rules
from generator import registry
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.studio import house_rules, the_settings, the_studio
from studio import host
from studio.engines import engine_title
from studio.limits import first_choice
from studio.settings_form import checkpoints


def rules_section() -> None:
    """Limits, words, engines and training; each group is saved by itself and holds from the next request on."""
    st.header("Limits", anchor=False)
    _limits()
    st.header("Event code", anchor=False)
    _code()
    st.header("Refused words", anchor=False)
    _words()
    st.header("Engines", anchor=False)
    _engines()
    st.header("Training", anchor=False)
    _training()


# The rule, its label, and the configured value it is unless the host sets another.
_LIMITS = (
    ("max_queued", "Waiting at once, of one visitor", "max_queued_per_submitter"),
    ("max_per_hour", "In an hour, of one visitor", "max_per_hour_per_submitter"),
    ("max_queued_per_address", "Waiting at once, of one address", "max_queued_per_address"),
    ("max_per_hour_per_address", "In an hour, of one address", "max_per_hour_per_address"),
    ("max_queued_in_all", "Waiting at once, of everybody", "max_queued"),
)


def _limits() -> None:
    now, settings = house_rules(), the_settings()
    wanted: dict[str, float | None] = {}
    with st.form("host_limits", border=False):
        st.caption(
            "In jobs, and in minutes for one. All who come by one network are one address: behind a room's router "
            "everybody counts together."
        )
        columns = st.columns(2)
        for n, (name, label, configured) in enumerate(_LIMITS):
            value = getattr(settings, configured)
            with columns[n % 2]:
                wanted[name] = st.number_input(
                    label,
                    min_value=1,
                    max_value=host_rules.COUNTS[name],
                    value=getattr(now, name),
                    placeholder="no limit" if value is None else f"{value}, as configured",
                )
        with columns[len(_LIMITS) % 2]:
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
                wanted["max_job_s"] = None if minutes is None else minutes * 60
                host.set_limits(the_studio(), the_host(), **wanted)
                st.toast("Saved.")


def _code() -> None:
    configured = the_settings().event_code
    with st.form("host_code", border=False):
        typed = st.text_input(
            "What visitors show once before they draw, vote or send pictures",
            value=house_rules().event_code or "",
            max_chars=host_rules.MAX_CODE_LENGTH,
            placeholder="none is asked for" if configured is None else f"{configured}, as configured",
            help="The wall's QR code brings it along; it also stands below it, to be typed. A new one is asked for "
            "anew of everybody.",
        )
        if st.form_submit_button("Save code"):
            with plain_errors(for_host=True):
                host.set_event_code(the_studio(), the_host(), typed)
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


def _training() -> None:
    configured = "may" if the_settings().train else "may not"
    choices = {None: f"They {configured}, as configured", True: "They may", False: "They may not"}
    with st.form("host_training", border=False):
        wanted = st.selectbox(
            "Whether visitors give pictures and have models trained from them",
            list(choices),
            index=list(choices).index(house_rules().train),
            format_func=choices.__getitem__,
            help="Where the event has a code, once they have shown it. You and programs with a key always may. A run "
            "waits behind all pictures and costs an executor for minutes to hours. Runs that wait or learn by then go "
            "on; who gave pictures can still delete them.",
        )
        if st.form_submit_button("Save training"):
            with plain_errors(for_host=True):
                host.set_training(the_studio(), the_host(), wanted)
                st.toast("Saved.")
