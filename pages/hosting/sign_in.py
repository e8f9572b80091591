"""Who the host is: by the password of T2I_HOST_PASSWORD, or by Streamlit's own login where that is set up.

Whether somebody is the host is decided here, on the server, each time one of the host's actions is called: `the_host`
is asked for whenever somebody presses a button, not when the button is drawn.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitAuthError

from pages.shared.errors import problem
from pages.shared.studio import has_host, login_is_set_up, the_settings
from pages.shared.text import duration
from pages.shared.visitor import the_visitor
from studio.context import Submitter

GRANTED_S = 12 * 3600.0  # an evening
FREE_TRIES = 3
MAX_PAUSE_S = 60.0
FORGOTTEN_S = 3600.0
MAX_ADDRESSES = 10_000


class Tries:
    """Wrong passwords by address: after FREE_TRIES each takes twice as long as the one before to be looked at.

    Nobody waits for another address: a try that comes too soon is refused, not held.
    """

    def __init__(self) -> None:
        self._wrong: dict[str, tuple[int, float]] = {}
        self._counting = threading.Lock()

    def take(self, address: str, now: float) -> float:
        """0 where a try may be made: it counts as wrong until `right` is called, so that tries at once are not free.
        Otherwise how long in s none from this address is looked at."""
        with self._counting:
            pause = self.pause_s(address, now)
            if not pause:
                self._count(address, now)
            return pause

    def pause_s(self, address: str, now: float) -> float:
        """How long no try from this address is looked at, 0 where one may be made. now: in s."""
        count, last = self._wrong.get(address, (0, 0.0))
        if count < FREE_TRIES:
            return 0.0
        return max(last + min(2.0 ** (count - FREE_TRIES + 1), MAX_PAUSE_S) - now, 0.0)

    def _count(self, address: str, now: float) -> None:
        count, last = self._wrong.pop(address, (0, now))
        self._wrong[address] = (1 if now - last > FORGOTTEN_S else count + 1, now)
        while len(self._wrong) > MAX_ADDRESSES:
            del self._wrong[next(iter(self._wrong))]

    def right(self, address: str) -> None:
        """Forget the wrong ones."""
        with self._counting:
            self._wrong.pop(address, None)


@st.cache_resource(show_spinner=False)
def _tries() -> Tries:
    return Tries()


def is_host() -> bool:
    """Whether whoever this session belongs to has signed in as the host."""
    if not has_host():
        return False
    if time.monotonic() < float(st.session_state.get("host_until", -math.inf)):
        return True
    return bool(login_is_set_up() and is_hosts_account(st.user.to_dict(), the_settings().host_emails))


def is_hosts_account(account: Mapping[str, Any], host_emails: str) -> bool:
    """Whether an account of Streamlit's login is on the list; an address its provider calls unverified is not."""
    allowed = {address.strip().casefold() for address in host_emails.split(",") if address.strip()}
    verified = account.get("email_verified", True) in (True, "true")
    return bool(account.get("is_logged_in")) and verified and str(account.get("email", "")).casefold() in allowed


def the_host() -> Submitter:
    """Who looks at this page, as the host where they have signed in."""
    return replace(the_visitor(), is_host=is_host())


def sign_in() -> None:
    """The form for who is not signed in."""
    settings = the_settings()
    with st.container(key="sign_in"):
        st.text("Pause the queue, take pictures out, set limits, export the evening: for the host.")
        if settings.host_password:
            with st.form("host_sign_in", border=False):
                given = st.text_input("Password", type="password", key="host_password", autocomplete="current-password")
                pressed = st.form_submit_button("Sign in", type="primary", icon=":material/login:")
            if pressed and _try(given, settings.host_password):
                st.rerun()
        if settings.host_emails and login_is_set_up():
            _login_button()


def sign_out() -> None:
    """Ends the host's session in this browser."""
    st.session_state.pop("host_until", None)
    if login_is_set_up() and st.user.to_dict().get("is_logged_in"):
        st.logout()


def _login_button() -> None:
    account = st.user.to_dict()
    if account.get("is_logged_in"):
        problem(f"{account.get('email', 'This account')} is not on the list of hosts (T2I_HOST_EMAILS).")
        st.button("Sign out", on_click=st.logout)
    elif st.button("Sign in with your account", icon=":material/account_circle:"):
        try:
            st.login()
        except StreamlitAuthError as error:
            problem(f"{error}")


def _try(given: str, expected: str) -> bool:
    """Whether the password is right; a wrong one is said, and remembered by the address it came from."""
    tries, address = _tries(), _address()
    pause = tries.take(address, time.monotonic())
    if pause:
        problem(f"Too many wrong passwords; try again in {duration(pause)}.")
        return False
    if same(given, expected):
        tries.right(address)
        st.session_state["host_until"] = time.monotonic() + GRANTED_S
        return True
    problem("That is not the password.")
    return False


def _address() -> str:
    return st.context.ip_address or "this machine"


def same(given: str, expected: str) -> bool:
    """Compared in a time that tells nothing about where they differ or how long they are."""
    digests = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected))
    return hmac.compare_digest(*digests)
