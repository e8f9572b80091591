"""Who the host is: by the password of T2I_HOST_PASSWORD, or by Streamlit's own login where that is set up.

Whether somebody is the host is decided here, on the server, each time one of the host's actions is called: `the_host`
is asked for whenever somebody presses a button, not when the button is drawn. A session is a row of the database
(db/rules/host_sessions.py), so it lasts over restarts, holds for every web app on that database and ends for all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAuthError

from db.errors import DbError
from db.rules import host_sessions
from db.rules.host_sessions import Session
from db.rules.salt import salt
from pages.hosting.browsers import browser_called
from pages.shared.errors import plain_errors, problem
from pages.shared.language import _
from pages.shared.studio import has_host, login_is_set_up, the_settings, the_studio
from pages.shared.text import duration
from pages.shared.visitor import the_visitor
from studio import host_password
from studio.context import Submitter
from studio.host_password import Busy, Gate

COOKIE, DEVICE = "t2i_host", "t2i_host_device"  # as api/host_session.py sets them
SESSION = "host_session"
_SCRIPT = "host_cookie"  # what the browser is to do about its cookie: a ticket to exchange, or "" to give it back


@st.cache_resource(show_spinner=False)
def _gate() -> Gate:
    return Gate()


@st.cache_resource(show_spinner=False)
def _salt() -> bytes:
    return salt(the_studio().db)


def the_credential() -> str:
    """What sessions of the password that is set now are known by. Raises DatabaseUnavailable."""
    password = the_settings().host_password
    return host_password.credential(password, _salt()) if password else ""


def is_host() -> bool:
    """Whether whoever this session belongs to has signed in as the host.

    While the database is away, whether they had until then: they read what is wrong with it, and can do nothing.
    """
    try:
        return _is_host()
    except DbError:
        return SESSION in st.session_state


def _is_host() -> bool:
    if not has_host():
        return False
    if the_session() is not None:
        return True
    return bool(login_is_set_up() and is_hosts_account(st.user.to_dict(), the_settings().host_emails))


def the_session() -> Session | None:
    """This browser's, by password, as it is in the database now. Raises DatabaseUnavailable."""
    if not the_settings().host_password:
        return None
    db, credential = the_studio().db, the_credential()
    known, cookie = st.session_state.get(SESSION), _cookie(COOKIE)
    found = host_sessions.get(db, known, credential) if known else None
    if found is None and cookie and not known:
        found = host_sessions.by_cookie(db, cookie, credential)
    if found is not None:
        st.session_state[SESSION] = found.id
    return found


def is_hosts_account(account: Mapping[str, Any], host_emails: str) -> bool:
    """Whether an account of Streamlit's login is on the list; an address its provider calls unverified is not."""
    allowed = {address.strip().casefold() for address in host_emails.split(",") if address.strip()}
    verified = account.get("email_verified", True) in (True, "true")
    return bool(account.get("is_logged_in")) and verified and str(account.get("email", "")).casefold() in allowed


def the_host() -> Submitter:
    """Who looks at this page, as the host where they have signed in. Raises DatabaseUnavailable."""
    return replace(the_visitor(), is_host=_is_host())


def sign_in() -> None:
    """The form for who is not signed in."""
    settings = the_settings()
    with st.container(key="sign_in"):
        st.text(_("Pause the queue, take pictures out, set limits, export the evening: for the host."))
        if settings.host_password:
            with st.form("host_sign_in", border=False):
                given = st.text_input(
                    _("Password"),
                    type="password",
                    key="host_password",
                    autocomplete="current-password",
                )
                pressed = st.form_submit_button(
                    _("Sign in"), key="host_signs_in", type="primary", icon=":material/login:"
                )
            if pressed and _try(given, settings.host_password):
                st.rerun()
        if settings.host_emails and login_is_set_up():
            _login_button()


def sign_out() -> None:
    """Ends the host's session in this browser, and has it forget the cookie."""
    session_id = st.session_state.pop(SESSION, None)
    if session_id is not None:
        host_sessions.end(the_studio().db, session_id)
    st.session_state[_SCRIPT] = ""
    if login_is_set_up() and st.user.to_dict().get("is_logged_in"):
        st.logout()


def keep_cookie() -> None:
    """Once after signing in or out: the script that fetches the cookie, or gives it back (api/host_session.py).

    The script itself never sees what the cookie holds.
    """
    ticket: str | None = st.session_state.pop(_SCRIPT, None)
    if ticket is None:
        return
    asks: dict[str, Any] = {"method": "DELETE"}
    if ticket:
        sent = {"Content-Type": "application/json"}
        asks = {"method": "POST", "headers": sent, "body": json.dumps({"ticket": ticket})}
    path = 'location.pathname.replace(/\\/host\\/?$/, "") + "/host/session"'
    with st.container(key="host_script"):
        st.html(f"<script>fetch({path}, {json.dumps(asks)});</script>", unsafe_allow_javascript=True)


def _login_button() -> None:
    account = st.user.to_dict()
    if account.get("is_logged_in"):
        who = account.get("email") or _("This account")
        problem(_("{account} is not on the list of hosts (T2I_HOST_EMAILS).", account=who))
        st.button(_("Sign out"), key="host_logs_out", on_click=st.logout)
    elif st.button(_("Sign in with your account"), key="host_logs_in", icon=":material/account_circle:"):
        try:
            st.login()
        except StreamlitAuthError as error:
            problem(f"{error}")


def _try(given: str, expected: str) -> bool:
    """Whether the password is right; a wrong one is said, and remembered by the browser or address it came from."""
    gate, address, device = _gate(), _address(), _device()
    pause = gate.take(address, device, time.monotonic())
    if pause:
        problem(
            _(
                "Too many wrong passwords; try again in {duration}. A browser in which you have signed in before does "
                "not wait.",
                duration=duration(pause),
            )
        )
        return False
    try:
        right = gate.compare(given, expected, known=device is not None)
    except Busy:
        problem(_("Many passwords are being tried just now; try again in a moment."))
        return False
    if not right:
        problem(_("That is not the password."))
        return False
    gate.right(address, device)
    return _begin()


def _begin() -> bool:
    """Whether there is a session now; where the database cannot hold one, who knows the password reads why."""
    lasts_s = the_settings().host_session_days * 86400
    label = browser_called(st.context.headers.get("User-Agent"))
    with plain_errors(for_host=True):
        ticket, session = host_sessions.begin(
            the_studio().db, credential=the_credential(), label=label, lasts_s=lasts_s
        )
        st.session_state[SESSION], st.session_state[_SCRIPT] = session.id, ticket
        return True
    return False


def _device() -> str | None:
    """By its cookie a browser in which the host has signed in before."""
    try:
        return host_password.known_device(_salt(), the_credential(), _cookie(DEVICE))
    except DbError:
        return None


def _cookie(name: str) -> str | None:
    return st.context.cookies.get(name)


def _address() -> str:
    return st.context.ip_address or "this machine"
