"""What each value of a setting does for a picture: the strength of a picture is the sum of those of its settings.

Bradley-Terry with covariates (Springall 1973, Applied Statistics 22), within one engine. Settings that were only ever
changed together are rated together, since votes cannot tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ratings.bootstrap import rate
from ratings.bradley_terry import Array

MIN_VOTES = 10  # between pictures that differ in the setting, one of which has the value
MAX_VALUES = 8
MAX_SETTINGS = 8


@dataclass(frozen=True)
class Effect:
    """One value of a setting in logits, beside the mean of the setting's values shown."""

    setting: str
    value: str
    theta: float
    low: float
    high: float
    votes: int


@dataclass(frozen=True)
class _Setting:
    name: str
    values: list[str]
    first: NDArray[np.int64]  # (votes,) places in values, -1 where this vote says nothing about the setting
    second: NDArray[np.int64]


def effects(
    first: Sequence[Mapping[str, str]],
    second: Sequence[Mapping[str, str]],
    share: Array,
    weight: Array,
    voter: NDArray[np.int64],
) -> list[Effect]:
    """The values of the settings that differed in enough votes, the settings with most votes first.

    first, second: the settings of the two pictures of each vote. share, weight, voter: as bootstrap.rate takes them.
    """
    names = sorted({name for settings in (*first[:1000], *second[:1000]) for name in settings})
    found = [setting for name in names if (setting := _setting(name, first, second)) is not None]
    found.sort(key=lambda setting: -int((setting.first >= 0).sum()))
    chosen = _together(found)[:MAX_SETTINGS]
    if not chosen:
        return []
    items = [(n, value) for n, setting in enumerate(chosen) for value in setting.values]
    offsets = np.cumsum([0, *(len(setting.values) for setting in chosen)])
    columns, rows, signs = [], [], []
    for (n, setting), sign in product(enumerate(chosen), (1.0, -1.0)):
        side = setting.first if sign > 0 else setting.second
        known = np.flatnonzero(side >= 0)
        columns.append(side[known] + offsets[n])
        rows.append(known)
        signs.append(np.full(len(known), sign))
    place = (np.concatenate(rows), np.concatenate(columns))
    design = sparse.csr_array((np.concatenate(signs), place), shape=(len(share), len(items)))
    known = np.flatnonzero(np.diff(design.indptr))
    family = np.array([n for n, _ in items])
    rated = rate(design[known], share[known], weight[known], voter[known], family=family)
    return [
        Effect(
            chosen[n].name, value, float(rated.theta[i]), float(rated.low[i]), float(rated.high[i]), int(rated.votes[i])
        )
        for i, (n, value) in enumerate(items)
    ]


def _setting(name: str, first: Sequence[Mapping[str, str]], second: Sequence[Mapping[str, str]]) -> _Setting | None:
    """The setting with its most compared values; None where votes say too little about it."""
    pairs = [(a.get(name), b.get(name)) for a, b in zip(first, second, strict=True)]
    count: dict[str, int] = {}
    for one, other in pairs:
        if one != other and one is not None and other is not None:
            count[one] = count.get(one, 0) + 1
            count[other] = count.get(other, 0) + 1
    often = sorted((value for value in count if count[value] >= MIN_VOTES), key=lambda value: -count[value])
    if len(often) < 2:
        return None
    values = sorted(often[:MAX_VALUES], key=_in_order)
    place = {value: n for n, value in enumerate(values)}
    sides = np.array([(place.get(a or "", -1), place.get(b or "", -1)) for a, b in pairs], np.int64)
    sides[(sides.min(1) < 0) | (sides[:, 0] == sides[:, 1])] = -1
    return _Setting(name, values, sides[:, 0], sides[:, 1])


def _together(settings: list[_Setting]) -> list[_Setting]:
    """Settings whose values always changed with each other become one, as "width, height"."""
    groups: dict[bytes, list[_Setting]] = {}
    for setting in settings:
        # Values numbered in the order in which they appear: equal for two settings that change together.
        sides = np.concatenate([setting.first, setting.second])
        _, where, number = np.unique(sides, return_index=True, return_inverse=True)
        groups.setdefault(np.argsort(np.argsort(where))[number].tobytes(), []).append(setting)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[_Setting]) -> _Setting:
    leader = group[0]
    if len(group) == 1:
        return leader
    values = []
    for n in range(len(leader.values)):
        at = int(np.flatnonzero(np.concatenate([leader.first, leader.second]) == n)[0])
        values.append(", ".join(s.values[int(np.concatenate([s.first, s.second])[at])] for s in group))
    return _Setting(", ".join(s.name for s in group), values, leader.first, leader.second)


def _in_order(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value
