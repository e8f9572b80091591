"""How fast a film goes: much time for what changes, little for what does not, and slower towards the end.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

MOVING_S, HOLD_S = 3.0, 1.5  # until the finished picture is reached, and how long it then stays
MIN_S = 0.6  # of the way from one frame to the next: films of a few frames are shorter
EVEN = 0.15  # share of the time that all frames have alike, whether anything changes or not
WEIGHT = 0.8  # exponent: 0 gives all frames the same time, 1 each as much as it changes
_SIDE = 32  # px at which frames are compared


def moving_s(count: int) -> float:
    """Seconds until a film of so many frames shows the last of them."""
    return min(MOVING_S, MIN_S * (count - 1))


def changes(frames: Sequence[Image.Image]) -> list[float]:
    """How much each frame differs from the one before it: one number fewer than frames, in [0, 255]."""
    box = Image.Resampling.BOX
    small = [np.asarray(frame.resize((_SIDE, _SIDE), box), dtype=np.float64) for frame in frames]
    return [float(np.abs(after - before).mean()) for before, after in pairwise(small)]


def positions(changed: Sequence[float], moments: int) -> list[float]:
    """Which frame is seen at each of so many moments, evenly apart: 0 at the first, len(changed) at the last.

    2.25 is a quarter of the way from frame 2 to 3. What changes more takes longer, but not as much longer as it changes
    more: a leap is shown quicker than many small steps that come as far.
    """
    if not changed or moments < 2:
        return [float(len(changed))] * max(moments, 1)
    taken = np.asarray(changed) ** WEIGHT
    even = np.full(len(taken), 1 / len(taken))
    share = EVEN * even + (1 - EVEN) * taken / taken.sum() if taken.any() else even
    reached = np.concatenate([[0.0], np.cumsum(share)]) / share.sum()
    found = np.interp(eased(np.linspace(0, 1, moments)), reached, np.arange(len(reached)))
    return [0.0, *map(float, found[1:-1]), float(len(changed))]


def eased(time: np.ndarray) -> np.ndarray:
    """Share of the time gone, in [0, 1] -> share of the way: it starts gently and comes to rest slowly."""
    made: np.ndarray = 1 - (1 - time**1.3) ** 2
    return made


def moment_of(frame: float, shown: Sequence[float]) -> int:
    """The moment at which a frame is to be seen most nearly alone, where `shown` is what `positions` gives."""
    return int(np.abs(np.asarray(shown) - frame).argmin())
