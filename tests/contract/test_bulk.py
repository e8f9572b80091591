"""One look at who did what, and what the host does about several at once: all or nothing, and it can be taken back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db import queue, votes
from db.errors import Banned, UnknownAction
from db.evening import bulk, moderation
from tests.contract.queue_steps import take
from tests.contract.test_addresses import ask


def drawn(db: sa.Engine, submitter: str, address: str | None) -> str:
    job = ask(db, submitter, address)
    take(db)
    return queue.succeed(db, worker_id="w1", job_id=job.id).id


def test_one_look_says_who_did_what(database: sa.Engine) -> None:
    one, other = drawn(database, "ada", "nat"), drawn(database, "bob", "nat")
    ask(database, "ada", "nat")
    ask(database, "eve", "mobile")
    take(database)
    votes.cast(database, voter="voter", left_id=one, right_id=other, choice="left", address="nat", since=1.0)
    people = {found.id: found for found in bulk.by_visitor(database)}
    assert set(people) == {"ada", "bob", "eve", "voter"}
    assert (people["ada"].asked, people["ada"].live, people["voter"].votes) == (2, 1, 1)
    assert people["ada"].address == people["voter"].address == "nat"
    assert people["ada"].first_at is not None and people["ada"].first_at <= (people["ada"].last_at or 0)
    nat, mobile = sorted(bulk.by_address(database), key=lambda found: -found.asked)
    assert (nat.id, nat.asked, nat.visitors, nat.votes) == ("nat", 3, 2, 1)
    assert (mobile.id, mobile.asked, mobile.banned_at) == ("mobile", 1, None)
    assert [found.id for found in bulk.by_visitor(database, limit=1)] == ["voter"]


def test_a_flood_ends_with_its_address_and_comes_back_without_its_jobs(database: sa.Engine) -> None:
    before = drawn(database, "fresh-0", "nat")
    bystander = drawn(database, "ada", "elsewhere")
    for n in range(6):
        ask(database, f"fresh-{n}", "nat")
    running = take(database)
    ask(database, "ada", "elsewhere")
    done = bulk.act(database, addresses=["nat"], ban=True, hide=True, ban_s=3600)
    assert (done.cancelled, done.hidden, done.addresses, done.visitors) == (6, 7, ("nat",), ())
    assert queue.get(database, running[0].id).cancel_requested
    assert queue.get(database, before).hidden and not queue.get(database, bystander).hidden
    assert queue.counts(database)["queued"] == 1
    for n in range(6, 9):
        with pytest.raises(Banned):
            ask(database, f"fresh-{n}", "nat")
    (address, _) = bulk.by_address(database)
    assert address.id == "nat" and address.banned_until is not None

    undone = bulk.undo(database, done.id)
    assert undone.undone_at is not None and not queue.get(database, before).hidden
    assert queue.counts(database)["queued"] == 1, "what was ended stays so"
    ask(database, "fresh-9", "nat")
    with pytest.raises(UnknownAction):
        bulk.undo(database, done.id)
    with pytest.raises(UnknownAction):
        bulk.undo(database, "nothing")


def test_several_visitors_are_banned_at_once_and_older_bans_outlive_undo(database: sa.Engine) -> None:
    hidden = drawn(database, "bob", "bob")
    queue.set_hidden(database, hidden)
    for name in ("ada", "bob", "eve"):
        ask(database, name, name)
    moderation.ban(database, "ada")
    done = bulk.act(database, visitors=["ada", "bob"], ban=True, hide=True)
    assert done.visitors == ("bob",)
    assert queue.counts(database)["queued"] == 1, "eve's"
    for name in ("ada", "bob"):
        with pytest.raises(Banned):
            ask(database, name, "another")
    bulk.undo(database, done.id)
    ask(database, "bob", "bob")
    assert queue.get(database, hidden).hidden, "what was hidden before stays so"
    with pytest.raises(Banned):
        ask(database, "ada", "ada")


def banned_addresses(database: sa.Engine) -> list[tuple[str, bool]]:
    found = bulk.by_address(database)
    return [(one.id, one.banned_until is None) for one in found if one.banned_at is not None]


def test_taking_back_lifts_no_other_ban_of_the_same(database: sa.Engine) -> None:
    first = bulk.act(database, addresses=["nat"], ban=True)
    second = bulk.act(database, addresses=["nat"], ban=True, ban_s=60)
    bulk.undo(database, second.id)
    assert banned_addresses(database) == [("nat", True)], "the older ban is there again"
    third = bulk.act(database, addresses=["nat"], ban=True, ban_s=60)
    bulk.undo(database, first.id)
    assert banned_addresses(database) == [("nat", False)], "the newer one stays"
    bulk.undo(database, third.id)
    assert banned_addresses(database) == [], "and both are taken back"
    ask(database, "ada", "nat")
    once = bulk.act(database, visitors=["ada"], ban=True)
    moderation.lift_ban(database, "ada")
    moderation.ban(database, "ada")
    bulk.undo(database, once.id)
    with pytest.raises(Banned):
        ask(database, "ada", "elsewhere")


def test_the_last_things_done_are_listed(database: sa.Engine) -> None:
    ask(database, "ada", "nat")
    first = bulk.act(database, visitors=["ada"], cancel=True)
    second = bulk.act(database, addresses=["nat"], ban=True)
    assert [done.id for done in bulk.actions(database)] == [second.id, first.id]
    assert (first.cancelled, first.hidden, second.cancelled) == (1, 0, 0)
    bulk.lift_address(database, "nat")
    ask(database, "ada", "nat")
