"""Lists of jobs: newest first, page by page, filtered and searched, as fast at 20,000 jobs as at ten."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.engine import writing
from db.errors import BadValue
from db.jobs import State, new_id, normalise
from db.queue.listing import Narrowed, page_query
from db.schema import jobs
from tests.contract.queue_steps import add, in_state, take
from tests.new_database import open_new

MANY = 20_000


def ids(db: sa.Engine, **filters: Any) -> list[str]:
    return [job.id for job in queue.list_jobs(db, **filters)]


def test_pages_follow_each_other_without_gap_or_repeat(database: sa.Engine) -> None:
    asked = [add(database, f"visitor-{n % 3}").id for n in range(25)]
    seen: list[str] = []
    while page := ids(database, limit=10, before_id=seen[-1] if seen else None):
        # A job that arrives while somebody reads does not shift the pages.
        add(database)
        seen += page
    assert seen == asked[::-1]


def test_filters_combine(database: sa.Engine) -> None:
    done = in_state(database, State.SUCCEEDED)
    failed = in_state(database, State.FAILED)
    other = add(database, "bob", engine="biggan")
    assert ids(database, states=[State.SUCCEEDED]) == [done.id]
    assert ids(database, states=["failed", "succeeded"]) == [failed.id, done.id]
    assert ids(database, engine="biggan") == [other.id]
    assert ids(database, submitter="ada") == [failed.id, done.id]
    assert ids(database, submitter="ada", engine="vqgan-clip", states=["failed"]) == [failed.id]
    assert ids(database, submitter="ada", engine="biggan") == []
    assert ids(database, states=[]) == []


def test_an_unknown_state_is_refused(database: sa.Engine) -> None:
    with pytest.raises(BadValue, match=r"\['done'\].*permitted: queued, running"):
        ids(database, states=["done"])


def test_search_finds_a_part_of_the_prompt_in_any_case(database: sa.Engine) -> None:
    heart = add(database, prompt="A Red   HEART on snow").id
    umlaut = add(database, "bob", prompt="ÜBER den Dächern").id
    percent = add(database, prompt="100% wool_hat").id
    assert ids(database, search="red heart") == [heart]
    assert ids(database, search="  RED \n heart ") == [heart]
    assert ids(database, search="über") == [umlaut]
    assert ids(database, search="0% w") == ids(database, search="l_h") == [percent]
    assert ids(database, search="%") == [percent]
    assert ids(database, search="e_d") == ids(database, search="\\") == []
    assert ids(database, search="e", submitter="bob", states=["queued"], engine="vqgan-clip") == [umlaut]
    assert len(ids(database, search="  ")) == len(ids(database, search="")) == 3


def test_search_pages_too(database: sa.Engine) -> None:
    found = [add(database, prompt=f"a red heart {n}").id for n in range(5)]
    add(database, prompt="a blue star")
    first = ids(database, search="heart", limit=3)
    assert first + ids(database, search="heart", limit=3, before_id=first[-1]) == found[::-1]


def test_hidden_jobs_are_for_the_host_only(database: sa.Engine) -> None:
    job = add(database)
    assert queue.set_hidden(database, job.id).hidden
    assert ids(database) == ids(database, search="heart") == ids(database, submitter="ada") == []
    assert ids(database, include_hidden=True) == ids(database, search="heart", include_hidden=True) == [job.id]
    queue.set_hidden(database, job.id, hidden=False)
    assert ids(database) == [job.id]


def test_running_jobs_and_counts(database: sa.Engine) -> None:
    for state in (State.SUCCEEDED, State.FAILED, State.RUNNING, State.QUEUED):
        in_state(database, state)
    add(database)
    first, second = queue.running_jobs(database) + take(database)
    assert queue.running_jobs(database) == [first, second]
    assert queue.counts(database) == {
        State.QUEUED: 1,
        State.RUNNING: 2,
        State.SUCCEEDED: 1,
        State.FAILED: 1,
        State.CANCELLED: 0,
    }


FILTERS = {
    "states": [None, ["succeeded"], ["queued", "running"]],
    "engine": [None, "vqgan-clip"],
    "submitter": [None, "visitor-7"],
    "search": [None, "heart 77"],
    "before_id": [None, "0660c"],
    "include_hidden": [False, True],
}
COMBINATIONS = [dict(zip(FILTERS, values, strict=True)) for values in itertools.product(*FILTERS.values())]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """20,000 finished jobs, as wide as real ones."""
    db = open_new(tmp_path_factory.mktemp("large") / "jobs.db")
    row: dict[str, Any] = {
        "checkpoint": "mini",
        "batch_key": "b",
        "params": {f"parameter_{n}": n for n in range(30)},
        "priority": 0,
        "attempt": 1,
        "max_attempts": 3,
        "step": 200,
        "total_steps": 200,
        "history": [],
        "cancel_requested": False,
        "hidden": False,
        "created_at": 1.0,
        "started_at": 1.0,
        "finished_at": 2.0,
    }
    with writing(db) as conn:
        for start in range(0, MANY, 10_000):
            conn.execute(
                sa.insert(jobs),
                [
                    row
                    | {
                        "id": new_id(),
                        "engine": "vqgan-clip" if n % 3 else "biggan",
                        "prompt": f"A red Heart {n}",
                        "prompt_search": normalise(f"A red Heart {n}"),
                        "state": "failed" if n % 100 == 0 else "succeeded",
                        "submitter": f"visitor-{n % 1000}",
                    }
                    for n in range(start, start + 10_000)
                ],
            )
    yield db
    db.dispose()


@pytest.mark.parametrize("limit", [24, None])
def test_pictures_of_a_style_are_read_off_an_index(large: sa.Engine, limit: int | None) -> None:
    narrowed = Narrowed(settings=(("style", "noto"),))
    for filters in ({}, {"states": ["succeeded"]}, {"engine": "vqgan-clip"}):
        page = page_query(narrowed=narrowed, limit=limit, **filters)  # type: ignore[arg-type]
        statement = page.compile(large, compile_kwargs={"literal_binds": True})
        with large.connect() as conn:
            plan = [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
        assert {line for line in plan if " jobs" in line} == {
            "SEARCH jobs USING INDEX ix_jobs_style (style=? AND state=?)"
        }, plan


def test_every_page_reads_an_index_and_sorts_nothing_long(large: sa.Engine) -> None:
    for filters in COMBINATIONS:
        statement = page_query(**filters).compile(large, compile_kwargs={"literal_binds": True})
        with large.connect() as conn:
            plan = [row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
        reads = [line for line in plan if " jobs" in line]
        assert reads and all("INDEX" in line for line in reads), (filters, plan)
        if filters["search"]:
            assert all("ix_jobs_search" in line for line in reads), (filters, plan)
        elif filters["engine"] or filters["submitter"] or filters["states"]:
            assert all(line.startswith("SEARCH jobs") for line in reads), (filters, plan)
        # What may be sorted is only a page of each state, where those are put together.
        for line, following in itertools.pairwise([*plan, ""]):
            assert not (" jobs" in line and "TEMP B-TREE" in following), (filters, plan)


def steps(db: sa.Engine, **filters: Any) -> int:
    """How much work SQLite did for a page, in units of 1,000 of its virtual machine's instructions."""
    done = 0

    def count() -> int:
        nonlocal done
        done += 1
        return 0

    with db.connect() as conn:
        raw: Any = conn.connection.driver_connection
        raw.set_progress_handler(count, 1000)
        try:
            conn.execute(page_query(**filters)).all()
        finally:
            raw.set_progress_handler(None, 0)
    return done


def test_a_page_costs_the_same_at_the_end_of_20000_jobs(large: sa.Engine) -> None:
    with large.connect() as conn:
        newest_first = sa.select(jobs.c.id).order_by(jobs.c.id.desc())
        deep = conn.scalar(newest_first.offset(MANY - 50).limit(1))
    for filters in ({}, {"states": ["succeeded"]}, {"engine": "biggan"}, {"submitter": "visitor-7"}):
        for before_id in (None, deep):
            assert steps(large, before_id=before_id, **filters) <= 5, (filters, before_id)
    # A rare state of a frequent engine is found by the index, not by looking through the engine's jobs.
    assert steps(large, engine="vqgan-clip", states=["failed"]) <= 5


def test_search_in_20000_jobs(large: sa.Engine) -> None:
    newest = queue.list_jobs(large, search="RED heart")
    assert [job.prompt for job in newest[:2]] == ["A red Heart 19999", "A red Heart 19998"]
    assert [job.prompt for job in queue.list_jobs(large, search="heart 17777")] == ["A red Heart 17777"]
    assert queue.list_jobs(large, search="blue") == []
