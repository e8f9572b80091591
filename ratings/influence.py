"""What one voter may count for: about as much as the typical voter, on a picture and in all.

A voter who goes through every pair, or who comes back only to push one picture, repeats one opinion. The median voter
sets the measure: it cannot be moved by fewer than half of the voters (Hampel et al. 1986, Robust Statistics).

Voters' ids cost nothing, addresses do. An address from which most of the votes on most pictures come is the room, and
is heard like everybody, though on no picture for much more than on its others; any other counts on a picture for a
quarter of what the others there do. So a flood of ids behind one address has a fifth of a picture, until it outvotes
the whole evening on most of its pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Visitors often vote two or three times; those who vote more often are heard in full up to this many votes.
HEARD_IN_FULL = 10.0
# All votes of one address on one picture may count for so much in any case, and for a quarter of those of the others.
ADDRESS_HEARD = 3.0
OF_OTHERS = 0.25
# Who has been known for less than this, in s, when they vote, counts for FRESH_COUNTS.
FRESH_S = 600.0
FRESH_COUNTS = 0.5


def weights(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    voter: NDArray[np.int64],
    pictures: int,
    *,
    address: NDArray[np.int64] | None = None,
    fresh: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """What each vote counts for, in (0, 1].

    first, second: (n,) the pictures' numbers below `pictures`. voter: (n,) numbers from 0.
    Together a voter's votes on one picture count for at most twice as many votes as the median voter gives to a picture
    they see, and all votes of a voter for at most as many as the median voter gives, or HEARD_IN_FULL.
    address: (n,) numbers from 0, below 0 where it is not known: the votes of one on one picture count together for at
    most ADDRESS_HEARD or OF_OTHERS of what the other votes on it do; those of the room, from which at least half of the
    votes on at least half of the pictures come, for twice what they do on its median picture. fresh: (n,) whose voters
    were not known for FRESH_S; they count for FRESH_COUNTS.
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
    found = np.asarray(counted * np.minimum(1.0, allowed / np.bincount(voter, counted)[voter]))
    if fresh is not None:
        found = np.where(fresh, FRESH_COUNTS * found, found)
    return found if address is None else found * _of_addresses(first, second, address, found, pictures)


def _of_addresses(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    address: NDArray[np.int64],
    weight: NDArray[np.float64],
    pictures: int,
) -> NDArray[np.float64]:
    """The share of each vote that is left where an address has more than it may on one of the two pictures."""
    known = address >= 0
    picture = np.concatenate([first[known], second[known]])
    heard = np.tile(weight[known], 2)
    cells, place = np.unique(np.tile(address[known], 2) * pictures + picture, return_inverse=True)
    of_address = np.bincount(place, heard, len(cells))
    of_all = np.bincount(first, weight, pictures) + np.bincount(second, weight, pictures)
    whose, where = cells // pictures, cells % pictures
    allowed = np.maximum(ADDRESS_HEARD, OF_OTHERS * (of_all[where] - of_address))
    voted = of_all > 0
    most = np.bincount(whose[2 * of_address >= of_all[where]], minlength=1)
    for room in np.flatnonzero(2 * most >= voted.sum()):
        own = whose == room
        on_each = np.bincount(where[own], of_address[own], pictures)[voted]
        allowed[own] = max(ADDRESS_HEARD, 2 * float(np.median(on_each)))
    left = np.minimum(1.0, allowed / np.maximum(of_address, 1e-300))[place]
    share = np.ones(len(first))
    share[known] = np.minimum(left[: len(left) // 2], left[len(left) // 2 :])
    return share
