"""How much room is left on the disks that the studio writes to, and the mark under which nothing new is taken.

A disk that is full loses more than a wish: databases cannot commit, finished pictures cannot be kept. So some of it
stays free (T2I_MIN_FREE_BYTES). Whoever takes something new asks `check`: pages and the API before they keep a picture
or queue a job, executors before they claim one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.artefacts.store import Store
from db.errors import DiskNearlyFull

WORK_DIR = Path("data/work")  # where executors keep frames until a job has ended


@dataclass(frozen=True)
class Disk:
    """A disk of this machine. used_for: what the studio keeps there; folder: where; free: bytes that are left."""

    used_for: str
    folder: Path
    free: int


def free_bytes(folder: Path) -> int | None:
    """Bytes left to this user where the folder is, or would be made; None where that cannot be known.

    0 where no further file can be made there, however many bytes there are.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free
        files = os.statvfs(there) if hasattr(os, "statvfs") else None  # Windows has none
    except OSError:
        return None
    if files is not None and not files.f_blocks:
        return None  # no disk at all, e.g. /proc
    return 0 if files is not None and files.f_files and not files.f_favail else free


def disks(db: sa.Engine, store: Store, *, work_dir: Path | None = WORK_DIR) -> list[Disk]:
    """What is left for pictures, for the database and for work in progress, as far as they are on this machine.

    A store elsewhere and a database server are not asked. work_dir: None where no executor works on this machine.
    """
    keyed = store.local_path("any")
    wanted = [
        ("pictures", None if keyed is None else keyed.parent),
        ("database", Path(str(db.url.database)).parent if db.dialect.name == "sqlite" else None),
        ("work folder", work_dir),
    ]
    found = []
    for used_for, folder in wanted:
        if folder is not None and (free := free_bytes(folder)) is not None:
            found.append(Disk(used_for, folder, free))
    return found


def fullest(found: Sequence[Disk]) -> Disk | None:
    """The disk with the least room; None where there is none on this machine."""
    return min(found, key=lambda disk: disk.free, default=None)


def check(
    db: sa.Engine, store: Store, min_free: int, *, wanted: int = 0, work_dir: Path | None = WORK_DIR
) -> Disk | None:
    """Raises DiskNearlyFull where one of the disks would have less than `min_free` bytes left with `wanted` more.

    The fullest one is the answer, None where none is on this machine. min_free: 0 asks for nothing.
    """
    least = fullest(disks(db, store, work_dir=work_dir))
    if least is not None and least.free - wanted < min_free:
        raise DiskNearlyFull(least.used_for, str(least.folder.absolute()), least.free, min_free)
    return least
