"""Strengths from comparisons of two: the Bradley-Terry model, fitted for many weightings of the votes at once.

The chance that item i is preferred to item j is sigma(theta_i - theta_j) (Bradley & Terry 1952, Biometrika 39). A tie
is half a win for both. theta has a normal prior, theta ~ N(anchor, PRIOR_SD^2), so that one win does not make an item
infinitely good and the maximum exists whatever the votes are (for the conditions without a prior see Ford 1957). It is
found by Newton's method, the steps by preconditioned conjugate gradients (Nocedal & Wright 2006, Numerical
Optimization, algorithms 5.3 and 7.1).

A contest is a row of the design matrix: +1 at one item and -1 at the other, or, where a picture's strength is the sum
of the strengths of its settings (Springall 1973, Applied Statistics 22), several of both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]

# In logits: of two pictures whose strengths differ by so much, the better one wins 73 % of the time.
PRIOR_SD = 1.0

# 400 points are odds of 10 to 1, as in Elo's ratings of chess players.
POINTS_PER_LOGIT = 400 / np.log(10)
MIDDLE = 1000

_MAX_ITERATIONS = 100


class NotConverged(ArithmeticError):
    """The strengths could not be found; weights and shares of wins must be finite and not negative."""


def points(theta: Array) -> Array:
    """Strengths in logits as points: 1000 is the middle, 100 more win 64 % of the time."""
    shown: Array = MIDDLE + POINTS_PER_LOGIT * theta
    return shown


def fit(
    design: sparse.csr_array,
    won: Array,
    played: Array,
    *,
    anchor: Array | float = 0.0,
    start: Array | None = None,
    tolerance: float = 1e-6,
) -> Array:
    """The strengths (items, R) in logits under R weightings of the contests.

    design: (contests, items). won, played: (contests, R) weight of the votes for the +1 side and of all votes, 0 <= won
    <= played. anchor: the mean of the prior, (items, R) or one number. start: (items, R) or (items, 1), a guess.
    tolerance: the largest slope that is left, in votes.
    """
    backward = design.T.tocsr()
    squared = abs(backward)
    squared.data **= 2
    shape = (design.shape[1], played.shape[1])
    theta = np.zeros(shape) if start is None else np.array(np.broadcast_to(start, shape), float)
    anchor = np.broadcast_to(np.asarray(anchor, float), shape)
    precision = PRIOR_SD**-2

    def cost(theta: Array, margin: Array) -> Array:
        votes = (played * np.logaddexp(0, margin) - won * margin).sum(0)
        return np.asarray(votes + precision / 2 * ((theta - anchor) ** 2).sum(0))

    margin = design @ theta
    now = cost(theta, margin)
    for _ in range(_MAX_ITERATIONS):
        chance = 1 / (1 + np.exp(-margin))
        slope = backward @ (played * chance - won) + precision * (theta - anchor)
        if not np.isfinite(slope).all():
            break
        if np.abs(slope).max(initial=0.0) <= tolerance:
            return theta
        curve = played * chance * (1 - chance)
        step = _solve(design, backward, curve, squared @ curve + precision, -slope)
        sideways = design @ step
        length = np.ones(shape[1])
        # A full step may go too far where an item has won everything; the cost is convex, so a shorter one is better.
        for _ in range(30):
            later = cost(theta + length * step, margin + length * sideways)
            worse = later > now + 1e-9 * (1 + np.abs(now))
            if not worse.any():
                break
            length[worse] /= 2
        theta, margin, now = theta + length * step, margin + length * sideways, later
    raise NotConverged(NotConverged.__doc__)


def _solve(design: sparse.csr_array, backward: sparse.csr_array, curve: Array, diagonal: Array, right: Array) -> Array:
    """Solves (X' diag(curve) X + I / PRIOR_SD^2) step = right for each column, to a thousandth of its length."""
    step = np.zeros_like(right)
    left = right.copy()
    scaled = left / diagonal
    direction = scaled.copy()
    energy = (left * scaled).sum(0)
    enough = 1e-6 * energy
    for _ in range(4 * _MAX_ITERATIONS):
        if (energy <= enough).all():
            break
        bent = backward @ (curve * (design @ direction)) + PRIOR_SD**-2 * direction
        length = energy / np.maximum((direction * bent).sum(0), 1e-300)
        length[energy <= enough] = 0
        step += length * direction
        left -= length * bent
        scaled = left / diagonal
        before, energy = energy, (left * scaled).sum(0)
        direction = scaled + energy / np.maximum(before, 1e-300) * direction
    return step


def covariance(design: sparse.csr_array, played: Array, theta: Array) -> Array:
    """The (items, items) covariance of the strengths by Laplace's approximation, for some hundred items at most.

    played: (contests,). theta: (items,).
    """
    chance = 1 / (1 + np.exp(-(design @ theta)))
    weighted = design.multiply((played * chance * (1 - chance))[:, None])
    precision = (design.T @ weighted).toarray() + np.eye(design.shape[1]) * PRIOR_SD**-2
    return np.asarray(np.linalg.inv(precision))


def contests(first: NDArray[np.int64], second: NDArray[np.int64], items: int) -> sparse.csr_array:
    """The design (len(first), items) of contests between two items each: +1 at first, -1 at second."""
    rows = np.repeat(np.arange(len(first)), 2)
    columns = np.stack([first, second], 1).ravel()
    return sparse.csr_array((np.tile([1.0, -1.0], len(first)), (rows, columns)), shape=(len(first), items))
