"""Voters whose preferences are known, so that a test can ask whether the ratings find them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass
class Votes:
    """(n,) each: pictures first and second, the share of the vote that first got, and who voted."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: NDArray[np.float64]
    voter: NDArray[np.int64]

    def __add__(self, other: Votes) -> Votes:
        return Votes(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in self.__dataclass_fields__))


def vote(
    theta: NDArray[np.float64],
    *,
    votes: int,
    voters: int,
    seed: int,
    ties: float = 0.0,
    taste: NDArray[np.float64] | None = None,
) -> Votes:
    """Votes on random pairs by the Bradley-Terry model. theta: (items,), taste: (voters, items), in logits."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, len(theta), votes)
    second = (first + rng.integers(1, len(theta), votes)) % len(theta)
    voter = rng.integers(0, voters, votes)
    own = np.zeros((voters, len(theta))) if taste is None else taste
    ahead = theta[first] + own[voter, first] - theta[second] - own[voter, second]
    share = (rng.random(votes) < 1 / (1 + np.exp(-ahead))).astype(float)
    share[rng.random(votes) < ties] = 0.5
    return Votes(first, second, share, voter)


def stuff(pictures: int, favourite: int, voter: int) -> Votes:
    """One cookie, every pair: the favourite wins all of its pairs, and the others lose to the next one."""
    first, second = np.triu_indices(pictures, 1)
    share = np.where(second == favourite, 0.0, 1.0)
    return Votes(first, second, share, np.full(len(first), voter))
