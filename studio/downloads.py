"""Votes and jobs as files to take home, written a line at a time: none is ever whole in memory here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import sqlalchemy as sa

from db.evening import tables
from generator import registry
from studio.context import Studio

MEDIA_TYPES = {"csv": "text/csv", "json": "application/json"}


def lines(studio: Studio, name: str) -> Iterator[str]:
    """The lines of one of FILES, of what may be seen now. Read while they are taken: DatabaseUnavailable on the way.

    Raises UnknownName.
    """
    made: Iterator[str] = registry.lookup("file", FILES, name)(studio.db)
    return made


def media_type(name: str) -> str:
    """What one of FILES is. Raises UnknownName."""
    return str(registry.lookup("kind of file", MEDIA_TYPES, name.rpartition(".")[2]))


def _csv(db: sa.Engine, votes: bool) -> Iterator[str]:
    yield "\ufeff"  # with the mark in front, Excel reads the file as UTF-8
    yield from tables.as_csv(
        tables.VOTE_COLUMNS if votes else tables.JOB_COLUMNS, tables.votes(db) if votes else tables.jobs(db)
    )


FILES: dict[str, Callable[[sa.Engine], Iterator[str]]] = {
    "votes.csv": lambda db: _csv(db, votes=True),
    "votes.json": lambda db: tables.as_json(tables.votes(db)),
    "jobs.csv": lambda db: _csv(db, votes=False),
    "jobs.json": lambda db: tables.as_json(tables.jobs(db)),
}
