"""The visitors: one look at who did what, by address and by browser, and what is done about several of them at once."""

from __future__ import annotations

import time
from collections.abc import Sequence

import streamlit as st

from db.evening import tables
from db.evening.bulk import Action, Doings
from pages.components.notices import empty_state
from pages.hosting.queue import act, called
from pages.hosting.sign_in import the_host
from pages.shared.errors import plain_errors
from pages.shared.studio import the_studio
from pages.shared.text import ago, duration, esc, label, size
from studio import host, moderation
from studio.moderation import Bulk

SHOWN = 50
HOUR_S = 3600.0
BANS = {"1 hour": HOUR_S, "12 hours": 12 * HOUR_S, "7 days": 168 * HOUR_S, "until lifted": None}


def visitors_section() -> None:
    """Addresses, then visitors, each with a box to choose it; what is done to the chosen stands above them."""
    with plain_errors(for_host=True):
        people = moderation.people(the_studio(), the_host(), limit=SHOWN)
        addresses = moderation.addresses(the_studio(), the_host(), limit=SHOWN)
        if not people and not addresses:
            empty_state("Nobody yet", "Visitors are listed here once they have asked for a picture or voted.")
            return
        st.caption(
            "A visitor is a browser; an address is a household, a network or a room. A ban ends what they have in "
            "progress. Whoever is banned can still look, and you can always sign in here."
        )
        _bulk(people, addresses)
        if addresses:
            st.header("Addresses", anchor=False)
        for one in addresses:
            _address(one)
        st.header("Visitors", anchor=False)
        for one in people:
            _visitor(one)


def _bulk(people: Sequence[Doings], addresses: Sequence[Doings]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="bulk_actions"):
        st.selectbox("Addresses are banned for", list(BANS), index=1, key="ban_for", width=180)
        for word, icon, what in (
            ("Cancel", "close", {"cancel": True}),
            ("Hide", "visibility_off", {"hide": True}),
            ("Ban", "block", {"ban": True}),
            ("Ban and hide", "gavel", {"ban": True, "hide": True}),
        ):
            st.button(
                f"{word} chosen",
                key=f"bulk_{word.lower().replace(' ', '_')}",
                icon=f":material/{icon}:",
                on_click=_act,
                args=([one.id for one in people], [one.id for one in addresses], what),
                help=f"{word}: all visitors and addresses whose box is ticked",
            )
    for done in moderation.actions(the_studio(), the_host()):
        if done.undone_at is None:
            _done(done)


def _act(people: Sequence[str], addresses: Sequence[str], what: dict[str, bool]) -> None:
    chosen = [who for who in people if st.session_state.get(_box("visitor", who))]
    places = [where for where in addresses if st.session_state.get(_box("address", where))]
    wanted = Bulk(visitors=chosen, addresses=places, ban_s=BANS[st.session_state["ban_for"]], **what)
    with plain_errors(for_host=True):
        moderation.act(the_studio(), the_host(), wanted)
        for box in (*(_box("visitor", who) for who in chosen), *(_box("address", where) for where in places)):
            st.session_state[box] = False


def _done(done: Action) -> None:
    banned = len(done.visitors) + len(done.addresses)
    counts = ((done.cancelled, "ended"), (done.hidden, "hidden"), (banned, "banned"))
    parts = [f"{count} {what}" for count, what in counts if count]
    with st.container(horizontal=True, vertical_alignment="center", key=f"row_done_{done.id}"):
        text = f"{ago(done.at)}: {', '.join(parts) or 'nothing was to be done'}"
        st.html(f'<div class="t2i-meta" role="status">{esc(text)}</div>')
        _button("Undo", "undo", moderation.undo, done.id, "Show again what was hidden and lift the bans")


def _address(one: Doings) -> None:
    people = "1 visitor" if one.visitors == 1 else f"{one.visitors} visitors"
    until = "" if one.banned_until is None else f" for {duration(max(one.banned_until - time.time(), 1.0))}"
    with _row("address", one, place_called(one.id)):
        st.html(
            f'<div class="t2i-prompt">{esc(place_called(one.id))}</div>'
            f'<div class="t2i-meta">{f"Banned{until} · " if one.banned_at else ""}{people} · {esc(_counts(one))}</div>'
        )
        if one.banned_at:
            _button("Lift the ban", "how_to_reg", moderation.lift_address, one.id, "Lift the ban: this address")


def _visitor(one: Doings) -> None:
    name = called(one.id, {one.id: one.name} if one.name else {})
    place = "" if one.address is None else f" · {place_called(one.address)}"
    with _row("visitor", one, name):
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(name)}</bdi></div>'
            f'<div class="t2i-meta">{"Banned · " if one.banned_at else ""}{esc(_counts(one))}{esc(place)}</div>'
        )
        if one.banned_at:
            _button("Lift the ban", "how_to_reg", host.lift_ban, one.id, "Lift the ban: this visitor")


def _row(kind: str, one: Doings, name: str) -> st.delta_generator.DeltaGenerator:
    row = st.container(
        horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{kind}_{tables.alias(one.id)}"
    )
    row.checkbox(label(f"Choose {name}"), key=_box(kind, one.id), label_visibility="collapsed")
    return row


def _box(kind: str, who: str) -> str:
    """Named by what leads nowhere: keys stand in the page."""
    return f"chosen_{kind}_{tables.alias(who)}"


def _counts(one: Doings) -> str:
    """What they did, in one line."""
    parts = ["1 job" if one.asked == 1 else f"{one.asked} jobs"]
    parts += [f"{n} {what}" for n, what in ((one.waiting, "waiting"), (one.running, "running")) if n]
    if one.votes:
        parts.append("1 vote" if one.votes == 1 else f"{one.votes} votes")
    if one.uploads:
        parts.append("1 picture sent" if one.uploads == 1 else f"{one.uploads} pictures sent")
    if one.datasets:
        parts.append(f"{one.datasets} {'dataset' if one.datasets == 1 else 'datasets'} of {size(one.dataset_bytes)}")
    if one.last_at is not None and one.first_at is not None:
        parts.append(f"{ago(one.first_at)} to {ago(one.last_at)}" if _apart(one) else ago(one.last_at))
    return ", ".join(parts)


def _apart(one: Doings) -> bool:
    return ago(one.first_at or 0.0) != ago(one.last_at or 0.0)


def place_called(address: str) -> str:
    """A short name for an address, which is kept as a hash alone."""
    return f"address {address[:6]}"


def _button(label: str, icon: str, action: object, who: str, tip: str) -> None:
    st.button(
        label,
        key=f"{label.lower().replace(' ', '_')}_{tables.alias(who)}",
        icon=f":material/{icon}:",
        on_click=act,
        args=(action, who),
        help=tip,
    )
