"""The host looks at what failed and has it tried again, many at a time, for those who asked for it."""

from __future__ import annotations

import inspect

import pytest

from db import queue
from db.errors import NotFailed
from db.evening import moderation
from db.jobs import Job, State
from db.queue import Limits, retrying
from db.rules import host_rules, keys
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from studio import failures, host
from studio.context import Submitter
from studio.errors import NotHost
from tests.pages.visits import EXECUTOR, ME, SOMEBODY, Studio

ANNA, HOST = Submitter(ME), Submitter("the-host-the-host", is_host=True)


def fail(visits: Studio, prompt: str, submitter: str = ME, kind: str = "executor_lost", **settings: object) -> Job:
    """A job that was claimed and failed."""
    visits.enqueue(prompt, submitter, **settings)
    job = visits.run(3)
    return queue.fail(visits.db, worker_id=EXECUTOR, job_id=job.id, kind=kind, message="It ran out of memory.")


def test_nobody_else_looks_or_presses(visits: Studio) -> None:
    job = fail(visits, "a red heart")
    for action in (failures.failures, failures.kinds, failures.try_again, failures.try_kind_again, failures.hide):
        more = [[job.id]] * (len(inspect.signature(action).parameters) == 3)
        with pytest.raises(NotHost, match="Only the host"):
            action(visits.opened(), ANNA, *more)  # type: ignore[operator]
    assert queue.get(visits.db, job.id) == job and len(queue.list_jobs(visits.db)) == 1


def test_what_failed_is_listed_by_kind_until_it_is_tried_again_or_hidden(visits: Studio) -> None:
    studio = visits.opened()
    visits.draw("a finished one")
    lost = [fail(visits, f"heart {n}") for n in range(3)]
    nan = fail(visits, "a lake", SOMEBODY, kind="not_finite")
    assert failures.kinds(studio, HOST) == {"executor_lost": 3, "not_finite": 1}
    assert [job.id for job in failures.failures(studio, HOST)] == [nan.id, *(job.id for job in reversed(lost))]
    assert failures.failures(studio, HOST, kind="not_finite") == [nan]
    assert failures.failures(studio, HOST, before_id=lost[1].id) == [lost[0]]
    assert failures.failures(studio, HOST, kind="\x00") == []
    assert failures.hide(studio, HOST, [lost[0].id]) == 1
    failures.try_again(studio, HOST, [lost[1].id])
    assert [job.id for job in failures.failures(studio, HOST)] == [nan.id, lost[2].id]
    host.unhide(studio, HOST, lost[0].id)
    assert failures.kinds(studio, HOST) == {"executor_lost": 2, "not_finite": 1}


def test_a_job_tried_again_is_the_same_for_the_same_submitter(visits: Studio) -> None:
    studio = visits.opened()
    parent = visits.draw("a parent", SOMEBODY)
    failed = fail(visits, "a child", SOMEBODY, parent_id=parent.id, seed=7)
    done = failures.try_again(studio, HOST, [failed.id])
    assert len(done.again) == 1 and done.refused == {}
    new = queue.get(visits.db, done.again[failed.id])
    assert (new.state, new.submitter, new.params, new.parent_id) == ("queued", SOMEBODY, failed.params, parent.id)
    assert (new.attempt, new.step, new.suspect_step) == (1, 0, None)
    old = queue.get(visits.db, failed.id)
    assert (old.state, old.retried_as) == ("failed", new.id), "what has ended stays so"
    told = queue.events(visits.db, failed.id)[-1]
    assert (told.kind, told.detail) == ("tried_again", f"as {new.id}")


def test_a_job_is_tried_again_once(visits: Studio) -> None:
    studio = visits.opened()
    failed = fail(visits, "a heart")
    waits = visits.enqueue("a lake")
    again = failures.try_again(studio, HOST, [failed.id, failed.id])
    assert len(again.again) == 1
    twice = failures.try_again(studio, HOST, [failed.id, waits.id, "none", "0" * 26])
    assert twice.again == {} and len(twice.refused) == 4
    assert "tried again already" in str(twice.refused[failed.id]) and "no job" in str(twice.refused["none"])
    assert queue.counts(visits.db)[State.QUEUED] == 2
    new = queue.get(visits.db, again.again[failed.id])
    with pytest.raises(NotFailed):
        retrying.try_again(visits.db, failed.id, new_of(new), limits=Limits())


def new_of(job: Job) -> queue.NewJob:
    of = ("engine", "checkpoint", "batch_key", "prompt", "params", "total_steps")
    return queue.NewJob(**{name: getattr(job, name) for name in of})


def test_one_press_queues_no_more_than_the_queue_allows_and_says_so(visits: Studio) -> None:
    studio = visits.opened()
    mine = [fail(visits, f"heart {n}") for n in range(3)]
    theirs = fail(visits, "a lake", SOMEBODY)
    banned = fail(visits, "a tree", "troll-troll-troll-troll")
    moderation.ban(visits.db, "troll-troll-troll-troll")
    word = fail(visits, "a gory lake", SOMEBODY)
    host_rules.change(visits.db, max_queued=2, max_per_hour=1, refused_words=["gory"])
    done = failures.try_kind_again(studio, HOST, "executor_lost")
    assert sorted(done.again) == sorted([mine[0].id, mine[1].id, theirs.id]), "the oldest first, and in nobody's hour"
    assert "as many jobs waiting as one visitor may, 2" in str(done.refused[mine[2].id])
    assert "banned" in str(done.refused[banned.id]) and "gory" in str(done.refused[word.id])
    assert len(done.again) == 3 and len(done.refused) == 3
    assert {job.id for job in failures.failures(studio, HOST)} == {mine[2].id, banned.id, word.id}, "nothing is lost"


def test_at_most_two_hundred_are_tried_at_once(visits: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "MAX_AT_ONCE", 2)
    jobs = [fail(visits, f"heart {n}", f"visitor {n}") for n in range(3)]
    done = failures.try_again(visits.opened(), HOST, [job.id for job in jobs])
    assert len(done.again) == 2 and "At most 2" in str(done.refused[jobs[2].id])


def test_it_takes_its_place_on_the_sheet_and_the_row_it_was_asked_for_with(visits: Studio) -> None:
    wanted = [(f"seed {n}", new_of(visits.enqueue(f"heart {n}", "other", seed=n))) for n in (1, 2)]
    found = refinements.start(visits.db, NewSheet(kind="candidates", prompt="p", wanted=wanted), submitter=ME)
    (row,) = refinements.stages_of(visits.db, found.id)
    cell = submissions.jobs_of(visits.db, row.submission.id)[1].job
    (claimed,) = queue.claim(visits.db, worker_id=EXECUTOR, limit=1, lease_s=60, batch_key=cell.batch_key)
    while claimed.id != cell.id:
        (claimed,) = queue.claim(visits.db, worker_id=EXECUTOR, limit=1, lease_s=60)
    queue.fail(visits.db, worker_id=EXECUTOR, job_id=cell.id, kind="executor_lost", message="Lost.")
    before = refinements.get(visits.db, found.id).version
    new_id = failures.try_again(visits.opened(), HOST, [cell.id]).again[cell.id]
    members = submissions.jobs_of(visits.db, row.submission.id)
    assert [(member.cell, member.label) for member in members] == [(0, "seed 1"), (1, "seed 2")]
    assert members[1].job.id == new_id
    assert refinements.get(visits.db, found.id).version > before, "pages that show it draw it anew"


def test_a_key_with_limits_of_its_own_keeps_them(visits: Studio) -> None:
    _, key = keys.make(visits.db, "a bot", max_queued=1)
    jobs = [fail(visits, f"heart {n}", key.submitter) for n in range(2)]
    host_rules.change(visits.db, max_queued=50)
    done = failures.try_again(visits.opened(), HOST, [job.id for job in jobs])
    assert list(done.again) == [jobs[0].id] and "may, 1" in str(done.refused[jobs[1].id])


def test_a_job_whose_source_is_gone_says_so(visits: Studio) -> None:
    parent = visits.draw("a parent")
    failed = fail(visits, "a child", parent_id=parent.id)
    host.hide(visits.opened(), HOST, parent.id)
    done = failures.try_again(visits.opened(), HOST, [failed.id])
    assert "taken out by the host" in str(done.refused[failed.id])


def test_what_is_tried_again_may_cost_as_much_as_when_it_was_asked_for(visits: Studio) -> None:
    studio = visits.opened(max_job_s=60.0)
    _, key = keys.make(visits.db, "mine", "host")
    failed = [fail(visits, "a heart", submitter) for submitter in (ME, key.submitter)]
    again = failures.try_again(studio, HOST, [job.id for job in failed]).again
    assert [queue.get(visits.db, again[job.id]).budget_s for job in failed] == [60, None]
