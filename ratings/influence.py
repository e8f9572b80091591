"""What one voter may count for: about as much as the typical voter, on a picture and in all.

A voter who goes through every pair, or who comes back only to push one picture, repeats one opinion. The median voter
sets the measure: it cannot be moved by fewer than half of the voters (Hampel et al. 1986, Robust Statistics).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Visitors often vote two or three times; those who vote more often are heard in full up to this many votes.
HEARD_IN_FULL = 10.0


def weights(
    first: NDArray[np.int64], second: NDArray[np.int64], voter: NDArray[np.int64], pictures: int
) -> NDArray[np.float64]:
    """What each vote counts for, in (0, 1].

    first, second: (n,) the pictures' numbers below `pictures`. voter: (n,) numbers from 0.
    Together a voter's votes on one picture count for at most twice as many votes as the median voter gives to a picture
    they see, and all votes of a voter for at most as many as the median voter gives, or HEARD_IN_FULL.
    """
    if not len(voter):
        return np.ones(0)
    of_first, of_second = voter * pictures + first, voter * pictures + second
    seen, place, often = np.unique(np.concatenate([of_first, of_second]), return_inverse=True, return_counts=True)
    most = np.maximum(often[place[: len(voter)]], often[place[len(voter) :]])
    repeats = np.bincount(seen // pictures, often) / np.maximum(np.bincount(seen // pictures), 1)
    counted = np.minimum(1.0, 2 * float(np.median(repeats[repeats > 0])) / most)
    given = np.bincount(voter)
    allowed = max(HEARD_IN_FULL, float(np.median(given[given > 0])))
    return np.asarray(counted * np.minimum(1.0, allowed / np.bincount(voter, counted)[voter]))
