"""The next pair is the one whose comparison tells most."""

from __future__ import annotations

import random
import time
from collections import Counter

import numpy as np

from ratings import pairing
from ratings.bradley_terry import contests, fit
from ratings.pairing import Candidate
from tests.simulated_voters import vote


def pictures(count: int, prompt: str = "a red heart") -> list[Candidate]:
    return [Candidate(f"p{n}", prompt, "vqgan-clip", "somebody") for n in range(count)]


def dealt(found: pairing.Pool, voter: str = "eve", times: int = 200) -> Counter[frozenset[str]]:
    return Counter(frozenset(pairing.choose(found, voter, []) or ()) for _ in range(times))


def test_pictures_of_close_ratings_meet() -> None:
    votes = [(f"p{a}", f"p{b}", 12.0, 12.0) for a in (0, 1) for b in (2, 3)]
    assert set(dealt(pairing.pool(pictures(4), votes))) == {frozenset({"p0", "p1"}), frozenset({"p2", "p3"})}


def test_pictures_with_few_votes_come_first() -> None:
    votes = [("p0", "p1", 6.0, 3.0), ("p1", "p2", 6.0, 3.0), ("p0", "p2", 6.0, 3.0)]
    found = dealt(pairing.pool(pictures(4), votes))
    assert all("p3" in pair for pair in found)


def test_prompts_that_never_met_are_brought_together_once_each_is_known() -> None:
    cast = [(f"p{a}", f"p{b}", 8.0, 4.0) for a, b in ((0, 1), (2, 3))]
    candidates = [*pictures(2, "a heart"), *(Candidate(f"p{n}", "a star", "vqgan-clip", "s") for n in (2, 3))]
    assert set(dealt(pairing.pool(candidates, []))) == {frozenset({"p0", "p1"}), frozenset({"p2", "p3"})}
    assert all(len(pair & {"p0", "p1"}) == 1 for pair in dealt(pairing.pool(candidates, cast)))


def test_ones_own_picture_against_anothers_comes_last() -> None:
    mine = [Candidate(f"mine{n}", "a red heart", "vqgan-clip", "eve") for n in range(2)]
    found = pairing.pool([*pictures(2), *mine], [])
    assert set(dealt(found)) == {frozenset({"p0", "p1"}), frozenset({"mine0", "mine1"})}
    seen = [("p0", "p1"), ("mine1", "mine0")]
    pair = pairing.choose(found, "eve", seen)
    assert pair is not None and sum(name.startswith("mine") for name in pair) == 1


def test_a_small_picture_is_not_compared_with_a_sharp_one() -> None:
    sides = {"draft": 64, "other draft": 64, "finished": 256, "a little larger": 288}
    found = pairing.pool([Candidate(name, "a red heart", "vqgan-clip", "s", side) for name, side in sides.items()], [])
    assert set(dealt(found)) == {frozenset({"draft", "other draft"}), frozenset({"finished", "a little larger"})}
    large = [Candidate("one", "x", "vqgan-clip", "s", 512), Candidate("other", "x", "latent-diffusion", "s", 1024)]
    assert dealt(pairing.pool(large, [])), "nobody sees more than 512 px of either"


def test_visitors_at_the_same_time_get_different_pairs() -> None:
    assert len(dealt(pairing.pool(pictures(40), []))) > 100


def test_chosen_pairs_find_the_ranking_with_fewer_mistakes_than_random_ones() -> None:
    """Pairs of pictures in the wrong order after a hundred votes, over some simulated evenings."""
    wrong = np.zeros(2)
    for seed in range(15):
        rng = np.random.default_rng(seed)
        random.seed(seed)
        theta = rng.normal(size=24)
        counted: dict[tuple[int, int], tuple[float, float]] = {}
        for n in range(100):
            if n % 10 == 0:
                found = pairing.pool(pictures(24), [(f"p{a}", f"p{b}", *votes) for (a, b), votes in counted.items()])
            pair = pairing.choose(found, "eve", [])
            assert pair is not None
            a, b = sorted(int(name[1:]) for name in pair)
            played, won = counted.get((a, b), (0.0, 0.0))
            counted[a, b] = played + 1, won + float(rng.random() < 1 / (1 + np.exp(theta[b] - theta[a])))
        keys, votes = np.array(list(counted)), np.array(list(counted.values()))
        chosen = fit(contests(keys[:, 0], keys[:, 1], 24), votes[:, 1:], votes[:, :1])
        cast = vote(theta, votes=100, voters=100, seed=seed)
        by_chance = fit(contests(cast.first, cast.second, 24), cast.share[:, None], np.ones((100, 1)))
        truth = np.subtract.outer(theta, theta)
        wrong += [np.mean(np.subtract.outer(t[:, 0], t[:, 0]) * truth < 0) for t in (chosen, by_chance)]
    assert wrong[0] < 0.95 * wrong[1]


def test_the_cost_does_not_grow_with_the_votes_of_a_voter_or_the_pool() -> None:
    started = time.process_time()
    found = pairing.pool(pictures(300), [(f"p{n}", f"p{n + 1}", 5.0, 3.0) for n in range(299)])
    seen = [(f"p{a}", f"p{b}") for a in range(100) for b in range(a)]
    for _ in range(10):
        assert pairing.choose(found, "eve", seen) is not None
    assert time.process_time() - started < 3
    assert (
        pairing.choose(pairing.pool([], []), "eve", [])
        is None
        is pairing.choose(pairing.pool(pictures(1), []), "e", [])
    )
