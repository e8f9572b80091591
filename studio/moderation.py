"""The host's look at who did what, by visitor and by address, and what is done about several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from db.errors import BadValue
from db.evening import bulk
from db.evening.bulk import Action, Doings
from studio.access import check_host
from studio.context import Studio, Submitter
from studio.engines import engines_making

MAX_AT_ONCE = 1000
MAX_BAN_S = 365 * 24 * 3600.0


@dataclass(frozen=True)
class Bulk:
    """What is done, and to whom. visitors: their ids; addresses: what stands for them. ban_s: how long addresses stay
    banned, in s; None: until the ban is lifted."""

    visitors: Sequence[str] = ()
    addresses: Sequence[str] = ()
    cancel: bool = False
    hide: bool = False
    ban: bool = False
    ban_s: float | None = None

    def check(self) -> None:
        """Raises BadValue where nobody is meant or nothing is to be done."""
        if not self.visitors and not self.addresses:
            raise BadValue("Nobody is chosen; choose visitors or addresses.")
        if len(self.visitors) + len(self.addresses) > MAX_AT_ONCE:
            count = len(self.visitors) + len(self.addresses)
            raise BadValue(
                "{count} visitors and addresses; at most {most} at once are permitted.", count=count, most=MAX_AT_ONCE
            )
        if not (self.cancel or self.hide or self.ban):
            raise BadValue("Nothing is to be done; permitted: cancel, hide, ban.")
        if self.ban_s is not None and not 0 < self.ban_s <= MAX_BAN_S:
            raise BadValue(
                "A ban of {seconds:g} s; more than 0 and at most {most:g} (a year) is permitted.",
                seconds=self.ban_s,
                most=MAX_BAN_S,
            )


def people(studio: Studio, submitter: Submitter, *, limit: int = 50) -> list[Doings]:
    """Every visitor who did something, the last one first, behind everybody who is banned."""
    check_host(submitter)
    return bulk.by_visitor(studio.db, limit=limit)


def addresses(studio: Studio, submitter: Submitter, *, limit: int = 50) -> list[Doings]:
    """The same by address."""
    check_host(submitter)
    return bulk.by_address(studio.db, limit=limit)


def act(studio: Studio, submitter: Submitter, wanted: Bulk) -> Action:
    """Do it, all or nothing. Signing in as the host is never closed to anybody. Raises BadValue."""
    check_host(submitter)
    wanted.check()
    return bulk.act(
        studio.db,
        visitors=list(wanted.visitors),
        addresses=list(wanted.addresses),
        cancel=wanted.cancel,
        hide=wanted.hide,
        ban=wanted.ban,
        ban_s=wanted.ban_s,
        copies=engines_making("picture"),
    )


def undo(studio: Studio, submitter: Submitter, action_id: str) -> Action:
    """Show again what was hidden, lift the bans; jobs that were ended stay so. Raises UnknownAction."""
    check_host(submitter)
    return bulk.undo(studio.db, action_id)


def lift_address(studio: Studio, submitter: Submitter, address: str) -> None:
    """Who comes from there may come back."""
    check_host(submitter)
    bulk.lift_address(studio.db, address)


def actions(studio: Studio, submitter: Submitter, *, limit: int = 5) -> list[Action]:
    """What was done to several at once, the last first."""
    check_host(submitter)
    return bulk.actions(studio.db, limit=limit)
