"""The queue played forward: places, batches, and what sharing a device costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from db.queue.simulation import Lane, Pace, Waiting, fit, play

ROOT = Path(__file__).resolve().parents[2]


def line(*keys: str, steps: int = 10) -> list[Waiting]:
    return [Waiting(str(n), key, key, steps, f"visitor-{n}") for n, key in enumerate(keys)]


def starts(jobs: list[Waiting], lanes: list[Lane], **paces: Pace) -> list[float | None]:
    found = play(jobs, lanes, paces, [job.id for job in jobs])
    return [pytest.approx(found[job.id][0]) if job.id in found else None for job in jobs]


def lane(places: int = 1, *engines: str) -> Lane:
    return Lane(places, frozenset(engines or ("a", "b")))


def test_one_place_takes_one_after_the_other() -> None:
    assert starts(line("a", "a", "a"), [lane()], a=Pace(2.0, 0.5)) == [0, 20, 40]


def test_jobs_that_share_the_device_slow_each_other_down() -> None:
    # Two at once: a step takes 2 * 1.5 s.
    assert starts(line("a", "a", "a"), [lane(2)], a=Pace(2.0, 0.5)) == [0, 0, 30]
    assert starts(line("a", "a", "a"), [lane(2)], a=Pace(2.0, 0.0)) == [0, 0, 20]


def test_two_executors_serve_one_line_and_only_their_engines() -> None:
    paces = {"a": Pace(1.0, 0.0), "b": Pace(1.0, 0.0)}
    assert starts(line("a", "a", "b", "a"), [lane(), lane(1, "b")], **paces) == [0, 10, 0, 20]
    assert starts(line("a", "c", "a"), [lane()], **paces) == [0, None, 10]
    assert starts(line("a"), [], **paces) == [None]


def test_jobs_that_fit_the_batch_go_first_when_it_is_filled() -> None:
    paces = {"a": Pace(1.0, 0.0), "b": Pace(1.0, 0.0)}
    assert starts(line("a", "b", "a"), [lane(2)], **paces) == [0, 10, 0]


def test_what_runs_is_waited_for() -> None:
    busy = lane()
    busy.take("a", 3.0, Pace(2.0, 0.5))
    assert starts(line("a"), [busy], a=Pace(1.0, 0.0)) == [6]


def test_the_pace_is_learned_from_jobs_that_ran_alone_and_together() -> None:
    true = Pace(0.2, 0.8)
    seen = [(true.of(beside), beside) for beside in (1.0, 1.5, 2.0, 3.0, 4.0, 4.0)]
    learned = fit(seen)
    assert (learned.alone, learned.share) == (pytest.approx(0.2), pytest.approx(0.8))
    crowded = fit([(true.of(4.0), 4.0)] * 8)
    assert crowded.of(4.0) == pytest.approx(true.of(4.0))
    assert 0 < fit([(0.2, 1.0)]).share < 1


def test_an_evening_can_be_simulated_and_its_waits_are_near_what_was_promised() -> None:
    command = [sys.executable, "scripts/simulate_evening.py", "--visitors", "20", "--hours", "0.12", "--seed", "2"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found = answer.stdout.split("all: ")[1]
    assert int(found.split()[0]) > 10
    assert float(found.split("median relative error ")[1].split("%")[0]) <= 45
