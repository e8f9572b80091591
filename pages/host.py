"""Host: the queue, the pictures, the visitors, the rules and the data, for who has the password."""

from __future__ import annotations

import streamlit as st

from pages.components.notices import empty_state
from pages.hosting import data, failures, keys, queue, rules, sessions, visitors, wall
from pages.hosting.sign_in import is_host, keep_cookie, sign_in, sign_out
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _, chosen_in_words, named
from pages.shared.navigation import show
from pages.shared.studio import has_host

SECTIONS = {
    N_("Queue"): queue.queue_section,
    N_("Failed"): failures.failures_section,
    N_("Pictures"): queue.pictures_section,
    N_("Wall"): wall.wall_section,
    N_("Visitors"): visitors.visitors_section,
    N_("Rules"): rules.rules_section,
    N_("Keys"): keys.keys_section,
    N_("Data"): data.data_section,
    N_("Sessions"): sessions.sessions_section,
}


def page() -> None:
    """The sections, or the form to sign in."""
    if not has_host():
        empty_state(
            _("There is no host"),
            _("Set T2I_HOST_PASSWORD, or Streamlit's own login and T2I_HOST_EMAILS, and start the studio again."),
        )
        return
    keep_cookie()
    if not is_host():
        sign_in()
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        section = st.segmented_control(
            _("Section"),
            list(SECTIONS),
            format_func=named(SECTIONS),
            default="Queue",
            required=True,
            key=chosen_in_words("host_section"),
            label_visibility="collapsed",
            wrap=True,  # all of them are to be seen on a phone
        )
        with st.container(horizontal=True, width="content"):
            wall.open_wall()
            st.button(_("Sign out"), key="host_sign_out", icon=":material/logout:", type="tertiary", on_click=_sign_out)
    SECTIONS[section or "Queue"]()


def _sign_out() -> None:
    with plain_errors(for_host=True):
        sign_out()


if __name__ == "__main__":
    show(page)
