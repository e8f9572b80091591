"""Deleting all that an event has left: jobs, files, votes, sheets, names and bans. The host's rules and keys stay.

What is left afterwards is found by looking again, in the database, in the store and at the executors.
"""

from __future__ import annotations

import glob
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db.artefacts import Store
from db.engine import reading, writing
from db.errors import StillRunning
from db.evening import erasures, work_folders
from db.evening.erasures import Erasure, Unheard
from db.jobs import State
from db.rules import host_rules
from db.schema import (
    artefacts,
    banned_addresses,
    boards,
    bulk_actions,
    datasets,
    embeddings,
    events,
    jobs,
    marks,
    members,
    metadata,
    orders,
    refinements,
    searches,
    stages,
    submissions,
    trained_models,
    visitors,
    votes,
    webhooks,
)

# What refers to a job goes before the jobs; visitors are judged one by one.
_TABLES = (
    *(votes, marks, boards, stages, refinements, members, submissions, events, webhooks, orders),
    *(trained_models, artefacts, embeddings, searches),
    jobs,  # behind all that names one
    *(banned_addresses, bulk_actions, datasets),
)
# What is not of the event: the host's rules and keys, the executors, and what those still have to remove.
KEPT = ("host_settings", "host_sessions", "api_keys", "workers", "erasures", "studio")
# Whoever writes to several of these does so in this order, so that nobody waits for somebody who waits for them.
# Writing to any other table follows, in the same transaction, a write to one of these.
LOCKED = (visitors, refinements, submissions, jobs, artefacts, votes, datasets)
# The folders of the store in which the studio keeps anything.
FOLDERS = ("jobs", "uploads", "drafts", "executors", "datasets")
MOVED = ".before-"  # in the name of an SQLite file that a restore has moved aside (db/backup/restoring.py)


@dataclass(frozen=True)
class Left:
    """What is there of an event after it was deleted.

    rows: by table; files: names in the store; folders: what else lies at the store's root, which the studio has not
    put there; frames: in work folders on this machine; executors: those that have not yet looked into theirs; copies:
    databases of then that a restore has moved aside.
    """

    rows: dict[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    executors: tuple[Unheard, ...] = ()
    copies: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        """Whether all of it is gone, from every machine."""
        return not (self.rows or self.files or self.frames or self.executors or self.copies)


@dataclass(frozen=True)
class Forgotten:
    """How much was deleted. files: those in the store. compacted: whether the database's file holds nothing of it
    either, in pages that are free."""

    jobs: int
    files: int
    compacted: bool = True


def forget_everything(db: sa.Engine, store: Store) -> Forgotten:
    """Delete every job, waiting ones included, with its files, events and votes, every upload, name and ban.

    The queue must be paused and nothing may run: raises StillRunning otherwise. Whoever was paused meanwhile finds
    their job gone when they wake up, and removes what they have just kept (db.artefacts.save). Where it is broken off,
    the next call goes on.
    """
    with reading(db) as conn:
        _check_still(conn)
    with writing(db) as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(sa.text(f"LOCK TABLE {', '.join(table.name for table in LOCKED)} IN EXCLUSIVE MODE"))
        else:
            conn.exec_driver_sql("PRAGMA secure_delete=ON")
        _check_still(conn)
        count = conn.scalar(sa.select(sa.func.count()).select_from(jobs)) or 0
        erasure = erasures.note(conn)
        conn.execute(sa.update(jobs).where(jobs.c.parent_id.is_not(None)).values(parent_id=None))
        for table in _TABLES:
            conn.execute(sa.delete(table))
        # Keys stay, and what they are called with their pictures.
        conn.execute(sa.delete(visitors).where(visitors.c.id.not_like("key:%")))
    # Then the files, by what is there: rows may be missing for some of them.
    names = _files_of(store, erasure)
    store.remove(names)
    _clear_here(db, erasure)
    return Forgotten(count, len(names), _compact(db))


def left(db: sa.Engine, store: Store) -> Left:
    """What is still there of what was deleted last, by looking again."""
    with reading(db) as conn:
        last = erasures.of_everything(conn)
        if last is None:
            return Left()
        rows = {table.name: count for table in _of_event() if (count := _older(conn, table, last))}
    frames = [str(path) for folder in erasures.folders_here(db) for path in work_folders.left_of(Path(folder), [last])]
    return Left(
        rows=rows,
        files=tuple(_files_of(store, last, parts=False)),
        folders=tuple(name for name in store.folders() if name not in FOLDERS),
        frames=tuple(frames),
        executors=tuple(erasures.unheard(db)),
        copies=tuple(str(path) for path in moved_aside(db) if path.stat().st_mtime < last.at),
    )


def moved_aside(db: sa.Engine) -> list[Path]:
    """The files of SQLite databases that were in this one's place before something was restored."""
    if db.dialect.name != "sqlite" or not db.url.database:
        return []
    path = Path(db.url.database)
    return sorted(path.parent.glob(f"{glob.escape(path.name)}{MOVED}*"))


def write_off(db: sa.Engine, worker_id: str) -> None:
    """An executor will never come back, and its machine is gone or was cleared by hand: it is not waited for."""
    with reading(db) as conn:
        last = erasures.of_everything(conn)
    if last is not None:
        erasures.carried_out(db, [worker_id], last.id)


def sweep_store(store: Store, erasure: Erasure) -> int:
    """Remove what somebody has put into the store who was paused during an erasure and then ended; how many files."""
    names = _files_of(store, erasure, parts=False)
    store.remove(names)
    return len(names)


def _check_still(conn: sa.Connection) -> None:
    running = conn.scalar(sa.select(sa.func.count()).where(jobs.c.state == State.RUNNING)) or 0
    if running or not host_rules.paused(conn):
        if not running:
            raise StillRunning("The queue is open: pause the queue, wait until nothing runs, then delete.")
        raise StillRunning(
            "Jobs are running ({count}): pause the queue, wait until nothing runs, then delete.", count=running
        )


def _files_of(store: Store, erasure: Erasure, *, parts: bool = True) -> list[str]:
    """What the store holds of what was deleted. parts: also what has no id in its name, as parts of uploads that were
    never finished; somebody may be writing one at this moment."""
    names = [name for folder in FOLDERS for name in store.names(folder)]
    return [name for name in names if erasure.covers(name) or (parts and not erasures.has_id(name))]


def _clear_here(db: sa.Engine, erasure: Erasure) -> None:
    """The work folders on this machine, for executors that are not there any more; those that are clear their own."""
    for folder, gone in erasures.folders_here(db).items():
        if not work_folders.clear(Path(folder), [erasure]) and gone:
            erasures.carried_out(db, gone, erasure.id)


def _of_event() -> Sequence[sa.Table]:
    return [table for table in metadata.sorted_tables if table.name not in KEPT]


def _older(conn: sa.Connection, table: sa.Table, last: Erasure) -> int:
    """How many rows of a table are older than the erasure; 0 where its rows do not say how old they are."""
    if "id" not in table.c or not isinstance(table.c.id.type, sa.String) or table is visitors:
        return 0
    return conn.scalar(sa.select(sa.func.count()).select_from(table).where(table.c.id < last.stamp)) or 0


def _compact(db: sa.Engine) -> bool:
    """SQLite keeps deleted pages in its file until it is written anew; PostgreSQL's vacuum sees to its own."""
    if db.dialect.name != "sqlite":
        return True
    try:
        connection = db.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.close()
    except (sqlite3.Error, sa.exc.SQLAlchemyError):
        return False  # somebody reads it at this moment, or there is no room for the copy
    return not busy
