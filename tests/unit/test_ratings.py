"""Ratings find known preferences, say how sure they are, and cannot be pushed by one voter."""

from __future__ import annotations

import numpy as np
import pytest

from ratings.agreement import share
from ratings.bootstrap import Ratings, rate
from ratings.bradley_terry import POINTS_PER_LOGIT, NotConverged, contests, fit, points
from ratings.influence import weights
from tests.simulated_voters import Votes, stuff, vote


def ranking(votes: Votes, items: int, replicates: int = 200) -> Ratings:
    weight = weights(votes.first, votes.second, votes.voter, items)
    design = contests(votes.first, votes.second, items)
    return rate(design, votes.share, weight, votes.voter, replicates=replicates)


def strength(won: float, played: float) -> float:
    """Of the first of two items, in logits."""
    design = contests(np.array([0]), np.array([1]), 2)
    return float(fit(design, np.array([[won]]), np.array([[played]]))[0, 0])


def test_known_preferences_come_back_as_the_known_ranking() -> None:
    theta = np.random.default_rng(5).permutation(np.linspace(-2, 2, 12))
    found = ranking(vote(theta, votes=6000, voters=200, seed=1, ties=0.1), 12)
    assert np.argsort(found.theta).tolist() == np.argsort(theta).tolist()
    # Voters who cannot tell one time in ten bring the strengths closer together, by about as much.
    assert np.corrcoef(found.theta, theta)[0, 1] > 0.995 and 0.75 < np.polyfit(theta, found.theta, 1)[0] < 0.95


def test_one_win_does_not_make_a_picture_infinitely_good() -> None:
    one, ten, thousand = strength(1, 1), strength(10, 10), strength(1000, 1000)
    assert 0 < one < 0.5 < ten < thousand < 4
    assert strength(0.5, 1) == pytest.approx(0, abs=1e-6) and strength(3, 4) == pytest.approx(-strength(1, 4), abs=1e-6)


def test_a_tie_is_half_a_win_for_both() -> None:
    first, second = np.array([0, 0]), np.array([1, 1])
    voter = np.arange(2)
    tied = rate(contests(first, second, 2), np.array([0.5, 0.5]), np.ones(2), voter, replicates=5)
    split = rate(contests(first, second, 2), np.array([1.0, 0.0]), np.ones(2), voter, replicates=5)
    assert tied.theta == pytest.approx(split.theta, abs=1e-6) and tied.theta[0] == pytest.approx(0, abs=1e-6)


def test_the_strengths_are_those_of_a_plain_logistic_regression() -> None:
    votes = vote(np.array([1.0, 0.3, -0.2, -1.1]), votes=60, voters=7, seed=4, ties=0.2)
    design = contests(votes.first, votes.second, 4)
    (found,) = fit(design, votes.share[:, None], np.ones((60, 1))).T
    rows = design.toarray()
    theta = np.zeros(4)
    for _ in range(20000):  # gradient descent, the slow and plain way
        theta -= 0.02 * (rows.T @ (1 / (1 + np.exp(-rows @ theta)) - votes.share) + theta)
    assert found == pytest.approx(theta, abs=1e-5)


def test_points_are_read_like_elo() -> None:
    assert points(np.array([0.0])) == pytest.approx([1000])
    win = 1 / (1 + np.exp(-np.log(10)))
    assert win == pytest.approx(10 / 11) and points(np.log([10.0])) == pytest.approx([1400])


@pytest.mark.parametrize(
    ("items", "votes", "voters"),
    [(30, 60, 40), (30, 300, 40), (6, 400, 40), (6, 100, 3), (60, 600, 100)],
)
def test_the_truth_lies_in_the_interval_as_often_as_the_interval_says(items: int, votes: int, voters: int) -> None:
    hits = []
    for seed in range(480 // items):
        theta = np.random.default_rng(seed).normal(size=items)
        cast = vote(theta, votes=votes, voters=voters, seed=seed)
        design = contests(cast.first, cast.second, items)
        found = rate(design, cast.share, np.ones(votes), cast.voter, replicates=100, seed=seed)
        hits += ((found.low <= theta - theta.mean()) & (theta - theta.mean() <= found.high)).tolist()
    assert 0.92 <= np.mean(hits) <= 0.975


def test_voters_of_one_taste_make_the_interval_as_wide_as_it_has_to_be() -> None:
    """Forty voters with tastes of their own give a thousand votes: they know less than a thousand voters would."""
    theta = np.array([0.6, 0.2, -0.2, -0.6])
    many = vote(theta, votes=100_000, voters=4000, seed=0, taste=np.random.default_rng(0).normal(0, 1.0, (4000, 4)))
    one = fit(contests(many.first, many.second, 4), many.share[:, None], np.ones((100_000, 1)))[:, 0]
    covered: dict[str, list[bool]] = {"voters": [], "votes": []}
    for seed in range(40):
        taste = np.random.default_rng(seed + 1).normal(0, 1.0, (40, 4))
        cast = vote(theta, votes=1000, voters=40, seed=seed, taste=taste)
        design = contests(cast.first, cast.second, 4)
        for unit, voter in (("voters", cast.voter), ("votes", np.arange(1000))):
            found = rate(design, cast.share, np.ones(1000), voter, replicates=100, seed=seed)
            covered[unit] += ((found.low <= one) & (one <= found.high)).tolist()
    assert np.mean(covered["voters"]) > 0.9 > 0.8 > np.mean(covered["votes"])


def test_an_interval_is_wide_where_there_are_few_votes() -> None:
    first, second = np.array([0] * 60 + [2]), np.array([1] * 60 + [3])
    found = rate(contests(first, second, 4), np.array([1.0, 0.0] * 30 + [1.0]), np.ones(61), np.arange(61))
    width = found.high - found.low
    assert width[0] < 0.8 * width[2] and width[2] > 2.5
    assert found.low[2] < 0 < found.high[2] and found.votes.tolist() == [60, 60, 1, 1]


def test_a_ballot_stuffer_with_one_cookie_moves_nothing() -> None:
    theta = np.linspace(1.5, -1.5, 40)
    honest = vote(theta, votes=1200, voters=100, seed=3)
    worst = 39
    before = ranking(honest, 40)
    after = ranking(honest + stuff(40, worst, voter=100), 40)
    place = (-after.theta).argsort().argsort()
    assert place[worst] >= 36 and abs(after.theta[worst] - before.theta[worst]) < 0.25
    assert np.abs(after.theta - before.theta).max() < 0.25
    others = np.arange(40) != worst
    assert np.corrcoef(before.theta[others], after.theta[others])[0, 1] > 0.99
    # Not so without the bounds.
    both = honest + stuff(40, worst, voter=100)
    design = contests(both.first, both.second, 40)
    unbounded = rate(design, both.share, np.ones(len(both.share)), both.voter, replicates=1)
    assert unbounded.theta[worst] - before.theta[worst] > 1


def test_a_picture_only_its_stuffer_has_voted_on_does_not_reach_the_top() -> None:
    """Pictures stand by the lower end of their interval, and one voter's word leaves it low."""
    theta = np.append(np.linspace(1.5, -1.5, 20), -1.5)
    honest = vote(theta[:20], votes=600, voters=60, seed=3)
    pushed = Votes(np.full(20, 20), np.arange(20), np.ones(20), np.full(20, 60))
    found = ranking(honest + pushed, 21)
    assert (-found.low).argsort().argsort()[20] >= 10


def test_no_voter_counts_for_more_than_the_typical_one() -> None:
    honest = vote(np.zeros(30), votes=800, voters=80, seed=0)
    both = honest + stuff(30, 0, voter=80)
    weight = weights(both.first, both.second, both.voter, 30)
    given = np.bincount(both.voter, weight)
    assert given[80] <= 10 + 1e-9 and given[:80].mean() > 8 and weight.min() > 0
    mine = both.voter == 80
    touched = np.bincount(both.first[mine], weight[mine], 30) + np.bincount(both.second[mine], weight[mine], 30)
    assert touched.max() <= 3


def test_a_lab_of_three_diligent_raters_is_heard_in_full() -> None:
    votes = stuff(15, 3, voter=0) + stuff(15, 3, voter=1) + stuff(15, 4, voter=2)
    assert weights(votes.first, votes.second, votes.voter, 15).tolist() == [1.0] * len(votes.share)
    assert weights(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), 0).tolist() == []


def test_a_flood_of_fresh_ids_of_one_address_moves_a_picture_by_less_than_its_interval() -> None:
    """200 fresh browsers behind one address push the worst of 30 pictures, against 40 honest voters of as many
    addresses: it gains less than 200 points and is not among the best; counted in full it would be first."""
    theta = np.linspace(1.5, -1.5, 30)
    honest = vote(theta, votes=240, voters=40, seed=5)
    worst = 29
    flood = Votes(np.full(200, worst), np.arange(200) % 29, np.ones(200), 40 + np.arange(200))
    both = honest + flood
    address = np.where(both.voter < 40, both.voter, 40)
    fresh = both.voter >= 40
    design = contests(both.first, both.second, 30)
    bare = weights(both.first, both.second, both.voter, 30)
    counted = weights(both.first, both.second, both.voter, 30, address=address, fresh=fresh)
    before = ranking(honest, 30).theta[worst]
    flooded, held = (rate(design, both.share, weight, both.voter).theta[worst] for weight in (bare, counted))
    assert POINTS_PER_LOGIT * (flooded - before) > 400
    assert POINTS_PER_LOGIT * (held - before) < 200
    on_it = (both.first == worst) | (both.second == worst)
    assert counted[fresh].sum() <= max(3.0, counted[on_it & ~fresh].sum() / 4) + 1e-9
    assert counted[~fresh].sum() > 0.95 * bare[~fresh].sum()


def test_a_room_behind_one_address_is_heard_as_it_is() -> None:
    votes = vote(np.linspace(1, -1, 30), votes=600, voters=60, seed=1)
    apart = weights(votes.first, votes.second, votes.voter, 30)
    together = weights(votes.first, votes.second, votes.voter, 30, address=np.zeros(600, int))
    assert (together == apart).mean() > 0.95
    two = weights(votes.first, votes.second, votes.voter, 30, address=np.where(votes.voter < 42, 0, 1))
    assert two[votes.voter < 42].sum() > 0.95 * apart[votes.voter < 42].sum()
    unknown = weights(votes.first, votes.second, votes.voter, 30, address=np.full(600, -1))
    assert unknown.tolist() == apart.tolist()


def test_values_that_are_no_votes_are_an_error_and_not_a_ranking() -> None:
    with pytest.raises(NotConverged, match="finite"):
        fit(contests(np.array([0]), np.array([1]), 2), np.array([[np.nan]]), np.array([[1.0]]))


def test_a_share_comes_with_wilsons_interval() -> None:
    found = share(np.array([1.0] * 8 + [0.0] * 2), np.ones(10))
    assert found is not None and found.votes == 10
    # Newcombe 1998, Statistics in Medicine 17, method 3.
    assert (found.value, round(found.low, 3), round(found.high, 3)) == (0.8, 0.49, 0.943)
    sure = share(np.ones(3), np.ones(3))
    assert sure is not None and sure.low < 0.5 and sure.high == pytest.approx(1)
    assert share(np.zeros(0), np.zeros(0)) is None
    halved = share(np.array([1.0] * 8 + [0.0] * 2), np.full(10, 0.5))
    assert halved == found
