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
from pages.shared.language import N_, _, chosen_in_words, named, ngettext
from pages.shared.studio import the_studio
from pages.shared.text import ago, duration, esc, label, size
from studio import host, moderation
from studio.moderation import Bulk

SHOWN = 50
HOUR_S = 3600.0
BANS = {N_("1 hour"): HOUR_S, N_("12 hours"): 12 * HOUR_S, N_("7 days"): 168 * HOUR_S, N_("until lifted"): None}
# What is done to the chosen: the key of the button, its word and its tip, its icon, and what it does.
_BULK = (
    (
        "cancel",
        N_("Cancel chosen"),
        N_("Cancel: all visitors and addresses whose box is ticked"),
        "close",
        {"cancel": True},
    ),
    (
        "hide",
        N_("Hide chosen"),
        N_("Hide: all visitors and addresses whose box is ticked"),
        "visibility_off",
        {"hide": True},
    ),
    ("ban", N_("Ban chosen"), N_("Ban: all visitors and addresses whose box is ticked"), "block", {"ban": True}),
    (
        "ban_and_hide",
        N_("Ban and hide chosen"),
        N_("Ban and hide: all visitors and addresses whose box is ticked"),
        "gavel",
        {"ban": True, "hide": True},
    ),
)


def visitors_section() -> None:
    """Addresses, then visitors, each with a box to choose it; what is done to the chosen stands above them."""
    with plain_errors(for_host=True):
        people = moderation.people(the_studio(), the_host(), limit=SHOWN)
        addresses = moderation.addresses(the_studio(), the_host(), limit=SHOWN)
        if not people and not addresses:
            empty_state(_("Nobody yet"), _("Visitors are listed here once they have asked for a picture or voted."))
            return
        st.caption(
            _(
                "A visitor is a browser; an address is a household, a network or a room. A ban ends what they have in "
                "progress. Whoever is banned can still look, and you can always sign in here."
            )
        )
        _bulk(people, addresses)
        if addresses:
            st.header(_("Addresses"), anchor=False)
        for one in addresses:
            _address(one)
        st.header(_("Visitors"), anchor=False)
        for one in people:
            _visitor(one)


def _bulk(people: Sequence[Doings], addresses: Sequence[Doings]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="bulk_actions"):
        st.selectbox(
            _("Addresses are banned for"),
            list(BANS),
            index=1,
            key=chosen_in_words("ban_for"),
            format_func=named(BANS),
            width=240,
        )
        for name, word, tip, icon, what in _BULK:
            st.button(
                _(word),
                key=f"bulk_{name}",
                icon=f":material/{icon}:",
                on_click=_act,
                args=([one.id for one in people], [one.id for one in addresses], what),
                help=_(tip),
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
    parts = []
    if done.cancelled:
        parts.append(ngettext("{n} ended", "{n} ended", done.cancelled))
    if done.hidden:
        parts.append(ngettext("{n} hidden", "{n} hidden", done.hidden))
    if banned:
        parts.append(ngettext("{n} banned", "{n} banned", banned))
    with st.container(horizontal=True, vertical_alignment="center", key=f"row_done_{done.id}"):
        text = f"{ago(done.at)}: {', '.join(parts) or _('nothing was to be done')}"
        st.html(f'<div class="t2i-meta" role="status">{esc(text)}</div>')
        tip = _("Show again what was hidden and lift the bans")
        _button("undo", _("Undo"), "undo", moderation.undo, done.id, tip)


def _address(one: Doings) -> None:
    facts = [ngettext("{n} visitor", "{n} visitors", one.visitors), _counts(one)]
    if one.banned_at and one.banned_until is not None:
        left = duration(max(one.banned_until - time.time(), 1.0))
        facts.insert(0, _("Banned for {duration}", duration=left))
    elif one.banned_at:
        facts.insert(0, _("Banned"))
    with _row("address", one, place_called(one.id)):
        st.html(
            f'<div class="t2i-prompt">{esc(place_called(one.id))}</div>'
            f'<div class="t2i-meta">{esc(" · ".join(facts))}</div>'
        )
        if one.banned_at:
            _lift(one, moderation.lift_address, _("Lift the ban: this address"))


def _visitor(one: Doings) -> None:
    name = called(one.id, {one.id: one.name} if one.name else {})
    facts = [_("Banned")] if one.banned_at else []
    facts += [_counts(one)] if one.address is None else [_counts(one), place_called(one.address)]
    with _row("visitor", one, name):
        st.html(
            f'<div class="t2i-prompt"><bdi>{esc(name)}</bdi></div><div class="t2i-meta">{esc(" · ".join(facts))}</div>'
        )
        if one.banned_at:
            _lift(one, host.lift_ban, _("Lift the ban: this visitor"))


def _row(kind: str, one: Doings, name: str) -> st.delta_generator.DeltaGenerator:
    row = st.container(
        horizontal=True, wrap=False, vertical_alignment="center", key=f"row_{kind}_{tables.alias(one.id)}"
    )
    row.checkbox(label(_("Choose {name}", name=name)), key=_box(kind, one.id), label_visibility="collapsed")
    return row


def _box(kind: str, who: str) -> str:
    """Named by what leads nowhere: keys stand in the page."""
    return f"chosen_{kind}_{tables.alias(who)}"


def _counts(one: Doings) -> str:
    """What they did, in one line."""
    parts = [ngettext("{n} job", "{n} jobs", one.asked)]
    if one.waiting:
        parts.append(ngettext("{n} waiting", "{n} waiting", one.waiting))
    if one.running:
        parts.append(ngettext("{n} running", "{n} running", one.running))
    if one.votes:
        parts.append(ngettext("{n} vote", "{n} votes", one.votes))
    if one.uploads:
        parts.append(ngettext("{n} picture sent", "{n} pictures sent", one.uploads))
    if one.datasets:
        given = size(one.dataset_bytes)
        parts.append(ngettext("{n} dataset of {size}", "{n} datasets of {size}", one.datasets, size=given))
    if one.last_at is not None and one.first_at is not None:
        first, last = ago(one.first_at), ago(one.last_at)
        parts.append(last if first == last else _("{first} to {last}", first=first, last=last))
    return ", ".join(parts)


def place_called(address: str) -> str:
    """A short name for an address, which is kept as a hash alone."""
    return _("address {id}", id=address[:6])


def _lift(one: Doings, action: object, tip: str) -> None:
    _button("lift_the_ban", _("Lift the ban"), "how_to_reg", action, one.id, tip)


def _button(name: str, word: str, icon: str, action: object, who: str, tip: str) -> None:
    st.button(
        word,
        key=f"{name}_{tables.alias(who)}",
        icon=f":material/{icon}:",
        on_click=act,
        args=(action, who),
        help=tip,
    )
