"""Keys of programs: made, shown once, listed and revoked."""

from __future__ import annotations

from urllib.parse import urlsplit

import streamlit as st

from db.rules.keys import MAX_OWN, SCOPES, Key
from db.rules.visitors import MAX_NAME_LENGTH
from pages.components.notices import empty_state
from pages.hosting.queue import act
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.language import N_, _, chosen_in_words, ngettext
from pages.shared.studio import the_settings, the_studio
from pages.shared.text import ago, esc, label, quoted
from studio import keys

MADE = "host_key_made"  # (secret, name) of the key that was made last, until something else is done
WHAT = {
    "read": N_("Look: the queue, pictures and ratings"),
    "submit": N_("Draw: ask for pictures and vote as well"),
    "host": N_("Host: everything on this page as well"),
}
MAY = {"read": N_("may look"), "submit": N_("may draw"), "host": N_("may do what the host may")}
MODES = {
    "local": N_("Programs on this machine need no key; all others do."),
    "open": N_("Nobody needs a key here (T2I_API=open); one gives a program a name, limits and turns of its own."),
    "keys": N_("Every program needs a key here (T2I_API=keys)."),
    "off": N_("The API is switched off (T2I_API=off): no key lets anybody in."),
}


def keys_section() -> None:
    """A form for a new one, and those there are."""
    st.caption(
        _("A key lets a program draw here through the API, in turns of its own among the visitors.")
        + " "
        + label(_(MODES[the_settings().api]))
    )
    with plain_errors(for_host=True):
        _form()
        _just_made()
        st.header(_("Keys"), anchor=False)
        everyone = keys.every_key(the_studio(), the_host())
        if not everyone:
            empty_state(_("No keys yet"), _("Make one for each program, so that it can be revoked alone."))
        for key in everyone:
            _key(key)


def _form() -> None:
    with st.form("host_key", border=False, clear_on_submit=True):
        name_cell, scope_cell = st.columns(2)
        with name_cell:
            name = st.text_input(
                _("Name"), key="host_key_name", max_chars=MAX_NAME_LENGTH, placeholder=_("what it is for")
            )
        with scope_cell:
            scope = st.selectbox(
                _("What it may do"),
                SCOPES,
                index=SCOPES.index("submit"),
                format_func={one: _(what) for one, what in WHAT.items()}.__getitem__,
                key=chosen_in_words("host_key_scope"),
            )
        queued_cell, hourly_cell = st.columns(2)
        with queued_cell:
            queued = _limit("queued", _("Jobs waiting at once"))
        with hourly_cell:
            hourly = _limit("hourly", _("Jobs in an hour"))
        pressed = st.form_submit_button(_("Make a key"), key="host_key_make", type="primary", icon=":material/key:")
    if pressed:
        st.session_state.pop(MADE, None)
        secret, key = keys.make_key(the_studio(), the_host(), name, scope, queued, hourly)
        st.session_state[MADE] = secret, key.name


def _limit(name: str, title: str) -> int | None:
    return st.number_input(
        title, min_value=1, max_value=MAX_OWN, value=None, key=f"host_key_{name}", placeholder=_("as every visitor")
    )


def _just_made() -> None:
    made: tuple[str, str] | None = st.session_state.get(MADE)
    if made is None:
        return
    secret, name = made
    once = _("Copy it now: it is shown this once and kept nowhere.")
    with st.container(border=True, key="host_key_secret"):
        st.html(
            f'<div class="t2i-prompt">{esc(_("The key of {name}", name=quoted(name)))}</div>'
            f'<div class="t2i-meta" role="status">{esc(once)}</div>'
        )
        st.code(secret, language=None, wrap_lines=True)
        st.caption(_("How a program shows it; the button in the corner of each box copies what is in it."))
        address = _address()
        st.code(f'curl -H "Authorization: Bearer {secret}" {address}/api/v1/me', language="bash", wrap_lines=True)
        st.code(
            f'from openai import OpenAI\n\nclient = OpenAI(base_url="{address}/v1", api_key="{secret}")',
            language="python",
            wrap_lines=True,
        )
        st.button(_("I have copied it"), key="host_key_copied", icon=":material/check:", on_click=_forget)


def _address() -> str:
    """Where the studio is: as the host has set it, else as it was opened here."""
    opened = urlsplit(st.context.url or "http://127.0.0.1:8501")
    return (the_settings().public_url or f"{opened.scheme}://{opened.netloc}").rstrip("/")


def _forget() -> None:
    st.session_state.pop(MADE, None)


def _key(key: Key) -> None:
    facts = [_(MAY[key.scope])]
    if key.max_queued:
        facts.append(ngettext("{n} waiting", "{n} waiting", key.max_queued))
    if key.max_per_hour:
        facts.append(ngettext("{n} an hour", "{n} an hour", key.max_per_hour))
    facts.append(_("made {ago}", ago=ago(key.created_at)))
    if key.revoked_at is not None:
        facts.append(_("revoked {ago}", ago=ago(key.revoked_at)))
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", key=f"row_key_{key.id}"):
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(key.name)}</bdi></div>'
            f'<div class="t2i-meta">{esc(" · ".join(facts))}</div>'
        )
        if key.revoked_at is None:
            st.button(
                _("Revoke"),
                key=f"revoke_{key.id}",
                icon=":material/key_off:",
                on_click=_revoke,
                args=(key.id,),
                help=_("Nobody is let in with it any more; what it has asked for stays"),
            )


def _revoke(key_id: str) -> None:
    _forget()
    act(keys.revoke_key, key_id)
