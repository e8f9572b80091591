"""Whether the clock was set while this process looked: its time beside a clock that nobody can set.

The studio's time (`db.engine.clock`) is that of a machine which may be set, or which slept. What is noticed here is a
jump ahead: leases seem to have run out then although nobody was silent for that long.
"""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass

import sqlalchemy as sa

STEP_S = 2.0  # a clock that is only corrected (0.05 % at most) is not this far off between two looks


@dataclass
class _Seen:
    """How far the clock is before the one that nobody sets, and when it was last seen to jump ahead; both in s."""

    offset: float
    jumped_at: float | None = None


_seen: weakref.WeakKeyDictionary[sa.Engine, _Seen] = weakref.WeakKeyDictionary()


def since_last(db: sa.Engine, now: float) -> float | None:
    """s since this process saw the clock of a database jump ahead; None: it has not. now: its time, in UTC s.

    The first look, when the database is opened, only notes where the clock stands.
    """
    even = time.monotonic()
    seen = _seen.setdefault(db, _Seen(now - even))
    if now - even - seen.offset > STEP_S:
        seen.jumped_at = even
    seen.offset = now - even
    return None if seen.jumped_at is None else even - seen.jumped_at
