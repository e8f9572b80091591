"""All that the votes say, in one go: pictures, engines, models, settings, CLIP's agreement and the votes by time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ratings.agreement import Share, share
from ratings.bootstrap import rate
from ratings.bradley_terry import Array, contests, points
from ratings.influence import weights
from ratings.setting_effects import Effect, effects

BEST = 24
SCATTERED = 600
MAX_BINS = 60
_BINS_S = (60, 300, 900, 3600, 6 * 3600, 86400, 7 * 86400, 30 * 86400)
_MANY = 5000  # contests; from here on fewer replicates do: the interval of one picture matters less


@dataclass(frozen=True)
class Picture:
    """A picture that was voted on. score: of CLIP. clip: the CLIP models it was scored by, "" for none."""

    id: str
    engine: str
    checkpoint: str
    prompt: str
    score: float | None
    clip: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Ballots:
    """The votes on pictures that may be seen; (n,) each, first and second are places in `pictures`."""

    pictures: Sequence[Picture]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    share: Array  # 1 where first won, 0 where second did, 0.5 for a tie
    first_left: NDArray[np.bool_]
    voter: NDArray[np.int64]  # numbers from 0
    at: Array  # UTC s
    address: NDArray[np.int64] | None = None  # numbers from 0; -1: not known
    fresh: NDArray[np.bool_] | None = None  # voters that were new when they voted


@dataclass(frozen=True)
class Rated:
    """One item in points, 1000 being the middle, with the interval that holds the truth 95 % of the time."""

    name: str
    rating: float
    low: float
    high: float
    votes: int
    pictures: int = 1


@dataclass(frozen=True)
class Point:
    """A picture's CLIP score beside its rating."""

    id: str
    engine: str
    score: float
    rating: float
    votes: int


@dataclass(frozen=True)
class Standings:
    """What the leaderboard shows."""

    votes: int
    voters: int
    pictures: int
    ties: int
    best: tuple[Rated, ...]  # by the lower end of the interval: good, and known to be
    engines: tuple[Rated, ...]
    models: tuple[Rated, ...]  # by (engine, checkpoint), the name being "engine checkpoint"
    effects: Mapping[str, tuple[Effect, ...]]  # by engine
    left: Share | None  # how often the left picture won
    clip: Share | None  # how often the picture with the higher CLIP score won
    points: tuple[Point, ...]
    bin_s: int
    by_time: tuple[tuple[float, int], ...]  # (start of the bin in UTC s, votes)


def standings(ballots: Ballots) -> Standings:
    """Rates everything; a second for some thousand votes, see scripts/benchmark_ratings.py."""
    b = ballots
    weight = weights(b.first, b.second, b.voter, len(b.pictures), address=b.address, fresh=b.fresh)
    rated = rate(
        contests(b.first, b.second, len(b.pictures)),
        b.share,
        weight,
        b.voter,
        replicates=400 if len(b.share) <= _MANY else 100,
    )
    rating, low, high = points(rated.theta), points(rated.low), points(rated.high)
    best = [
        Rated(b.pictures[i].id, float(rating[i]), float(low[i]), float(high[i]), int(rated.votes[i]))
        for i in np.argsort(-low, kind="stable")[:BEST]
    ]
    decided = b.share != 0.5
    bin_s, by_time = _by_time(b.at)
    return Standings(
        votes=len(b.share),
        voters=len(np.unique(b.voter)),
        pictures=len(b.pictures),
        ties=int((~decided).sum()),
        best=tuple(best),
        engines=_groups([p.engine for p in b.pictures], b, weight),
        models=_groups([f"{p.engine} {p.checkpoint}" for p in b.pictures], b, weight),
        effects=_effects(b, weight),
        left=share((b.share[decided] == b.first_left[decided]).astype(float), weight[decided]),
        clip=_clip(b, weight),
        points=_points(b.pictures, rating, rated.votes),
        bin_s=bin_s,
        by_time=by_time,
    )


def _groups(names: Sequence[str], b: Ballots, weight: Array) -> tuple[Rated, ...]:
    """Ratings of groups of pictures, from the votes between pictures of different groups; the best first."""
    groups = sorted(set(names))
    numbers = {name: n for n, name in enumerate(groups)}
    group = np.array([numbers[name] for name in names], np.int64)
    first, second = group[b.first], group[b.second]
    between = first != second
    known = np.unique(np.concatenate([first[between], second[between]]))
    if len(known) < 2:
        return ()
    place = np.full(len(groups), -1)
    place[known] = np.arange(len(known))
    design = contests(place[first[between]], place[second[between]], len(known))
    rated = rate(design, b.share[between], weight[between], b.voter[between])
    rating, low, high = points(rated.theta), points(rated.low), points(rated.high)
    size = np.bincount(group, minlength=len(groups))
    found = []
    for i in np.argsort(-rating):
        name, votes, pictures = groups[known[i]], int(rated.votes[i]), int(size[known[i]])
        found.append(Rated(name, float(rating[i]), float(low[i]), float(high[i]), votes, pictures))
    return tuple(found)


def _effects(b: Ballots, weight: Array) -> dict[str, tuple[Effect, ...]]:
    engine = np.array([p.engine for p in b.pictures])
    found = {}
    for name in sorted(set(engine.tolist())):
        within = np.flatnonzero((engine[b.first] == name) & (engine[b.second] == name))
        first = [b.pictures[i].settings for i in b.first[within]]
        second = [b.pictures[i].settings for i in b.second[within]]
        rated = effects(first, second, b.share[within], weight[within], b.voter[within])
        if rated:
            found[name] = tuple(rated)
    return found


def _clip(b: Ballots, weight: Array) -> Share | None:
    """Only scores of one prompt by the same CLIP models can be compared; ties of the voters say nothing here."""
    prompt = np.array([hash((p.prompt, p.clip)) for p in b.pictures], np.int64)
    score = np.array([np.nan if p.score is None else p.score for p in b.pictures])
    ahead = score[b.first] - score[b.second]
    comparable = (prompt[b.first] == prompt[b.second]) & (b.share != 0.5) & np.isfinite(ahead) & (ahead != 0)
    return share(((ahead > 0) == (b.share == 1))[comparable].astype(float), weight[comparable])


def _points(pictures: Sequence[Picture], rating: Array, votes: NDArray[Any]) -> tuple[Point, ...]:
    """The pictures with most votes, as many as a chart can show."""
    found = []
    for i in np.argsort(-votes, kind="stable"):
        score = pictures[i].score
        if score is not None and np.isfinite(score):
            found.append(Point(pictures[i].id, pictures[i].engine, score, float(rating[i]), int(votes[i])))
        if len(found) == SCATTERED:
            break
    return tuple(found)


def _by_time(at: Array) -> tuple[int, tuple[tuple[float, int], ...]]:
    if not len(at):
        return _BINS_S[0], ()
    bin_s = next((s for s in _BINS_S if at.max() // s - at.min() // s < MAX_BINS), _BINS_S[-1])
    number = (at // bin_s).astype(np.int64)
    count = np.bincount(number - number.min())
    start = int(number.min())
    return bin_s, tuple(((start + n) * float(bin_s), int(votes)) for n, votes in enumerate(count))
