"""The queue played forward: places, batches, and what sharing a device costs."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from db.queue.fair_order import take_turn
from db.queue.paces import Pace, fit
from db.queue.simulation import Lane, Waiting, play

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


def test_a_place_that_no_job_of_the_batch_takes_is_for_another() -> None:
    paces = {"a": Pace(1.0, 0.0), "b": Pace(1.0, 0.0)}
    assert starts(line("a", "b", "b"), [lane(2)], **paces) == [0, 0, 10]


def test_places_of_several_executors_that_are_free_at_one_moment_go_round_in_turn() -> None:
    pace = {"a": Pace(1.0, 0.0)}
    jobs = [Waiting(f"{who}{n}", "a", "a", 10, who, arrived=float(n)) for n in range(3) for who in "xyz"]
    found = play(jobs, [lane(2), lane(2), lane(1)], pace, [job.id for job in jobs], at=100.0)
    assert {job for job, (start, _) in found.items() if start == 0} == {"x0", "y0", "z0", "x1", "y1"}


def long_running(places: int, *holders: str, slice_s: float = 100.0, had: float = 0.0) -> Lane:
    """An executor whose places are taken by jobs of 1000 steps, 1 s each."""
    busy = Lane(places, frozenset("ab"), slice_s=slice_s)
    for n, who in enumerate(holders):
        job = Waiting(f"long-{n}", "a", "long", 1000, who)
        busy.take("long", 1000.0, Pace(1.0, 0.0), job, had)
    return busy


def test_a_long_job_makes_room_after_its_slice_and_goes_on_behind_who_waits() -> None:
    pace = {"a": Pace(1.0, 0.0)}
    assert starts(line("a"), [long_running(1, "greedy")], **pace) == [100]
    assert starts(line("a"), [long_running(1, "greedy", had=70.0)], **pace) == [30]
    assert starts(line("a", "a"), [long_running(1, "greedy", slice_s=math.inf)], **pace) == [1000, 1010]
    own = [Waiting("own", "a", "a", 10, "greedy")]
    assert starts(own, [long_running(1, "greedy")], **pace) == [1000], "one's own jobs push none out"
    two = play(line("a", "a"), [long_running(4, *["greedy"] * 4)], pace, ["0", "1"], most=2)
    assert [two[n][0] for n in "01"] == [100, 100], "two wait, two make room"


def test_who_waits_has_at_most_a_share_and_who_waits_alone_has_all() -> None:
    pace = {"a": Pace(1.0, 0.0)}
    greedy = [Waiting(f"g{n}", "a", "a", 10, "greedy") for n in range(4)]
    found = play(
        [*greedy, Waiting("late", "a", "b", 10, "late")], [Lane(3, frozenset("a"))], pace, ["g1", "late"], most=1
    )
    assert (found["late"][0], found["g1"][0]) == (0, 0)
    found = play([*greedy, *line("a", "a", "a")], [Lane(2, frozenset("a"))], pace, ["g1", "0", "1", "2"], most=1)
    assert found["g1"][0] > 0 and found["0"][0] == 0


def test_a_suspect_runs_alone_and_others_wait_for_it_or_go_elsewhere() -> None:
    pace = {"a": Pace(1.0, 0.0)}
    first, *others = line("a", "a", "a")
    jobs = [replace(first, suspect=True), *others]
    assert starts(jobs, [lane(2)], **pace) == [0, 10, 10], "beside it no place is free"
    assert starts(jobs, [lane(2), lane(2)], **pace) == [0, 0, 0]
    assert starts([others[0], replace(others[1], suspect=True)], [lane(2)], **pace) == [0, 10]
    two = [replace(one, suspect=True) for one in jobs[:2]]
    assert starts(two, [lane(), lane()], **pace) == [0, 0]
    one_device = [replace(lane(), at=("here", "cuda:0")) for _ in range(2)]
    assert starts(two, one_device, **pace) == [0, 10]


def test_an_executor_makes_way_for_a_suspect_for_a_lease_at_most() -> None:
    pace = {"a": Pace(1.0, 0.0)}
    busy, suspect = long_running(2, "greedy", slice_s=math.inf), replace(line("a")[0], suspect=True)
    late = Waiting("late", "a", "a", 10, "late", arrived=1.0)
    busy.lease_s = 60.0
    assert starts([suspect, late], [busy], **pace) == [60, 70]


def test_slices_of_one_job_are_one_turn_of_its_address() -> None:
    """As the line is served: a job that went on has its last turn alone, not one for each of its slices."""
    jobs_here = [Waiting(f"h{n}", "a", "a", 1, f"guest-{n}", arrived=100.0 + n, address="here") for n in range(2)]
    there = Waiting("t", "a", "a", 1, "other", arrived=101.5, address="there")
    long = Waiting("long", "a", "long", 350, "greedy", arrived=1.0, address="here")
    busy = Lane(1, frozenset("a"), slice_s=math.inf)
    busy.take("long", 1.0, Pace(1.0, 0.0), long)
    turns = {"here": dict.fromkeys(["long"], 99.0)}
    for at in (200.0, 201.0, 202.0, 203.0):
        take_turn(turns["here"], "long", at)
    found = play([*jobs_here, there], [busy], {"a": Pace(1.0, 0.0)}, ["h0", "h1", "t"], at=204.0, turns=turns)
    assert [found[name][0] for name in ("h0", "h1", "t")] == [1, 2, 3]


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
