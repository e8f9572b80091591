"""The small parts of a job: ids, score curves, the prompt as search sees it; settings from the environment."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from pydantic import ValidationError

from db.jobs import HISTORY_POINTS, finite, new_id, normalise, thin
from settings import Settings


def test_ids_sort_in_the_order_they_were_made_and_never_repeat() -> None:
    made: list[str] = []

    def make() -> None:
        made.extend(new_id() for _ in range(500))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 2000
    assert {len(one) for one in made} == {26}
    in_turn = [new_id() for _ in range(500)]
    assert in_turn == sorted(in_turn)
    assert len({one[14:] for one in in_turn}) == 500


@pytest.mark.parametrize("points", [0, 1, 2, HISTORY_POINTS, HISTORY_POINTS + 1, 5000])
def test_a_thinned_curve_keeps_its_ends_and_order(points: int) -> None:
    curve = [[i, i * 0.5] for i in range(points)]
    kept = thin(curve)
    assert len(kept) == min(points, HISTORY_POINTS)
    assert kept[:1] == curve[:1] and kept[-1:] == curve[-1:]
    assert kept == sorted(kept) and len({step for step, _ in kept}) == len(kept)


def test_what_is_no_number_is_not_shown() -> None:
    assert (finite(0.5), finite(float("nan")), finite(float("inf")), finite(None)) == (0.5, None, None, None)
    assert thin([[1, 0.5], [2, float("inf")], [3, float("nan")]]) == [[1, 0.5]]


def test_two_ways_to_type_a_prompt_are_the_same_prompt() -> None:
    assert normalise("  A Red\n\tHEART ") == normalise("a red heart") == "a red heart"
    assert normalise("STRASSE") == normalise("straße")
    assert len(normalise("x" * 10_000)) == 500


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().database_url == "sqlite:///data/jobs.db"
    monkeypatch.setenv("T2I_DATABASE_URL", "postgresql://host/name")
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", "/models")
    monkeypatch.setenv("T2I_LEASE_S", "12.5")
    settings = Settings()
    assert (settings.database_url, settings.checkpoints_dir) == ("postgresql://host/name", Path("/models"))
    assert settings.lease_s == 12.5
    monkeypatch.setenv("T2I_LEASE_S", "-1")
    with pytest.raises(ValidationError, match="lease_s"):
        Settings()
