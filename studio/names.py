"""The names visitors give themselves, shown with their pictures."""

from __future__ import annotations

from db.rules import visitors
from studio.context import Studio, Submitter


def name_of(studio: Studio, submitter: Submitter) -> str | None:
    """What they are called; None where they gave no name."""
    return visitors.names(studio.db, [submitter.id]).get(submitter.id)


def set_name(studio: Studio, submitter: Submitter, name: str) -> str | None:
    """Call them so from now on, an empty name for none. Raises BadValue, WordRefused, Banned."""
    return visitors.set_name(studio.db, submitter.id, name, submitter.address)
