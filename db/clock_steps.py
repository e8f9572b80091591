"""Whether the clock was set while this process looked: its time beside a clock that nobody can set.

The studio's time (`db.engine.clock`) is that of a machine which may be set, or which slept. After a jump ahead leases
seem to have run out although nobody was silent for that long; after one back they reach further ahead than they are
long, although whoever holds them is at work. Both are known better once there was the time to renew them.
"""

from __future__ import annotations

import math
import time
import weakref
from dataclasses import dataclass

import sqlalchemy as sa

STEP_S = 2.0  # a clock that is only corrected (0.05 % at most) is not this far off between two looks


@dataclass
class _Seen:
    """How far the clock is before the one that nobody sets, and when it was last seen to jump ahead and back, in s."""

    offset: float
    ahead_at: float
    back_at: float


@dataclass(frozen=True)
class Since:
    """s since the clock was last set ahead and back; of what was never seen, infinity."""

    ahead_s: float
    back_s: float


_seen: weakref.WeakKeyDictionary[sa.Engine, _Seen] = weakref.WeakKeyDictionary()


def since_last(db: sa.Engine, now: float) -> Since:
    """How long ago this process saw the clock of a database make a step. now: its time, in UTC s.

    The first look, when the database is opened, notes where the clock stands: it may have been set back just before.
    """
    even = time.monotonic()
    seen = _seen.setdefault(db, _Seen(now - even, ahead_at=-math.inf, back_at=even))
    step = now - even - seen.offset
    if step > STEP_S:
        seen.ahead_at = even
    elif step < -STEP_S:
        seen.back_at = even
    seen.offset = now - even
    return Since(even - seen.ahead_at, even - seen.back_at)
