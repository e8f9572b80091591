"""Looking up a name in a table, and what is said where it is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from characters.brief import Brief

Row = TypeVar("Row")


class UnknownName(Brief, ValueError):
    """An engine, checkpoint, CLIP model or style that is not in the tables; the message lists the valid ones."""

    def __init__(self, kind: str, name: str, valid: list[str], advice: str = "") -> None:
        """advice: a sentence more."""
        super().__init__(f"Unknown {kind} {name!r}. Choose one of: {', '.join(valid)}. {advice}".rstrip())
        self.kind, self.name, self.valid = kind, name, valid


def lookup(kind: str, table: Mapping[str, Row], name: str) -> Row:
    """`table[name]`; raises UnknownName with the valid names."""
    try:
        return table[name]
    except KeyError:
        raise UnknownName(kind, name, list(table)) from None
