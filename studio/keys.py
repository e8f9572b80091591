"""Keys of programs, as the host makes and revokes them, and who asks when one is shown."""

from __future__ import annotations

from db.rules import keys
from db.rules.keys import Key
from studio.access import check_host
from studio.context import Studio, Submitter


def make_key(
    studio: Studio,
    submitter: Submitter,
    name: str,
    scope: str,
    max_queued: int | None = None,
    max_per_hour: int | None = None,
) -> tuple[str, Key]:
    """The key, shown this once, and its row. Raises NotHost, BadValue."""
    check_host(submitter)
    return keys.make(studio.db, name, scope, max_queued=max_queued, max_per_hour=max_per_hour)


def every_key(studio: Studio, submitter: Submitter) -> list[Key]:
    """All keys, revoked ones included, the newest first. Raises NotHost."""
    check_host(submitter)
    return keys.every(studio.db)


def revoke_key(studio: Studio, submitter: Submitter, key_id: str) -> Key:
    """Nobody is let in with it any more. Raises NotHost, UnknownKey."""
    check_host(submitter)
    return keys.revoke(studio.db, key_id)


def holder(key: Key) -> Submitter:
    """Who asks when this key is shown: the host made it, so no event's code is asked for and no address counts."""
    return Submitter(key.submitter, is_host=key.scope == "host", limits=key.limits, admitted=True)
