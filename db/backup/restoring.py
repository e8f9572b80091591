"""A backup back into a database and a store, both looked through before and after: all that it lists, or nothing."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.artefacts import Store
from db.artefacts.store import hash_of
from db.backup import snapshot
from db.backup.making import ABOUT, DATABASE, FILES, FORMAT, disk_errors, sums_of
from db.engine import connect, reading, writing
from db.errors import BadValue, StillRunning
from db.evening.erasing import MOVED
from db.queue import workers
from db.schema import artefacts, studio
from lasting import make_folder, put_in_place, sync_file

ALIVE_S = 30.0  # an executor that was heard of so lately is at work


@dataclass(frozen=True)
class Restored:
    """What is there now; moved: where the database that was there is kept; damaged: not in the backup in the first
    place."""

    jobs: int
    files: int
    size: int
    moved: Path | None
    damaged: list[str]


def check(folder: Path) -> dict[str, str]:
    """Look through a backup: path -> sha256 of all its files. Raises BadValue, which names what is wrong."""
    try:
        about = json.loads((folder / ABOUT).read_text())
        number = about["format"]
    except (OSError, ValueError, LookupError, TypeError):
        raise BadValue(f"{folder} is no backup: it has no readable {ABOUT}.") from None
    if number != FORMAT:
        raise BadValue(f"{folder} is of format {number!r}; this version of the studio reads {FORMAT}.")
    sums = sums_of(folder)
    wrong = [path for path, digest in sums.items() if not (folder / path).is_file() or hash_of(folder / path) != digest]
    if wrong or DATABASE not in sums:
        some = ", ".join(wrong[:5]) or DATABASE
        raise BadValue(f"{folder} is damaged: {len(wrong) or 1} of its files are gone or changed, such as {some}.")
    return sums


def restore(folder: Path, database_url: str, store: Store, *, replace: bool = False) -> Restored:
    """The backup into this database and this store, which must be empty.

    replace: take away what is there first; an SQLite file is moved aside. Raises BadValue, StillRunning where executors
    are alive, StoreFull, StoreUnavailable, DatabaseUnavailable.
    """
    sums = check(folder)
    about = json.loads((folder / ABOUT).read_text())
    _check_room(database_url, replace)
    # Files first: rows that name what is not there yet would be shown, and where they do not fit what was there stays.
    for path in sums:
        if path.startswith(f"{FILES}/"):
            store.put(path.removeprefix(f"{FILES}/"), (folder / path).read_bytes())
    moved = None
    if (target := _file_of(database_url)) is not None:
        moved = _put_file(folder, target)
    else:
        _put_rows(folder, database_url)
    db = connect(database_url)  # migrated, where the backup is of an older version
    try:
        with reading(db) as conn:
            rows = conn.execute(sa.select(artefacts.c.key, artefacts.c.sha256, artefacts.c.size)).all()
            found = snapshot.counts(db)
        _verify(store, [(row.key, row.sha256) for row in rows])
        if found != {**found, **about["rows"]}:
            raise BadValue(f"What is in the database now is not what the backup lists: {found}, not {about['rows']}.")
    finally:
        db.dispose()
    return Restored(found["jobs"], len(rows), sum(row.size for row in rows), moved, list(about["damaged"]))


def _file_of(database_url: str) -> Path | None:
    url = sa.make_url(database_url)
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def _check_room(database_url: str, replace: bool) -> None:
    """Raises StillRunning and BadValue where the database that is there may not be taken away."""
    path = _file_of(database_url)
    if path is not None and not path.exists():
        return
    there = connect(database_url)
    try:
        alive = workers.live(there, within_s=ALIVE_S)
        if alive:
            raise StillRunning(f"{len(alive)} executors are at work on this database: stop the studio, then restore.")
        filled = {name: n for name, n in snapshot.counts(there).items() if n and name != "host_settings"}
    finally:
        there.dispose()
    if filled and not replace:
        held = ", ".join(f"{n} {name}" for name, n in filled.items())
        raise BadValue(f"The database is not empty: {held}. Choose another one, or restore with --replace.")


def _put_file(folder: Path, path: Path) -> Path | None:
    """Where the SQLite file that was there is kept now: what is restored lies beside it, whole and on the disk, before
    it is moved."""
    part = path.with_name(f".{path.name}.part")
    with disk_errors(f"The database could not be written to {path}"):
        make_folder(path.parent)
        shutil.copyfile(folder / DATABASE, part)
        sync_file(part)
        aside = None
        # Its log as well, also where only that was left: SQLite would take it for the log of what is restored.
        there = [end for end in ("", "-wal", "-shm") if path.with_name(path.name + end).exists()]
        if there:
            aside = path.with_name(f"{path.name}{MOVED}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
            for end in there:
                path.with_name(path.name + end).rename(aside.with_name(aside.name + end))
        put_in_place(part, path)
    return aside


def _put_rows(folder: Path, database_url: str) -> None:
    """In place of those that are there, in one transaction: all of them or none."""
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=folder.parent) as name:
        work = Path(name) / DATABASE
        with disk_errors(f"The backup could not be copied to {name}"):
            shutil.copyfile(folder / DATABASE, work)
        copy, db = connect(f"sqlite:///{work}"), connect(database_url)
        try:
            with reading(copy) as source, writing(db) as target:
                names = ", ".join(table.name for table in snapshot.TABLES)
                target.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY"))
                # Whoever still has it open notices that it is not what it was.
                target.execute(sa.update(studio).values(id=secrets.token_hex(16)))
                snapshot.copy_rows(source, target)
        finally:
            copy.dispose()
            db.dispose()


def _verify(store: Store, rows: Sequence[tuple[str, str]]) -> None:
    for key, digest in rows:
        found = hashlib.sha256()
        with store.open(key) as file:
            while data := file.read(1 << 20):
                found.update(data)
        if found.hexdigest() != digest:
            raise BadValue(f"The file {key!r} is not in the store as the backup lists it; restore again.")
