"""The ratings as of a moment ago, worked out once for all sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import sqlalchemy as sa
import streamlit as st

from ratings.bradley_terry import MIDDLE
from studio.standings import NEWER_WAIT_S, Keeper


@st.cache_resource(show_spinner=False)
def keeper() -> Keeper:
    """The one of this process."""
    return Keeper()


def work_out(opened: Callable[[], sa.Engine]) -> None:
    """In a thread, as the server starts: the first ratings take seconds, in which pages would be slow."""

    def work() -> None:
        with suppress(Exception):  # no database yet, or none that can be read: pages say so
            keeper().current(opened(), 0.0)

    threading.Thread(target=work, daemon=True).start()


def best_first(db: sa.Engine) -> list[str]:
    """The ids of the pictures that did best, in the order of the Leaderboard, but for those below the middle.

    Empty until there are ratings. What votes count for is in the ratings: a flood of them changes their number alone.
    """
    try:
        found = keeper().current(db, NEWER_WAIT_S)
    except Exception:  # said in the log already; who asks has other things to show
        return []
    return [] if found is None else [rated.name for rated in found.best if rated.rating > MIDDLE]
