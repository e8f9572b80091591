"""Votes and jobs to take home, as CSV or JSON: line by line, the newest first, without what the host has hidden."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from db.artefacts import given
from db.engine import reading
from db.jobs import State
from db.queue.listing import list_jobs
from db.schema import jobs as jobs_table
from db.votes import history

MAX_VOTES = 100_000
MAX_JOBS = 20_000
_PAGE = 500

VOTE_COLUMNS = ("id", "at", "voter", "left_id", "right_id", "choice")
JOB_COLUMNS = (
    "id",
    "engine",
    "checkpoint",
    "prompt",
    "state",
    "submitter",
    "created_at",
    "started_at",
    "finished_at",
    "step",
    "total_steps",
    "score",
    "steps_per_s",
    "error_kind",
    "parent_id",
    "params",
)

# What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection"), full-width signs included.
_FORMULA = tuple("=+-@＝＋－＠|%")


def withheld(db: sa.Engine) -> str:
    """A mark of what may not be taken home: another one as soon as any job is hidden, shown again or deleted."""
    with reading(db) as conn:
        hidden = conn.scalars(sa.select(jobs_table.c.id).where(jobs_table.c.hidden == sa.true())).all()
        oldest = conn.scalar(sa.select(sa.func.min(jobs_table.c.id)))
    return hashlib.sha256(" ".join([str(oldest), *sorted(hidden)]).encode()).hexdigest()


def votes(db: sa.Engine, limit: int = MAX_VOTES) -> Iterator[dict[str, Any]]:
    """The newest votes as VOTE_COLUMNS; choice is left, right or tie."""
    for page in history.in_pages(db, limit):
        for vote in page:
            right = vote.second_id if vote.left_id == vote.first_id else vote.first_id
            choice = {vote.left_id: "left", right: "right"}.get(vote.winner_id or "", "tie")
            row = (vote.id, _time(vote.at), alias(vote.voter), vote.left_id, right, choice)
            yield dict(zip(VOTE_COLUMNS, row, strict=True))


def jobs(db: sa.Engine, limit: int = MAX_JOBS) -> Iterator[dict[str, Any]]:
    """The newest jobs as JOB_COLUMNS, in whatever state."""
    before, left = None, limit
    while left > 0 and (page := list_jobs(db, before_id=before, limit=min(_PAGE, left), states=list(State))):
        settings = given.of_jobs_without(db, page)
        for job in page:
            row = {name: getattr(job, name) for name in JOB_COLUMNS} | {"submitter": alias(job.submitter)}
            row["params"] = settings[job.id]
            yield row | {name: _time(row[name]) for name in ("created_at", "started_at", "finished_at")}
        before, left = page[-1].id, left - len(page)


def as_csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a CSV file (RFC 4180). A text that a spreadsheet would run as a formula has a ' in front."""
    names = list(columns)
    line = io.StringIO()
    writer = csv.writer(line)
    for cells in ([*names], *([row[name] for name in names] for row in rows)):
        writer.writerow([_cell(cell) for cell in cells])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def as_json(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A JSON array with one object a line."""
    start = "[\n"
    for row in rows:
        yield start + json.dumps(row, ensure_ascii=False)
        start = ",\n"
    yield "[]\n" if start == "[\n" else "\n]\n"


def alias(visitor: str) -> str:
    """The same for the same visitor; the id itself stays secret, since whoever has it can act as that visitor."""
    return "visitor-" + hashlib.sha256(visitor.encode(errors="surrogatepass")).hexdigest()[:12]


def _cell(value: Any) -> Any:
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        # Blanks and control characters in front do not keep a spreadsheet from seeing a formula.
        shown = value.lstrip("".join(map(chr, range(0x21))) + "\u00a0\u200b\ufeff\u2060")
        if shown.startswith(_FORMULA) or value.startswith(("\t", "\r", "\n")):
            return "'" + value
    return value


def _time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
