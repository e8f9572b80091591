"""Which two pictures to ask about next: those whose comparison tells most about the ratings.

The gain of a comparison is that of D-optimal design, log(1 + p (1 - p) var(theta_i - theta_j)) (Chaloner & Verdinelli
1995, Statistical Science 10; for paired comparisons Glickman & Jensen 2005, J. Statistical Planning and Inference 127):
large where the ratings are close and little is known of their difference, that is, where there are few votes.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ratings.bradley_terry import Array, contests, covariance, fit

# Like with like: what else is in two pictures of one prompt does not blur the answer.
SAME_PROMPT = 3.0
SAME_ENGINE = 1.25
# A visitor's own picture against somebody else's comes when there is nothing else: few are fair to their own.
OWN_AGAINST_OTHER = 0.01
# Among pairs that are nearly as good as the best one chance decides, so that visitors get different pairs.
NEARLY = 0.95
# Beside a picture so many times as large, one looks blurred whatever is in it: they are not compared. Nobody sees more
# px than SHOWN of a picture to vote on.
SHARPER, SHOWN = 1.25, 512.0


@dataclass(frozen=True)
class Candidate:
    """A picture that may be shown. prompt: pictures with the same one were asked for in the same words.

    side: of the square with as many pixels, in px; None: not known.
    """

    id: str
    prompt: str
    engine: str
    submitter: str
    side: float | None = None


@dataclass(frozen=True)
class Pool:
    """Pictures, and what a comparison of each two of them would tell."""

    candidates: tuple[Candidate, ...]
    first: NDArray[np.int64]  # (pairs,) places in candidates
    second: NDArray[np.int64]
    gain: Array  # (pairs,) > 0


def pool(candidates: Sequence[Candidate], votes: Collection[tuple[str, str, float, float]]) -> Pool:
    """The pairs of up to some hundred pictures, each two of about the same size.

    votes: (one id, other id, votes on this pair, of which one won; a tie is half) for pairs of these pictures.
    """
    place = {candidate.id: n for n, candidate in enumerate(candidates)}
    count = len(candidates)
    one = np.array([place[vote[0]] for vote in votes], np.int64)
    other = np.array([place[vote[1]] for vote in votes], np.int64)
    played = np.array([vote[2] for vote in votes], float)
    won = np.array([vote[3] for vote in votes], float)
    design = contests(one, other, count)
    theta = fit(design, won[:, None], played[:, None], tolerance=1e-3)[:, 0]
    spread = covariance(design, played, theta)
    first, second = _as_sharp(candidates)
    known = np.diag(spread)
    unsure = known[first] + known[second] - 2 * spread[first, second]
    chance = 1 / (1 + np.exp(theta[second] - theta[first]))
    gain = np.log1p(chance * (1 - chance) * unsure)
    prompts, engines = _numbers([c.prompt for c in candidates]), _numbers([c.engine for c in candidates])
    same_prompt, same_engine = prompts[first] == prompts[second], engines[first] == engines[second]
    gain *= np.where(same_prompt, SAME_PROMPT, np.where(same_engine, SAME_ENGINE, 1.0))
    return Pool(tuple(candidates), first, second, gain)


def choose(pool: Pool, voter: str, seen: Collection[tuple[str, str]]) -> tuple[str, str] | None:
    """Two pictures for this voter, in no order; None where they have seen all pairs.

    seen: the pairs this voter has compared. A picture they have judged before is worth less: see influence.weights.
    """
    if not len(pool.gain):
        return None
    count = len(pool.candidates)
    place = {candidate.id: n for n, candidate in enumerate(pool.candidates)}
    known = np.array([(place[a], place[b]) for a, b in seen if a in place and b in place], np.int64).reshape(-1, 2)
    looks = np.bincount(known.ravel(), minlength=count)
    own = np.array([candidate.submitter == voter for candidate in pool.candidates])
    gain = pool.gain / (1 + np.maximum(looks[pool.first], looks[pool.second]))
    gain *= np.where(own[pool.first] != own[pool.second], OWN_AGAINST_OTHER, 1.0)
    low, high = known.min(1, initial=count), known.max(1, initial=-1)
    gain[np.isin(pool.first * count + pool.second, low * count + high)] = 0
    best = gain.max()
    if best <= 0:
        return None
    pick = random.choice(np.flatnonzero(gain >= NEARLY * best))
    return pool.candidates[pool.first[pick]].id, pool.candidates[pool.second[pick]].id


def _as_sharp(candidates: Sequence[Candidate]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places (pairs,), (pairs,) of each two pictures, without those of which one is much larger."""
    first, second = np.triu_indices(len(candidates), 1)
    sides = np.minimum([candidate.side or np.nan for candidate in candidates], SHOWN)
    much = np.abs(np.log(sides[first] / sides[second])) > np.log(SHARPER) + 1e-9  # False where one is not known
    return first[~much], second[~much]


def _numbers(names: Sequence[str]) -> NDArray[np.int64]:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
