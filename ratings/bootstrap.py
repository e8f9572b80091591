"""Ratings with intervals: how far the strengths might be from what these votes by these voters say.

Every replicate weighs the voters anew by random draws of mean 1 (the Bayesian bootstrap, Rubin 1981, Annals of
Statistics 9) and draws the centre of the prior of each item (randomised priors, Osband et al. 2018, arXiv:1806.03335,
section 3), so that an item with hardly any votes gets a wide interval and not a point. One voter's votes go together
since they share a taste; where there are few voters, each vote is drawn for itself: three voters cannot be resampled.
The draws are Gamma(1/k, k) with variance k = n / (n - p) for n votes and p strengths fitted to them: the fit follows
its own votes too closely, by so much (as HC1 in MacKinnon & White 1985, J. of Econometrics 29); Rubin's is k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ratings.bradley_terry import PRIOR_SD, Array, fit

LEVEL = 0.95
MIN_VOTERS = 20

# Numbers in the arrays of the replicates that are fitted together; there are some twenty such arrays of 8 bytes each.
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Ratings:
    """Strengths of items in logits, (items,) each. The middle of each family of items is 0."""

    theta: Array
    low: Array
    high: Array
    votes: NDArray[Any]  # how many votes each item was in, unweighted


def rate(
    design: sparse.csr_array,
    share: Array,
    weight: Array,
    voter: NDArray[np.int64],
    *,
    family: NDArray[np.int64] | None = None,
    replicates: int = 400,
    seed: int = 0,
) -> Ratings:
    """Strengths with intervals that hold the truth LEVEL of the time.

    design: (votes, items), see bradley_terry.contests. share: (votes,) 1 where the +1 side won, 0 where it lost, 0.5
    for a tie. weight: (votes,) see influence.weights. voter: (votes,) numbers from 0. family: (items,) numbers from 0;
    only differences within a family are known from votes, so each family's mean is 0. None: one family.
    """
    items = design.shape[1]
    family = np.zeros(items, np.int64) if family is None else family
    unit = voter if len(np.unique(voter)) >= MIN_VOTERS else np.arange(len(voter))
    design, row = _distinct(design)
    cells = (row, unit)
    shape = (design.shape[0], int(unit.max(initial=-1)) + 1)
    played = sparse.csr_array((weight, cells), shape=shape)
    won = sparse.csr_array((weight * share, cells), shape=shape)
    ones = np.ones((shape[1], 1))
    best = fit(design, won @ ones, played @ ones)
    looseness = _looseness(design, (played @ ones)[:, 0], best[:, 0])
    rng = np.random.default_rng(seed)
    drawn = []
    together = max(1, min(50, _AT_ONCE // (design.shape[0] + items + 1)))
    for begin in range(0, replicates, together):
        size = min(together, replicates - begin)
        multiplier = rng.gamma(1 / looseness, looseness, (shape[1], size))
        anchor = rng.normal(0, PRIOR_SD, (items, size))
        theta = fit(design, won @ multiplier, played @ multiplier, anchor=anchor, start=best, tolerance=1e-2)
        drawn.append(_centred(theta, family))
    spread = np.concatenate(drawn, 1)
    # Weibull's positions: the share of the replicates outside is right for few replicates too.
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1, method="weibull")
    votes = np.bincount(design.indices, np.bincount(row, minlength=shape[0])[_rows(design)], minlength=items)
    return Ratings(_centred(best, family)[:, 0], low, high, votes)


def _looseness(design: sparse.csr_array, played: Array, theta: Array) -> float:
    """n / (n - p), p being the strengths that the votes rather than the prior decide; at most 4."""
    chance = 1 / (1 + np.exp(-(design @ theta)))
    information = abs(design).T @ (played * chance * (1 - chance))
    fitted = float((information / (information + PRIOR_SD**-2)).sum())
    votes = float(played.sum())
    return min(4.0, votes / max(votes - fitted, 1e-9)) if votes else 1.0


def _centred(theta: Array, family: NDArray[np.int64]) -> Array:
    size = np.bincount(family)
    mean = np.stack([np.bincount(family, column) for column in theta.T], 1) / np.maximum(size, 1)[:, None]
    return theta - mean[family]


def _distinct(design: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.int64]]:
    """The different rows of the design, and which of them each row is: votes on the same pair are fitted as one."""
    design = design.tocsr().sorted_indices()
    # Rows are told apart by random projections: two different ones agree in both with a chance of 2^-100.
    keys = design @ np.random.default_rng(0).normal(size=(design.shape[1], 2))
    _, chosen, row = np.unique(keys.round(9), axis=0, return_index=True, return_inverse=True)
    return design[chosen], row.ravel()


def _rows(design: sparse.csr_array) -> NDArray[np.int64]:
    return np.repeat(np.arange(design.shape[0]), np.diff(design.indptr))
