"""Executors that claim at the same moment: each gets whose turn it is, and a lower priority waits for a higher one."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.engine import writing
from db.jobs import Job
from db.queue import workers
from db.rules import host_rules
from db.schema import jobs
from tests.contract.queue_steps import add, address, take
from tests.contract.test_processes import START, claims, together


def being_claimed(conn: sa.Connection, *taken: Job) -> None:
    """Another executor takes these just now: its transaction is not over."""
    ids = [job.id for job in taken]
    conn.execute(sa.select(jobs.c.id).where(jobs.c.id.in_(ids)).order_by(jobs.c.id).with_for_update())


def only_postgresql(database: sa.Engine) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time.")


@pytest.mark.parametrize("share", [None, 0.5])
@pytest.mark.parametrize("limit", [1, 2])
def test_what_another_executor_takes_just_now_is_passed_over(
    database: sa.Engine, share: float | None, limit: int
) -> None:
    only_postgresql(database)
    workers.register(database, worker_id="w1", device="d", engines=[], places=4, hostname="h", pid=1)
    first, second, third = (add(database, visitor) for visitor in ("ada", "bob", "eve"))
    with writing(database) as conn:
        being_claimed(conn, first)
        assert [job.id for job in take(database, limit=limit, share=share)] == [second.id, third.id][:limit]
    assert take(database)[0].id == first.id


def test_no_lower_priority_is_served_because_the_first_of_a_line_is_being_taken(database: sa.Engine) -> None:
    only_postgresql(database)
    add(database, "bob")
    first, second = (add(database, "ada", priority=1) for _ in range(2))
    with writing(database) as conn:
        being_claimed(conn, first)
        assert [job.id for job in take(database)] == [second.id]


def test_the_next_priority_is_served_where_all_of_the_highest_are_being_taken(database: sa.Engine) -> None:
    only_postgresql(database)
    higher = [add(database, f"visitor-{n}", priority=1) for n in range(30)]
    lower = add(database, "bob")
    with writing(database) as conn:
        being_claimed(conn, *higher)
        assert [job.id for job in take(database)] == [lower.id]


@pytest.mark.parametrize("share", [None, 0.5])
def test_an_executor_is_told_nothing_while_the_queue_is_paused_and_goes_on_afterwards(
    database: sa.Engine, share: float | None
) -> None:
    job = add(database)
    host_rules.change(database, paused=True)
    assert take(database, share=share) == []
    host_rules.change(database, paused=False)
    assert [one.id for one in take(database, share=share)] == [job.id]


@pytest.mark.parametrize("share", [None, 0.5])
def test_only_engines_that_are_served_are_taken_whoever_has_the_turn(database: sa.Engine, share: float | None) -> None:
    add(database, "ada", engine="aphantasia", priority=1)
    mine = add(database, "bob")
    assert take(database, engines=[], share=share) == []
    assert [one.id for one in take(database, engines=["x", "vqgan-clip", "y"], share=share)] == [mine.id]
    assert take(database, engines=["vqgan-clip"], share=share) == []


@pytest.mark.parametrize("ahead_us", [0, 3600 * 10**6])
def test_turns_keep_their_order_where_the_clock_of_another_machine_is_ahead(database: sa.Engine, ahead_us: int) -> None:
    first, second = add(database, "ada"), add(database, "bob")
    take(database, "elsewhere")
    with database.begin() as conn:
        stamp = f"{int(first.id[:14], 16) + ahead_us:014x}"
        conn.execute(sa.update(jobs).where(jobs.c.id == first.id).values(turn=stamp))
    take(database)
    with database.connect() as conn:
        turns = {row.id: row.turn for row in conn.execute(sa.select(jobs.c.id, jobs.c.turn))}
    assert turns[first.id] < turns[second.id] and len(turns[second.id]) == 14


def test_turns_keep_their_order_where_others_claim_between_two_looks(database: sa.Engine) -> None:
    only_postgresql(database)
    first, second = add(database, "ada", priority=1), add(database, "bob")
    ahead = f"{int(first.id[:14], 16) + 3600 * 10**6:014x}"
    with database.connect() as elsewhere:
        being_claimed(elsewhere, first)

        def end_after_the_first_look(conn: sa.Connection, _cursor: object, text: str, *_: object) -> None:
            if "UPDATE jobs" in text and conn is not elsewhere and elsewhere.in_transaction():
                claimed = sa.update(jobs).where(jobs.c.id == first.id).values(state="running", turn=ahead)
                elsewhere.execute(claimed)
                elsewhere.commit()

        sa.event.listen(database, "after_cursor_execute", end_after_the_first_look)
        assert [job.id for job in take(database)] == [second.id]
        sa.event.remove(database, "after_cursor_execute", end_after_the_first_look)
    with database.connect() as conn:
        turns = {row.id: row.turn for row in conn.execute(sa.select(jobs.c.id, jobs.c.turn))}
    assert turns[first.id] == ahead < turns[second.id]


def looks(database: sa.Engine, **claim: Any) -> tuple[list[str], int]:
    """The ids of what is claimed, and how often the database was asked for it."""
    said: list[str] = []

    def note(_conn: sa.Connection, _cursor: object, text: str, *_: object) -> None:
        said.append(text)

    sa.event.listen(database, "before_cursor_execute", note)
    taken = take(database, **claim)
    sa.event.remove(database, "before_cursor_execute", note)
    return [job.id for job in taken], len([one for one in said if "FROM studio" not in one])  # which studio it is


def test_a_claim_goes_to_postgresql_and_back_once(database: sa.Engine) -> None:
    only_postgresql(database)
    job = add(database)
    assert looks(database) == ([job.id], 1)


@pytest.mark.parametrize("limit", [1, 5])
@pytest.mark.parametrize(("others_take", "most_looks"), [(10, 3), (50, 3), (200, 5)])
def test_pictures_of_one_visitor_that_others_take_just_now_cost_no_look_each(
    database: sa.Engine, limit: int, others_take: int, most_looks: int
) -> None:
    only_postgresql(database)
    asked = [add(database).id for _ in range(others_take + 10)]
    with database.connect() as elsewhere:
        elsewhere.execute(sa.select(jobs.c.id).where(jobs.c.id.in_(asked[:others_take])).with_for_update())
        taken, often = looks(database, limit=limit)
    assert taken == asked[others_take : others_take + limit] and often <= most_looks
    with database.connect() as conn:
        turns = sa.select(jobs.c.id).where(jobs.c.turn.is_not(None)).order_by(jobs.c.turn)
        assert list(conn.scalars(turns)) == taken, "in the order in which they were asked for"


def test_an_executor_that_finds_nothing_or_little_does_not_look_for_long(database: sa.Engine) -> None:
    only_postgresql(database)
    add(database, engine="aphantasia")
    assert looks(database, engines=["vqgan-clip"], limit=8) == ([], 1)
    job = add(database)
    assert looks(database, engines=["vqgan-clip"], limit=8) == ([job.id], 2)


@pytest.mark.parametrize("share", [None, 1.0])
def test_a_paused_picture_goes_on_when_it_is_its_turn_and_not_with_a_batch(
    database: sa.Engine, share: float | None
) -> None:
    mine = [add(database).id for _ in range(6)]
    taken = take(database, limit=4)
    for job in taken:
        queue.release(database, worker_id="w1", job_id=job.id, slice_over=job.id == mine[3])
    assert [job.id for job in take(database, limit=6, share=share)] == mine[:3]


def test_no_picture_of_a_batch_passes_one_of_its_visitor_that_is_paused(database: sa.Engine) -> None:
    mine = [add(database, batch_key="other" if n == 3 else "same").id for n in range(6)]
    (job,) = take(database, batch_key="other")
    queue.release(database, worker_id="w1", job_id=job.id, slice_over=True)
    theirs = [add(database, "bob", batch_key="same").id for _ in range(5)]
    taken = [job.id for job in take(database, limit=11)]
    assert set(taken) == {*mine[:3], *theirs}


def test_many_executors_serve_higher_priorities_first_and_take_each_job_once(database: sa.Engine) -> None:
    asked = [add(database, f"visitor-{n % 5}", priority=n % 3, batch_key=f"b{n % 2}").id for n in range(60)]
    claimed = together(3, START + claims(1, "pass"), address(database))
    assert sorted(claimed) == sorted(asked)
    with database.connect() as conn:
        priorities = list(conn.scalars(sa.select(jobs.c.priority).order_by(jobs.c.turn)))
        kinds = sa.select(sa.func.count()).select_from(sa.table("events")).where(sa.column("kind") == "claimed")
        assert conn.scalar(kinds) == len(asked)
    assert priorities == sorted(priorities, reverse=True)
    assert all(queue.get(database, one).worker_id is not None for one in asked)
