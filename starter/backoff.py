"""How long to wait before a part that died is started again, and when to give it up."""

from __future__ import annotations

from dataclasses import dataclass

SOON_S = 120.0  # a part that dies sooner than this after its start has died soon
MAX_UNREADY = 5  # deaths in a row, each soon, of which none was ever ready: it cannot work
MAX_SOON = 20  # deaths in a row, each soon, though it was ready: some jobs kill their executor, and they are lost first


@dataclass
class Backoff:
    """The deaths of one part. longest_s: of all waits; they double from 1 s."""

    longest_s: float
    unready: int = 0
    soon: int = 0

    def died(self, lived_s: float, was_ready: bool) -> float | None:
        """s to wait before the next start; None: it is given up."""
        if lived_s >= SOON_S:
            self.unready = self.soon = 0
            return 1.0
        self.soon += 1
        self.unready = 0 if was_ready else self.unready + 1
        if self.unready >= MAX_UNREADY or self.soon >= MAX_SOON:
            return None
        return min(2.0 ** (self.soon - 1), self.longest_s)
