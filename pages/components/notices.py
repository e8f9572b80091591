"""What a page says where nothing is drawn: the queue is paused, no executor runs, there is nothing to show."""

from __future__ import annotations

import streamlit as st

from db.queue import workers
from pages.shared.errors import sentence
from pages.shared.language import N_, _
from pages.shared.studio import house_rules, the_studio
from pages.shared.text import esc, label
from studio import room

PAUSED = N_("The host has paused the queue. What you ask for waits, and starts when it goes on.")
NO_EXECUTOR = N_("No executor is running. Start one: python job_executor.py")


def paused_note() -> bool:
    """Say so where the host has paused the queue, and whether that is so."""
    paused = house_rules().paused
    say_standstill(paused, False)
    return paused


def disk_note(*, for_host: bool = False) -> bool:
    """Say so where a disk is nearly full and nothing new is taken, and whether it is. for_host: with the figures."""
    full = room.nearly_full(the_studio())
    if full is not None:
        st.error(label(sentence(full, for_host=for_host)), icon=":material/disc_full:")
    return full is not None


def executor_missing() -> bool:
    """Say so where nothing would run a job, or the host has paused the queue; whether nothing would."""
    return say_standstill(*standstill())


def standstill() -> tuple[bool, bool]:
    """Whether the host has paused the queue, and whether no executor runs."""
    return house_rules().paused, not workers.live(the_studio().db)


def say_standstill(paused: bool, missing: bool) -> bool:
    """What of `standstill` is so, for visitors; whether no executor runs."""
    if paused:
        st.info(_(PAUSED), icon=":material/pause_circle:")
    if missing:
        st.warning(_(NO_EXECUTOR), icon=":material/power_off:")
    return missing


def empty_state(title: str, text: str, *, page: str | None = None, link: str = "") -> None:
    """What to do where there is nothing to show."""
    with st.container(key="empty_state", horizontal_alignment="center"):
        st.html(f'<div class="t2i-empty"><strong>{esc(title)}</strong><p>{esc(text)}</p></div>')
        if page is not None:
            st.page_link(page, label=link, icon=":material/arrow_forward:")
