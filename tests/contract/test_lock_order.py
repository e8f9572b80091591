"""Deleting an event while visitors and executors still write: one waits for the other, never both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, queue, votes
from db.artefacts import Store
from db.engine import connect
from db.errors import DbError
from db.evening import moderation
from db.evening.erasing import LOCKED, forget_everything
from db.jobs import Job, State
from db.queue import retrying
from db.queue.enqueueing import Limits, NewJob
from db.rules import host_rules
from db.schema import metadata
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import add, address, in_state

NEW = NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1)
TWO = NewSheet(kind="candidates", prompt="p", wanted=[("1", NEW), ("2", NEW)])
HELD = "SELECT relation::regclass::text FROM pg_locks WHERE pid = pg_backend_pid() AND mode IN ('RowShareLock', %s)"


@dataclass
class Event:
    """What is there when it is deleted: two pictures, a job that runs, a sheet, and a refinement of one row."""

    db: sa.Engine
    store: Store
    pictures: list[Job]
    running: Job
    sheet: str
    refinement: str
    candidate: str
    failed: Job


def an_event(db: sa.Engine, store: Store) -> Event:
    host_rules.change(db, paused=False)
    pictures = [in_state(db, State.SUCCEEDED) for _ in range(2)]
    running = in_state(db, State.RUNNING)
    sheet, _ = submissions.submit(db, TWO, submitter="ada")
    refinement = refinements.start(db, TWO, submitter="ada").id
    (row,) = refinements.stages_of(db, refinement)
    candidate = submissions.jobs_of(db, row.submission.id)[0].job.id
    failed = in_state(db, State.FAILED)
    host_rules.change(db, paused=True)
    return Event(db, store, pictures, running, sheet.id, refinement, candidate, failed)


def _vote(e: Event) -> None:
    votes.cast(e.db, voter="eve", left_id=e.pictures[0].id, right_id=e.pictures[1].id, choice="tie")


def _keep(e: Event) -> None:
    held = {"job_id": e.running.id, "held_by": "w1", "data": b"x", "media_type": "image/png", "ext": "png"}
    artefacts.save(e.db, e.store, kind="picture", **held)  # type: ignore[arg-type]


def _next_row(e: Event) -> None:
    row = replace(TWO, kind="enlarged", prompt="")
    refinements.add_stage(e.db, e.refinement, row, submitter="ada", marked=True, limits=Limits(max_queued=99))


WRITERS: dict[str, Callable[[Event], object]] = {
    "votes": _vote,
    "keeps a picture": _keep,
    "asks for a picture": lambda e: add(e.db, "bob"),
    "asks for a sheet": lambda e: submissions.submit(e.db, TWO, submitter="bob"),
    "has a sheet ranked": lambda e: submissions.add_about(e.db, e.sheet, NEW, submitter="ada", label="ranking"),
    "begins a refinement": lambda e: refinements.start(e.db, TWO, submitter="bob"),
    "goes on with a refinement": _next_row,
    "marks a favourite": lambda e: refinements.mark(e.db, e.refinement, e.candidate, True),
    "tries again what failed": lambda e: retrying.try_again(e.db, e.failed.id, NEW, limits=Limits()),
    "bans a visitor": lambda e: moderation.ban(e.db, "ada", hide=True),
}


# Jobs and their events are written by one statement, which names them in this order.
ONE_STATEMENT = ["jobs", "events"]
ONE_STATEMENT_WRITERS: dict[str, Callable[[Event], object]] = {
    "finishes it": lambda e: queue.succeed(e.db, worker_id="w1", job_id=e.running.id),
    "asks for a picture": WRITERS["asks for a picture"],
}


only_postgresql = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
TABLES, ORDER = set(metadata.tables), [table.name for table in LOCKED]


@contextmanager
def after_each_statement(db: sa.Engine, call: Callable[[sa.Connection], None]) -> Iterator[None]:
    def after(conn: sa.Connection, *rest: object) -> None:
        call(conn)

    sa.event.listen(db, "after_cursor_execute", after)
    try:
        yield
    finally:
        sa.event.remove(db, "after_cursor_execute", after)


@only_postgresql
def test_whoever_writes_locks_the_tables_in_the_order_of_the_deletion(database: sa.Engine, tmp_path: Path) -> None:
    event = an_event(database, Store(f"file://{tmp_path}/artefacts"))
    held: set[str] = set()
    newly: list[set[str]] = []

    def look(conn: sa.Connection) -> None:
        with conn.connection.cursor() as cursor:
            cursor.execute(HELD, ("RowExclusiveLock",))
            now = {name for (name,) in cursor.fetchall()} & TABLES
        newly.append(now - held)
        held.update(now)

    for who, write in WRITERS.items():
        newly.clear()
        held.clear()
        with after_each_statement(database, look):
            write(event)
        taken = [[name for name in ORDER if name in new] for new in newly]
        one_each = all(len(names) <= 1 or names == ONE_STATEMENT for names in taken)
        assert any(taken) and one_each, f"{who}: two at once, in whatever order: {newly}"
        for first, second in zip(filter(None, taken), [*filter(None, taken)][1:], strict=False):
            assert ORDER.index(first[-1]) < ORDER.index(second[0]), f"{who}: {first[-1]} before {second[0]}"


@only_postgresql
@pytest.mark.parametrize("who", ONE_STATEMENT_WRITERS)
def test_who_writes_jobs_and_events_at_once_waits_for_the_jobs_before_it_holds_the_events(
    database: sa.Engine, tmp_path: Path, who: str
) -> None:
    event = an_event(database, Store(f"file://{tmp_path}/artefacts"))
    writing = threading.Thread(target=ONE_STATEMENT_WRITERS[who], args=[event])
    # Often enough for the server to go by a plan that it keeps, where it takes the locks at another place.
    for _ in range(12):
        queue.request_cancel(database, add(database).id)
    locks = sa.text("SELECT relation::regclass::text, granted FROM pg_locks WHERE mode = 'RowExclusiveLock'")
    with database.connect() as other, other.begin():
        other.execute(sa.text("LOCK TABLE jobs IN SHARE MODE"))
        writing.start()
        found: set[tuple[str, bool]] = set()
        while ("jobs", False) not in found:
            assert writing.is_alive()
            with database.connect() as looking:
                found = {(name, granted) for name, granted in looking.execute(locks)}
            time.sleep(0.01)
        assert ("events", True) not in found
    writing.join()


@only_postgresql
def test_a_ranking_asked_for_during_the_deletion_does_not_stop_it(database: sa.Engine, tmp_path: Path) -> None:
    other, store = connect(address(database)), Store(f"file://{tmp_path}/artefacts")
    event = an_event(database, store)
    queue.release(database, worker_id="w1", job_id=event.running.id)
    me, failed = threading.current_thread(), list[Exception]()

    def delete() -> None:
        try:
            forget_everything(other, store)
        except DbError as error:
            failed.append(error)

    deletion = threading.Thread(target=delete)

    def begin(conn: sa.Connection) -> None:
        """The deletion begins when the sheet is held, and comes as far as it can."""
        if threading.current_thread() is not me or deletion.ident is not None:
            return
        deletion.start()
        blocked = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        for _ in range(200):
            with other.connect() as looking:
                if looking.scalar(blocked):
                    return
            time.sleep(0.01)

    with after_each_statement(database, begin):
        WRITERS["has a sheet ranked"](event)
    deletion.join()
    other.dispose()
    assert not failed and not queue.list_jobs(database)
