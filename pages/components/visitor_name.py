"""The name a visitor may give, shown with the pictures."""

from __future__ import annotations

import streamlit as st

from db.rules.visitors import MAX_NAME_LENGTH
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import label
from studio import names
from studio.context import Submitter


def popover(visitor: Submitter) -> None:
    """The button that shows the name, and under it the field that changes it."""
    name = names.name_of(the_studio(), visitor)
    with st.popover(label(name) if name else _("Your name"), icon=":material/person:", width="content"):
        st.text_input(
            _("Name shown with your pictures"),
            value=name or "",
            max_chars=MAX_NAME_LENGTH,
            key="visitor_name",
            placeholder=_("none"),
        )
        st.button(_("Save"), key="save_name", on_click=_save, args=(visitor,))
        st.caption(_("Optional. Everybody sees it; leave it empty to stay anonymous."))


def _save(visitor: Submitter) -> None:
    with plain_errors():
        names.set_name(the_studio(), visitor, st.session_state["visitor_name"])
