"""Keys of programs on both databases: what is kept lets nobody in, and what is revoked stays so."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db import queue
from db.errors import BadValue, TooManyQueued, TooManyThisHour, UnknownKey
from db.rules import host_rules, keys, visitors
from db.schema import api_keys
from tests.contract.queue_steps import add, take


def test_a_key_is_found_by_its_secret_alone(database: sa.Engine) -> None:
    secret, key = keys.make(database, "  a bot ", "read", max_queued=3)
    assert key.name == "a bot" and secret.startswith(keys.PREFIX) and len(secret) > 40
    assert keys.find(database, secret) == key
    for wrong in (secret[:-1], secret + "x", key.id, key.submitter, "", "t2i_", "\x00", "\ud800"):
        assert keys.find(database, wrong) is None
    with database.connect() as conn:
        kept = [str(value) for row in conn.execute(sa.select(api_keys)) for value in row]
    assert not any(secret in value for value in kept)


def test_a_revoked_key_lets_nobody_in_and_keeps_its_first_day(database: sa.Engine) -> None:
    secret, key = keys.make(database, "a bot")
    gone = keys.revoke(database, key.id)
    assert gone.revoked_at is not None and keys.find(database, secret) is None
    assert keys.revoke(database, key.id) == gone
    other = keys.make(database, "another", "host")[1]
    assert [one.id for one in keys.every(database)] == [other.id, key.id]
    with pytest.raises(UnknownKey):
        keys.revoke(database, "none")


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        (" ", {}, "needs a name"),
        ("x" * 41, {}, "41 characters"),
        ("\x00", {}, "NUL"),
        ("a", {"scope": "root"}, "read, submit, host"),
        ("a", {"max_queued": 0}, "max_queued is 0"),
        ("a", {"max_per_hour": 10**9}, "max_per_hour"),
    ],
)
def test_what_can_be_no_key_is_refused(database: sa.Engine, name: str, more: dict[str, object], says: str) -> None:
    with pytest.raises(BadValue, match=says):
        keys.make(database, name, **more)  # type: ignore[arg-type]
    assert keys.every(database) == []


def test_its_pictures_are_shown_with_its_name(database: sa.Engine) -> None:
    key = keys.make(database, "a bot")[1]
    assert visitors.names(database, [key.submitter]) == {key.submitter: "a bot"}


def test_the_limits_of_a_key_prevail_over_the_hosts(database: sa.Engine) -> None:
    host_rules.change(database, max_queued=1, max_per_hour=1)
    wide = keys.make(database, "wide", max_queued=3)[1]
    for _ in range(3):
        add_of(database, wide)
    with pytest.raises(TooManyQueued):
        add_of(database, wide)
    narrow = keys.make(database, "narrow", max_per_hour=2)[1]
    host_rules.change(database, max_per_hour=100, max_queued=100)
    for _ in range(2):
        add_of(database, narrow)
    with pytest.raises(TooManyThisHour):
        add_of(database, narrow)
    plain = keys.make(database, "plain")[1]
    assert plain.limits is None


def add_of(database: sa.Engine, key: keys.Key) -> None:
    new = queue.NewJob(engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="x", params={}, total_steps=1)
    limits = key.limits
    assert limits is not None
    queue.enqueue(database, new, submitter=key.submitter, limits=limits)


def test_a_key_takes_its_turn_as_one(database: sa.Engine) -> None:
    key = keys.make(database, "a bot")[1]
    first = add(database, key.submitter)
    for _ in range(2):
        add(database, key.submitter)
    ada = add(database, "ada")
    assert [job.id for job in take(database, limit=1)] == [first.id]
    assert [job.id for job in take(database, limit=1)] == [ada.id]
