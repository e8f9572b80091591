"""Who belongs to one trainer, among the connections of many: the ids that it keeps for validation hold for them all.

The protocol gives a trainer no name, and opens a connection for each worker and for each step of its setup. Those from
one host under one path of the address (ws://HOST:PORT/PATH) are one group. Two trainers that share both are safe, if
wasteful: what either keeps for validation is left out for both, as long as the other is at work.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_BETWEEN_EPOCHS_S = 600.0  # workers that have ended an epoch come back, after a validation that may be long


@dataclass(eq=False)
class Member:
    """One connection. works: it asked for data after a reset; gathers: it also asks what there is, as setups do;
    ended: it was told the end of its epoch."""

    works: bool = False
    gathers: bool = False
    ended: bool = False

    @property
    def trains(self) -> bool:
        """Whether it is a trainer's worker, as far as can be seen."""
        return self.works and not self.gathers


@dataclass
class Group:
    """One trainer's connections. left_out: indices of samples that none of them is sent."""

    members: set[Member] = field(default_factory=set)
    left_out: frozenset[int] = frozenset()
    opened: int = 0  # connections so far
    _busy_until: float = 0.0

    def join(self) -> Member:
        """A connection is opened."""
        member = Member()
        self.members.add(member)
        self.opened += 1
        return member

    def leave(self, member: Member) -> None:
        """A connection is closed."""
        self.members.discard(member)
        if member.trains:
            # A worker that goes in the middle of its epoch has been ended, and its trainer with it.
            self._busy_until = time.monotonic() + _BETWEEN_EPOCHS_S if member.ended else 0.0

    def keep_out(self, indices: frozenset[int], member: Member) -> bool:
        """Leave these samples out from now on; whether others' are left out with them, whose trainer is at work."""
        others = any(one.trains for one in self.members - {member}) or time.monotonic() < self._busy_until
        added = others and bool(self.left_out - indices)
        self.left_out = self.left_out | indices if others else indices
        self._busy_until = time.monotonic() + _BETWEEN_EPOCHS_S  # its workers come when its model is built
        return added

    @property
    def forgettable(self) -> bool:
        """Whether nobody is here or expected back."""
        return not self.members and time.monotonic() >= self._busy_until
