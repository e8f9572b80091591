"""How far jobs are, in one query for any number of them: for whoever follows them while they wait and run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db.engine import reading
from db.jobs import ENDED, State
from db.schema import artefacts, jobs


@dataclass(frozen=True)
class Glance:
    """A job's progress. preview: (id of the newest picture of it so far, when it was stored in UTC s); None: none."""

    id: str
    state: State
    step: int
    total_steps: int
    score: float | None
    steps_per_s: float | None
    attempt: int
    cancel_requested: bool
    hidden: bool
    preview: tuple[str, float] | None

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ENDED


_NAMES = ("id", "state", "step", "total_steps", "score", "steps_per_s", "attempt", "cancel_requested", "hidden")
_PROGRESS = (
    sa.select(*(jobs.c[name] for name in _NAMES), artefacts.c.id.label("preview_id"), artefacts.c.created_at)
    .outerjoin(artefacts, sa.and_(artefacts.c.job_id == jobs.c.id, artefacts.c.kind == "preview"))
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
)


def glances(db: sa.Engine, job_ids: Sequence[str]) -> dict[str, Glance]:
    """The progress of these jobs, by id; those that are not there are left out."""
    found = {}
    with reading(db) as conn:
        for i in range(0, len(job_ids), 500):
            for row in conn.execute(_PROGRESS, {"ids": list(job_ids[i : i + 500])}):
                preview = None if row.preview_id is None else (row.preview_id, row.created_at)
                values = {name: getattr(row, name) for name in _NAMES}
                found[row.id] = Glance(**{**values, "state": State(row.state)}, preview=preview)
    return found
