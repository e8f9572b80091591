"""That pictures are made with AI, where the host wants it said beside them."""

from __future__ import annotations

from typing import Protocol


class Wanted(Protocol):
    """What is read of the configuration."""

    @property
    def made_with_ai_note(self) -> bool: ...


def note(settings: Wanted) -> str:
    """What stands beside pictures that leave the studio; empty: nothing."""
    return "Made with AI" if settings.made_with_ai_note else ""
