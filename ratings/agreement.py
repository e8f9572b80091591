"""How often something that can be measured sides with the voters: a share with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ratings.bradley_terry import Array

Z = 1.96  # of a two-sided 95 % interval


@dataclass(frozen=True)
class Share:
    """A share of `votes` votes in [0, 1], and the interval that holds the true one 95 % of the time."""

    value: float
    low: float
    high: float
    votes: int


def share(agrees: Array, weight: Array) -> Share | None:
    """The weighted share of votes that agree, with Wilson's interval (1927, J. Am. Statistical Association 22).

    agrees: (n,) 1, 0, or 0.5 for half. Weights count as Kish's effective number of votes. None without votes.
    """
    total = float(weight.sum())
    if total <= 0:
        return None
    value = float((agrees * weight).sum()) / total
    n = total**2 / float((weight**2).sum())
    middle = (value + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * float(np.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2)))
    return Share(value, max(middle - reach, 0.0), min(middle + reach, 1.0), int((weight > 0).sum()))
