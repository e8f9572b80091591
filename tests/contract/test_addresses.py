"""Ids cost nothing, addresses do: what one address may have, and that many ids of one do not pass everybody else."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
import sqlalchemy as sa

from db import queue, votes
from db.errors import Banned, QueueFull, TooManyFromAddress, TooManyFromAddressThisHour, TooManyQueued
from db.jobs import Job
from db.queue import Limits, Order, workers
from db.queue.fair_order import ADDRESS_TURNS
from db.rules import host_rules, visitors
from db.schema import banned_addresses
from db.sheets import submissions
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import take

NEW = queue.NewJob(
    engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt="a", params={"prompt": "a"}, total_steps=1
)


def ask(db: sa.Engine, submitter: str, address: str | None = "nat", limits: Limits = queue.NO_LIMITS) -> Job:
    return queue.enqueue(db, NEW, submitter=submitter, limits=limits, order=Order(address=address))


def order_of(db: sa.Engine) -> list[str]:
    """Whose jobs executors take, one after the other, until nothing waits; as foretold before the first is taken."""
    foretold = [job.submitter for job in queue.queued_jobs(db, limit=500)]
    served = []
    while taken := take(db):
        served.append(taken[0].submitter)
    assert served == foretold, "the page says what executors do"
    return served


def test_fresh_ids_share_what_their_address_may_have(database: sa.Engine) -> None:
    limits = Limits(max_queued=8, max_queued_per_address=10)
    refused = 0
    for n in range(30):
        try:
            ask(database, f"fresh-{n}", limits=limits)
        except TooManyFromAddress as error:
            refused += 1
            assert "10 may" in str(error) and isinstance(error, TooManyQueued)
    assert queue.counts(database)["queued"] == 10 and refused == 20
    ask(database, "elsewhere", "mobile", limits)
    ask(database, "a key", None, limits)


def test_a_set_that_does_not_fit_is_refused_whole(database: sa.Engine) -> None:
    wanted = NewSheet(kind="candidates", prompt="a", wanted=[(str(n), NEW) for n in range(4)])
    limits, order = Limits(max_queued_per_address=6), Order(address="nat")
    submissions.submit(database, wanted, submitter="ada", limits=limits, order=order)
    with pytest.raises(TooManyFromAddress, match="These 4 jobs were not queued: 4 jobs"):
        submissions.submit(database, wanted, submitter="bob", limits=limits, order=order)
    assert queue.counts(database)["queued"] == 4


def test_an_address_has_an_hour_too(database: sa.Engine) -> None:
    limits = Limits(max_per_hour_per_address=3)
    for n in range(3):
        ask(database, f"fresh-{n}", limits=limits)
        take(database)
    with pytest.raises(TooManyFromAddressThisHour, match="3 jobs were asked for from your network address"):
        ask(database, "fresh-9", limits=limits)


def test_the_queue_as_a_whole_has_an_end(database: sa.Engine) -> None:
    limits = Limits(max_queued_in_all=5)
    for n in range(5):
        ask(database, f"fresh-{n}", f"address-{n}", limits)
    for limited in (limits, Limits(max_queued=50, own=True, max_queued_in_all=5)):
        with pytest.raises(QueueFull, match="the queue is full, 5 jobs"):
            ask(database, "late", None, limited)


def test_the_host_decides_while_it_runs(database: sa.Engine) -> None:
    host_rules.change(database, max_queued_per_address=1, max_queued_in_all=2)
    ask(database, "ada", limits=Limits(max_queued_per_address=100))
    with pytest.raises(TooManyFromAddress):
        ask(database, "bob")
    ask(database, "eve", "mobile")
    with pytest.raises(QueueFull):
        ask(database, "sue", "home")


def test_a_flood_at_once_gets_no_further(database: sa.Engine) -> None:
    """Many connections at the same moment: counted one after the other."""
    limits = Limits(max_queued=8, max_queued_per_address=12, max_queued_in_all=20)
    got: Counter[str] = Counter()

    def flood(part: int) -> None:
        for n in range(8):
            try:
                ask(database, f"fresh-{part}-{n}", f"address-{part % 2}", limits)
                got[f"address-{part % 2}"] += 1
            except TooManyQueued:
                got["refused"] += 1

    threads = [threading.Thread(target=flood, args=(part,)) for part in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.counts(database)["queued"] == 20 and got["refused"] == 28
    assert max(got["address-0"], got["address-1"]) <= 12


def test_many_ids_of_one_address_do_not_pass_one_id_of_another(database: sa.Engine) -> None:
    for n in range(40):
        ask(database, f"fresh-{n}", "flooder")
    for _ in range(3):
        for name in ("ada", "bob", "eve"):
            ask(database, name, f"{name}'s")
    served = order_of(database)
    for name in ("ada", "bob", "eve"):
        nth = [place for place, who in enumerate(served) if who == name]
        for turn, place in enumerate(nth, start=1):
            fresh = sum(who.startswith("fresh") for who in served[:place])
            assert fresh <= turn * ADDRESS_TURNS, (name, turn, fresh)


def test_where_all_share_one_address_turns_are_as_without_addresses(database: sa.Engine) -> None:
    names = [f"guest-{n}" for n in range(7)]
    for address in ("nat", None):
        for name in names:
            for _ in range(3):
                ask(database, name, address)
        assert order_of(database) == names * 3
        ask(database, "guest-6", address)
        ask(database, "guest-0", address)
        assert order_of(database) == ["guest-6", "guest-0"]


def test_a_few_of_one_household_are_each_served_as_if_alone(database: sa.Engine) -> None:
    for _ in range(3):
        for n in range(ADDRESS_TURNS):
            ask(database, f"member-{n}", "home")
        ask(database, "ada", "elsewhere")
    assert Counter(order_of(database)[:5]) == Counter([*(f"member-{n}" for n in range(ADDRESS_TURNS)), "ada"])


def test_the_wait_that_is_told_knows_of_addresses(database: sa.Engine) -> None:
    workers.register(database, worker_id="w1", device="cpu", engines=("vqgan-clip",), places=1, hostname="here", pid=1)
    done = ask(database, "before", None)
    take(database)
    queue.succeed(database, worker_id="w1", job_id=done.id)
    for n in range(30):
        ask(database, f"fresh-{n}", "flooder")
    mine = ask(database, "ada", "elsewhere")
    last = queue.queued_jobs(database, limit=500)[-1]
    places = queue.places(database, [mine.id, last.id])
    assert places[mine.id].position == ADDRESS_TURNS + 1
    assert (places[mine.id].wait or 0) < (places[last.id].wait or 0) / 4


def test_a_banned_address_neither_draws_nor_votes_until_its_time_is_over(database: sa.Engine) -> None:
    pair = [ask(database, name, None) for name in ("ada", "bob")]
    for _ in pair:
        (job,) = take(database)
        queue.succeed(database, worker_id="w1", job_id=job.id)
    with database.begin() as conn:
        conn.execute(sa.insert(banned_addresses).values(address="nat", banned_at=time.time(), until=None))
    with pytest.raises(Banned):
        ask(database, "fresh")
    with pytest.raises(Banned):
        votes.cast(database, voter="v", left_id=pair[0].id, right_id=pair[1].id, choice="left", address="nat")
    with pytest.raises(Banned):
        visitors.set_name(database, "fresh", "Ada", "nat")
    ask(database, "fresh", "elsewhere")
    with database.begin() as conn:
        conn.execute(sa.update(banned_addresses).values(until=time.time() - 1))
    ask(database, "fresh")
