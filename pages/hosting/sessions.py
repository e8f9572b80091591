"""Where the host is signed in by password: each browser, and the end of its session."""

from __future__ import annotations

import time

import streamlit as st

from db.rules.host_sessions import Session
from pages.components.notices import empty_state
from pages.hosting.browsers import in_words
from pages.hosting.queue import act
from pages.hosting.sign_in import SESSION, sign_out, the_credential, the_host
from pages.shared.errors import plain_errors
from pages.shared.language import _
from pages.shared.studio import the_studio
from pages.shared.text import ago, duration, esc, label
from studio import host_sessions


def sessions_section() -> None:
    """A row for each; all of them at once below."""
    with plain_errors(for_host=True):
        st.caption(
            _(
                "Browsers in which somebody has given the password. A session ends here, when its time is over, or "
                "when T2I_HOST_PASSWORD is changed."
            )
        )
        signed_in = host_sessions.sessions(the_studio(), the_host(), the_credential())
        if not signed_in:
            empty_state(_("Nobody is signed in by password"), _("You are here by an account of Streamlit's login."))
            return
        for session in signed_in:
            _row(session)
        st.button(
            _("Sign out everywhere"),
            key="host_sign_out_everywhere",
            icon=":material/logout:",
            on_click=_end_all,
            help=_("In this browser as well"),
        )


def _row(session: Session) -> None:
    here = session.id == st.session_state.get(SESSION)
    facts = [
        _("this browser") if here else _("seen {ago}", ago=ago(session.seen_at)),
        _("signed in {ago}", ago=ago(session.created_at)),
        _("ends in {duration}", duration=duration(max(session.expires_at - time.time(), 0.0))),
    ]
    browser = in_words(session.label)
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_session_{session.id}"):
        st.html(f'<div class="t2i-prompt">{esc(browser)}</div><div class="t2i-meta">{esc(" · ".join(facts))}</div>')
        st.button(
            _("Sign out"),
            key=f"end_session_{session.id}",
            icon=":material/logout:",
            on_click=sign_out if here else act,
            args=() if here else (host_sessions.end_session, session.id),
            help=label(_("Sign out: {browser}", browser=browser)),
        )


def _end_all() -> None:
    act(host_sessions.end_sessions)
    st.session_state.pop(SESSION, None)
    sign_out()
