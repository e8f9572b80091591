"""What the leaderboard says: engines, settings and CLIP, from voters whose preferences are known."""

from __future__ import annotations

import numpy as np
import pytest

from ratings.setting_effects import effects
from ratings.standings import Ballots, Picture, Standings, standings
from tests.simulated_voters import vote

ENGINES = {"vqgan-clip": 0.2, "latent-diffusion": 0.9, "biggan-clip": -1.1}
PICTURES = 60


def evening(votes: int = 3000, **changes: object) -> Ballots:
    """Sixty pictures of three engines; more cutouts make better pictures, CLIP's score follows what people like."""
    rng = np.random.default_rng(2)
    pictures, theta = [], []
    for n in range(PICTURES):
        engine = list(ENGINES)[n % 3]
        cutn = int(rng.choice([8, 32]))
        better = ENGINES[engine] + (0.8 if cutn == 32 else 0) + rng.normal(0, 0.3)
        theta.append(better)
        score = 0.2 + 0.1 * better + rng.normal(0, 0.05)
        settings = {"cutn": str(cutn), "cut_pow": f"{cutn / 8:g}", "style": str(rng.choice(["noto", "blob"]))}
        pictures.append(Picture(f"p{n}", engine, f"mini-{n % 2}", f"prompt {n % 2}", score, "mini", settings))
    cast = vote(np.array(theta), votes=votes, voters=150, seed=1, ties=0.05)
    left = rng.random(votes) < 0.5
    at = 1_800_000_000 + rng.random(votes) * 3 * 3600
    found = Ballots(pictures, cast.first, cast.second, cast.share, left, cast.voter, at)
    return Ballots(**(vars(found) | changes))


@pytest.fixture(scope="module")
def found() -> Standings:
    return standings(evening())


def test_everything_is_told_at_once(found: Standings) -> None:
    assert (found.votes, found.voters, found.pictures) == (3000, 150, PICTURES)
    assert [rated.name for rated in found.engines] == ["latent-diffusion", "vqgan-clip", "biggan-clip"]
    assert all(rated.low < rated.rating < rated.high and rated.pictures == 20 for rated in found.engines)
    assert found.engines[0].low > found.engines[1].high and found.engines[1].low > found.engines[2].high
    assert {rated.name for rated in found.models} == {f"{engine} mini-{n}" for engine in ENGINES for n in (0, 1)}
    # The order of the pictures is that of the lower ends.
    assert [r.low for r in found.best] == sorted((r.low for r in found.best), reverse=True)
    assert found.clip is not None and found.clip.low > 0.55 and 700 < found.clip.votes < 1500
    assert found.left is not None and found.left.low < 0.5 < found.left.high
    assert len(found.points) == PICTURES and found.bin_s == 300 and sum(n for _, n in found.by_time) == 3000


def test_a_setting_that_matters_is_told_from_one_that_does_not(found: Standings) -> None:
    for engine in ENGINES:
        by_value = {(effect.setting, effect.value): effect for effect in found.effects[engine]}
        better = by_value["cut_pow, cutn", "4, 32"]
        assert better.low > 0 and 0.2 < better.theta < 0.7, "cutn and cut_pow changed together, so they are one"
        assert by_value["style", "noto"].low < 0 < by_value["style", "noto"].high
        assert by_value["style", "noto"].theta == pytest.approx(-by_value["style", "blob"].theta)


def test_a_setting_seen_too_rarely_is_not_rated() -> None:
    few = [{"steps": "10"}] * 9, [{"steps": "20"}] * 9
    assert effects(*few, np.ones(9), np.ones(9), np.arange(9)) == []
    assert effects([], [], np.ones(0), np.ones(0), np.zeros(0, int)) == []


def test_values_of_a_setting_stand_in_the_order_of_their_size() -> None:
    first, second = [{"steps": "100"}] * 20 + [{"steps": "20"}] * 20, [{"steps": "20"}] * 20 + [{"steps": "3"}] * 20
    rated = effects(first, second, np.ones(40), np.ones(40), np.arange(40))
    assert [effect.value for effect in rated] == ["3", "20", "100"]
    assert rated[0].theta < rated[1].theta < rated[2].theta


def test_scores_are_compared_within_a_prompt_and_a_clip_model_only() -> None:
    ballots = evening(votes=300)
    alone = [Picture(**(vars(p) | {"prompt": p.id})) for p in ballots.pictures]
    assert standings(evening(300, pictures=alone)).clip is None
    unscored = [Picture(**(vars(p) | {"score": None})) for p in ballots.pictures]
    found = standings(evening(300, pictures=unscored))
    assert found.clip is None and found.points == ()


def test_an_evening_without_votes_has_standings_too() -> None:
    none = np.zeros(0, np.int64)
    found = standings(Ballots([], none, none, np.zeros(0), np.zeros(0, bool), none, np.zeros(0)))
    assert (found.votes, found.voters, found.best, found.engines, found.left, found.by_time) == (0, 0, (), (), None, ())


def test_votes_of_many_years_fit_into_one_chart() -> None:
    years = np.linspace(1_500_000_000, 1_800_000_000, 300)
    found = standings(evening(300, at=years))
    assert len(found.by_time) <= 130 and sum(votes for _, votes in found.by_time) == 300
