"""Host: the queue, the pictures, the visitors, the rules and the data, for who has the password."""

from __future__ import annotations

import streamlit as st

from pages import _host_access, _host_data, _host_queue, _host_rules
from pages import _widgets as w

SECTIONS = {
    "Queue": _host_queue.queue_section,
    "Pictures": _host_queue.pictures_section,
    "Visitors": _host_rules.visitors_section,
    "Rules": _host_rules.rules_section,
    "Data": _host_data.data_section,
}


def page() -> None:
    """The sections, or the form to sign in."""
    if not w.has_host():
        w.empty_state(
            "There is no host",
            "Set T2I_HOST_PASSWORD, or Streamlit's own login and T2I_HOST_EMAILS, and start the studio again.",
        )
        return
    if not _host_access.is_host():
        _host_access.sign_in()
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        section = st.segmented_control(
            "Section", list(SECTIONS), default="Queue", required=True, key="host_section", label_visibility="collapsed"
        )
        st.button("Sign out", icon=":material/logout:", type="tertiary", on_click=_host_access.sign_out)
    SECTIONS[section or "Queue"]()


if __name__ == "__main__":
    w.show(page)
