"""What the studio keeps: how many jobs, and how many bytes of files and of the database."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.artefacts import Store
from db.engine import reading
from db.errors import UnknownArtefact
from db.jobs import LIVE
from db.schema import artefacts, datasets, jobs

DATASET, STATE, MODEL = "dataset", "training state", "model"  # kinds that training has brought
_MANIFEST = re.compile(r"jobs/[^/]+/[^/]+/state-\d+/manifest\.json")  # of a run's state, which is in parts


@dataclass(frozen=True)
class Usage:
    """Sizes in bytes. kinds: (files, bytes) by kind, the largest first, of a training state its parts as one; free: on
    the store's disk, None elsewhere."""

    kinds: dict[str, tuple[int, int]]
    database: int
    free: int | None

    @property
    def training(self) -> tuple[tuple[str, int, int], ...]:
        """(kind, files, bytes) of what training has brought."""
        return tuple((kind, *self.kinds[kind]) for kind in (DATASET, STATE, MODEL) if kind in self.kinds)

    @property
    def files(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.kinds.values())


def usage(db: sa.Engine, store: Store) -> Usage:
    """What is kept now."""
    size = sa.func.coalesce(sa.func.sum(artefacts.c.size), 0)
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(artefacts.c.kind, sa.func.count(), size).group_by(artefacts.c.kind).order_by(size.desc())
        ).all()
        kept = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(datasets.c.bytes), 0))
        kinds = {DATASET: conn.execute(kept).one(), **{kind: (count, total) for kind, count, total in rows}}
        runs = conn.scalars(sa.select(jobs.c.id).where(jobs.c.state.in_(LIVE), jobs.c.engine.like("train%"))).all()
        if conn.dialect.name == "postgresql":
            database = int(conn.scalar(sa.select(sa.func.pg_database_size(sa.func.current_database()))) or 0)
        else:
            path = Path(str(db.url.database))
            parts = (path, path.with_name(path.name + "-wal"))
            database = sum(part.stat().st_size for part in parts if part.exists())
    kinds[STATE] = _states(store, runs)
    found = {kind: (int(count), int(total)) for kind, (count, total) in kinds.items() if count}
    return Usage(dict(sorted(found.items(), key=lambda kind: -kind[1][1])), database, _free(store))


def _states(store: Store, run_ids: Sequence[str]) -> tuple[int, int]:
    """(states, bytes) of what runs in progress go on from; those that are replaced in this moment are left out."""
    count = total = 0
    for run_id in run_ids:
        for key in store.under(f"jobs/{run_id}"):
            if _MANIFEST.fullmatch(key):
                with suppress(UnknownArtefact, ValueError, LookupError, TypeError):
                    total += int(json.loads(store.get(key))["bytes"])
                    count += 1
    return count, total


def _free(store: Store) -> int | None:
    folder = store.local_path("any")
    while folder is not None and not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return None if folder is None else shutil.disk_usage(folder).free
