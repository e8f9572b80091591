"""Asking for the event's code, where it has one: once, above the page. Looking is free."""

from __future__ import annotations

import streamlit as st

from db.rules.host_rules import MAX_CODE_LENGTH
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _
from pages.shared.studio import the_studio
from pages.shared.visitor import the_visitor
from studio import admission
from studio.admission import Tries

PARAMETER = "code"
# What studio/admission.py says, for the translations.
SAID = (
    N_("That is not this event's code; it stands on the wall, below the QR code."),
    N_(
        "Too many wrong codes came from your network; type it again in {seconds} s, or scan the QR code on the wall, "
        "which always works."
    ),
)


@st.cache_resource(show_spinner=False)
def _tries() -> Tries:
    return Tries()


def taken_from_link() -> None:
    """Who came by the wall's QR code has shown it. It goes from the address, so that a link that is passed on later
    does not carry it."""
    shown = st.query_params.get(PARAMETER)
    if shown is None:
        return
    del st.query_params[PARAMETER]
    if admission.needs_code(the_studio(), the_visitor()):
        _show(shown)


def ask() -> None:
    """The field, for who has not shown it."""
    if not admission.needs_code(the_studio(), the_visitor()):
        return
    with (
        st.container(key="event_code", border=True),
        st.form("event_code_form", border=False, clear_on_submit=True),
    ):
        st.text(_("To draw, vote or send pictures here, show the code of this event once. Looking is free."))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            typed = st.text_input(_("Event code"), max_chars=MAX_CODE_LENGTH, key="event_code_typed", width=320)
            pressed = st.form_submit_button(_("Enter"), icon=":material/key:")
    if pressed and typed.strip() and _show(typed):
        st.rerun()


def _show(shown: str) -> bool:
    with plain_errors():
        admission.show_code(the_studio(), the_visitor(), shown, _tries())
        return True
    return False
