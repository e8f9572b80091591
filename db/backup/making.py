"""A backup of the studio while it runs: the database first, then the files that its rows name, each compared with them.

A backup is a folder, named by when it was made:

    database.sqlite   the snapshot (db/backup/snapshot.py)
    files/            the store's files under their keys; those that are as in the backup before are hard links to it
    SHA256SUMS        of all of these; `sha256sum -c SHA256SUMS` looks through a backup without the studio
    backup.json       what it is and how much

What changes while files are copied (a preview that forms further, a job that is deleted) is put right in the snapshot,
so that a row and its file belong together. A file that is gone or damaged in the store itself is named: see Made.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from db.artefacts import Artefact, Store
from db.artefacts.store import hash_of
from db.backup import snapshot
from db.engine import connect, reading, writing
from db.errors import BadValue, StoreFull, StoreUnavailable, UnknownArtefact
from db.schema import REVISION, artefacts, host_sessions, jobs, searches
from lasting import make_folder, sync, sync_file, sync_folder

DATABASE, FILES, SUMS, ABOUT = "database.sqlite", "files", "SHA256SUMS", "backup.json"
FORMAT = 1
_NAME = re.compile(r"(\d{8}T\d{6}Z)(?:-(\d+))?")
_PART = ".part-"
_PATIENCE_S = 3.0  # a file is written before its row: what does not fit its row may do so in a moment


@dataclass
class Made:
    """How a backup went. copied, linked: files; size: bytes of all of them; damaged: keys of files that are not in the
    store as their rows say, and so not in the backup."""

    folder: Path
    copied: int = 0
    linked: int = 0
    size: int = 0
    damaged: list[str] = field(default_factory=list)


def back_up(db: sa.Engine, store: Store, target: Path, *, keep: int, version: str) -> Made:
    """A new backup in the folder `target`; of those there, the newest `keep` stay.

    Raises BadValue where another one is being made there, StoreFull and StoreUnavailable, DatabaseUnavailable.
    """
    if keep < 1:
        raise BadValue(f"{keep} backups cannot be kept; 1 or more is permitted.")
    with _alone(target), disk_errors(f"The backup could not be written to {target}"):
        for left in target.glob(f"{_PART}*"):
            shutil.rmtree(left)
        before = next(iter(backups(target)), None)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        taken = {folder.name for folder in backups(target)}
        name = next(n for n in (name, *(f"{name}-{i}" for i in range(2, 1000))) if n not in taken)
        part = target / f"{_PART}{name}"
        (part / FILES).mkdir(parents=True, mode=0o700)
        made = Made(target / name)
        snapshot.take(db, part / DATABASE)
        copy = connect(f"sqlite:///{part / DATABASE}")
        try:
            with writing(copy) as conn:
                # What lets somebody in is not in a backup that others may get hold of, nor what somebody searches for,
                # which is there only until it is read; neither is what the file would still hold of it.
                conn.exec_driver_sql("PRAGMA secure_delete=ON")
                for table in (host_sessions, searches):
                    conn.execute(sa.delete(table))
            sums = _files(db, store, copy, part, before, made)
            counts = snapshot.counts(copy)
        finally:
            copy.dispose()
        for log in part.glob(f"{DATABASE}-*"):
            log.unlink()
        sums[DATABASE] = hash_of(part / DATABASE)
        _write(part / SUMS, "".join(f"{digest}  {path}\n" for path, digest in sorted(sums.items())))
        about = {
            "format": FORMAT,
            "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "version": version,
            "revision": REVISION,
            "rows": counts,
            "files": made.copied + made.linked,
            "bytes": made.size,
            "damaged": made.damaged,
        }
        _write(part / ABOUT, json.dumps(about, indent=1))
        sync_file(part / DATABASE)
        for inside, _, _ in os.walk(part):
            sync_folder(Path(inside))
        part.rename(target / name)
        sync_folder(target)
        for old in backups(target)[keep:]:
            shutil.rmtree(old)
    return made


def backups(target: Path) -> list[Path]:
    """The whole ones there, the newest first."""
    found = {one: _NAME.fullmatch(one.name) for one in target.glob("*") if (one / ABOUT).is_file()}
    # Those of one second are numbered from the second one on.
    made = {one: (name[1], int(name[2] or 1)) for one, name in found.items() if name}
    return sorted(made, key=made.__getitem__, reverse=True)


def _files(db: sa.Engine, store: Store, copy: sa.Engine, part: Path, before: Path | None, made: Made) -> dict[str, str]:
    """Every file that the snapshot names; path in the backup -> sha256."""
    with reading(copy) as conn:
        rows = [Artefact(**row._mapping) for row in conn.execute(sa.select(artefacts).order_by(artefacts.c.id))]
    known = sums_of(before) if before else {}
    sums: dict[str, str] = {}
    for row in rows:
        path = f"{FILES}/{row.key}"
        (part / path).parent.mkdir(parents=True, exist_ok=True)
        if before and known.get(path) == row.sha256 and _link(before / path, part / path, row.sha256):
            made.linked += 1
        else:
            now = _fetch(db, store, row, part / path)
            if now is None or now != row:
                _put_right(copy, row, now)
            if now is None:
                if _is_missed(db, row.id):
                    made.damaged.append(row.key)
                continue
            row = now
            made.copied += 1
        sums[path] = row.sha256
        made.size += row.size
    return sums


def _fetch(db: sa.Engine, store: Store, row: Artefact, target: Path) -> Artefact | None:
    """Copy a file; its row as it is when both fit each other, None where they never do or are gone."""
    until, copied, pause_s, found = time.monotonic() + _PATIENCE_S, None, 0.005, row
    while True:
        if copied is None or found != row:  # a preview that has formed further since
            row, pause_s = found, 0.005
            try:
                copied = _copy(store, row.key, target)
            except UnknownArtefact:
                copied = None
        if copied == (row.sha256, row.size):
            return row
        with reading(db) as conn:
            now = conn.execute(sa.select(artefacts).where(artefacts.c.id == row.id)).one_or_none()
        if now is None:
            break
        found = Artefact(**now._mapping)
        if copied == (found.sha256, found.size):
            return found
        if time.monotonic() > until:
            break
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.5)
    target.unlink(missing_ok=True)
    return None


def _is_missed(db: sa.Engine, artefact_id: str) -> bool:
    """Whether there is still such a file by its row; that of a job which is being deleted goes before its row does."""
    named = sa.select(artefacts.c.id, jobs.c.deleted_at).outerjoin(jobs, jobs.c.id == artefacts.c.job_id)
    with reading(db) as conn:
        row = conn.execute(named.where(artefacts.c.id == artefact_id)).one_or_none()
    return row is not None and row.deleted_at is None


def _put_right(copy: sa.Engine, row: Artefact, now: Artefact | None) -> None:
    with writing(copy) as conn:
        one = artefacts.c.id == row.id
        conn.execute(
            sa.delete(artefacts).where(one) if now is None else sa.update(artefacts).where(one).values(vars(now))
        )


def _copy(store: Store, key: str, target: Path) -> tuple[str, int]:
    """sha256 and bytes of what was copied, on the disk."""
    digest, size = hashlib.sha256(), 0
    with store.open(key) as source, target.open("wb") as file:
        while data := source.read(1 << 20):
            digest.update(data)
            size += file.write(data)
        file.flush()
        sync(file.fileno())
    return digest.hexdigest(), size


def _link(before: Path, target: Path, sha256: str) -> bool:
    """Whether the file of the backup before stands here too now: the same bytes on the disk, once.

    One that is damaged there by now is copied anew.
    """
    try:
        if hash_of(before) != sha256:
            return False
        os.link(before, target)
    except OSError:  # gone, too many links, or a disk without them
        return False
    return True


def sums_of(folder: Path) -> dict[str, str]:
    """What SHA256SUMS says: path -> sha256. Raises BadValue."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadValue(f"{folder} is no backup: {SUMS} cannot be read ({error}).") from None
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        sync(file.fileno())


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    with disk_errors(f"The backup could not be written to {target}"):
        if not target.is_dir():
            make_folder(target.parent)
            target.mkdir(exist_ok=True, mode=0o700)
            sync_folder(target.parent)
        lock = (target / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadValue(f"Another backup is being made in {target}; wait for its end.") from None
        yield


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """An error of the disk as one of the studio's: `what` with its reason. Raises StoreFull and StoreUnavailable."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in (28, 122) else StoreUnavailable
        raise kind(f"{what}: {error.strerror or error}.") from error
