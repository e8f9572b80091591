"""The rules that hold for visitors."""

from __future__ import annotations

import zlib

import streamlit as st

from db.rules import host_rules
from generator import registry
from pages.hosting.queue import engine_called
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _, chosen_in_words, number
from pages.shared.studio import house_rules, the_settings, the_studio
from studio import host
from studio.limits import first_choice
from studio.settings_form import checkpoints


def rules_section() -> None:
    """Limits, words, engines and training; each group is saved by itself and holds from the next request on."""
    st.header(_("Limits"), anchor=False)
    _limits()
    st.header(_("Event code"), anchor=False)
    _code()
    st.header(_("Refused words"), anchor=False)
    _words()
    st.header(_("Engines"), anchor=False)
    _engines()
    st.header(_("Training"), anchor=False)
    _training()


# The rule, its label, and the configured value it is unless the host sets another.
_LIMITS = (
    ("max_queued", N_("Waiting at once, of one visitor"), "max_queued_per_submitter"),
    ("max_per_hour", N_("In an hour, of one visitor"), "max_per_hour_per_submitter"),
    ("max_queued_per_address", N_("Waiting at once, of one address"), "max_queued_per_address"),
    ("max_per_hour_per_address", N_("In an hour, of one address"), "max_per_hour_per_address"),
    ("max_queued_in_all", N_("Waiting at once, of everybody"), "max_queued"),
)


def _key(name: str, value: object) -> str:
    """Of the widget of a rule. Another one is drawn once the rule has another value, so that what was set elsewhere is
    shown; what was typed and not saved yet stays in another language."""
    return f"host_rule_{name}_{zlib.crc32(repr(value).encode()):x}"


def _configured(value: str) -> str:
    return _("{value}, as configured", value=value)


def _limits() -> None:
    now, settings = house_rules(), the_settings()
    wanted: dict[str, float | None] = {}
    with st.form("host_limits", border=False):
        st.caption(
            _(
                "In jobs, and in minutes for one. All who come by one network are one address: behind a room's router "
                "everybody counts together."
            )
        )
        columns = st.columns(2)
        for n, (name, label, configured) in enumerate(_LIMITS):
            value = getattr(settings, configured)
            with columns[n % 2]:
                wanted[name] = st.number_input(
                    _(label),
                    key=_key(name, getattr(now, name)),
                    min_value=1,
                    max_value=host_rules.COUNTS[name],
                    value=getattr(now, name),
                    placeholder=_("no limit") if value is None else _configured(number(value, ",")),
                )
        with columns[len(_LIMITS) % 2]:
            minutes = st.number_input(
                _("Minutes for one job"),
                key=_key("max_job_s", now.max_job_s),
                min_value=0.0,
                max_value=host_rules.MAX_JOB_S / 60,
                value=None if now.max_job_s is None else now.max_job_s / 60,
                step=1.0,
                placeholder=_configured(number(settings.max_job_s / 60, "g")) if settings.max_job_s else _("no limit"),
                help=_(
                    "Of an executor that works on nothing else; 0: no limit. A wish that would take longer is refused "
                    "where that is known, and a job that has had so much ends and keeps its picture so far. Holds for "
                    "what is asked for from now on, not for programs with a host key."
                ),
            )
        if st.form_submit_button(_("Save limits"), key="host_limits_save"):
            with plain_errors(for_host=True):
                wanted["max_job_s"] = None if minutes is None else minutes * 60
                host.set_limits(the_studio(), the_host(), **wanted)
                st.toast(_("Saved."))


def _code() -> None:
    configured = the_settings().event_code
    with st.form("host_code", border=False):
        code = house_rules().event_code
        typed = st.text_input(
            _("What visitors show once before they draw, vote or send pictures"),
            key=_key("event_code", code),
            value=code or "",
            max_chars=host_rules.MAX_CODE_LENGTH,
            placeholder=_("none is asked for") if configured is None else _configured(configured),
            help=_(
                "The wall's QR code brings it along; it also stands below it, to be typed. A new one is asked for anew "
                "of everybody."
            ),
        )
        if st.form_submit_button(_("Save code"), key="host_code_save"):
            with plain_errors(for_host=True):
                host.set_event_code(the_studio(), the_host(), typed)
                st.toast(_("Saved."))


def _words() -> None:
    with st.form("host_words", border=False):
        words = house_rules().refused_words
        typed = st.text_area(
            _("One word or phrase a line"),
            key=_key("refused_words", words),
            value="\n".join(words),
            height=140,
            help=_(
                "Prompts and names with one are refused, however it is written: G o r é, g0re, ꓖꓳꓣꓰ and ǝɹoƃ are gore. "
                "A longer word (gored) and one cut into words (go rest) are let through."
            ),
        )
        if st.form_submit_button(_("Save words"), key="host_words_save"):
            with plain_errors(for_host=True):
                host.set_words(the_studio(), the_host(), typed)
                st.toast(_("Saved."))


def _engines() -> None:
    now, drawing = house_rules(), registry.drawing_engines()
    default, preferred = first_choice(the_studio())
    titles = {name: engine_called(name) for name in (*host.may_be_withheld(), *drawing)}
    with st.container(key="host_engines"):
        shown = st.multiselect(
            _("What visitors may use"),
            host.may_be_withheld(),
            default=[name for name in host.may_be_withheld() if name not in now.withheld],
            format_func=titles.__getitem__,
            key=chosen_in_words(_key("offered", now.withheld)),
            placeholder=_("Choose some"),
        )
        first, second = st.columns(2)
        with first:
            engine = st.selectbox(
                _("A new page starts with"),
                drawing,
                index=drawing.index(default) if default in drawing else 0,
                format_func=titles.__getitem__,
                key=chosen_in_words(_key("first_engine", default)),
            )
        with second:
            names = checkpoints(the_studio(), engine)
            wanted = registry.first_checkpoint(engine, preferred)
            checkpoint = st.selectbox(
                _("and the checkpoint"),
                names,
                index=names.index(wanted) if wanted in names else 0,
                format_func=lambda name: registry.checkpoint(name).title,
                key=_key("first_checkpoint", (engine, wanted)),
            )
        if st.button(_("Save engines"), key="host_engines_save"):
            with plain_errors(for_host=True):
                host.set_engines(the_studio(), the_host(), shown, engine, checkpoint)
                st.toast(_("Saved."))


def _training() -> None:
    configured = _("They may, as configured") if the_settings().train else _("They may not, as configured")
    choices = {None: configured, True: _("They may"), False: _("They may not")}
    train = house_rules().train
    with st.form("host_training", border=False):
        wanted = st.selectbox(
            _("Whether visitors give pictures and have models trained from them"),
            list(choices),
            index=list(choices).index(train),
            format_func=choices.__getitem__,
            key=chosen_in_words(_key("train", train)),
            help=_(
                "Where the event has a code, once they have shown it. You and programs with a key always may. A run "
                "waits behind all pictures and costs an executor for minutes to hours. Runs that wait or learn by then "
                "go on; who gave pictures can still delete them."
            ),
        )
        if st.form_submit_button(_("Save training"), key="host_training_save"):
            with plain_errors(for_host=True):
                host.set_training(the_studio(), the_host(), wanted)
                st.toast(_("Saved."))
