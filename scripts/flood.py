"""A flood of fresh browsers behind one address, on a web app that this starts: how far it gets.

    python scripts/flood.py [--ids 100] [--budget 40]

Each fresh browser fetches a page, gets an id as everybody does, and asks for eight pictures; beside them one visitor of
another address asks for one. Then: the same with invented addresses, with ids in the page's address, with ids after
their address was banned. Prints what was held, and ends with 1 where something was not. Bounded in count and time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db import queue
from db.engine import connect
from db.evening import bulk
from db.jobs import State
from db.queue import workers
from db.queue.fair_order import ADDRESS_TURNS
from db.rules.salt import salt
from scripts.browser_session import NoSuchWidget, Session
from scripts.full_studio import Server
from studio.addresses import stand_in

FLOODER, GUEST = "198.51.100.9", "203.0.113.7"
AT_ONCE = 8
PICTURES = 8


@dataclass(frozen=True)
class Held:
    """One thing that must hold, what was seen of it, and whether it did."""

    what: str
    seen: str
    holds: bool


async def ask(server: Server, address: str, *, cookie: str | None = None, query: str = "", pictures: int = 1) -> str:
    """A browser behind this address asks for pictures; what it was told where it was refused, else ""."""
    async with Session(server.address, cookie, {"X-Forwarded-For": address}) as browser:
        await browser.open("", query)
        await browser.act("set_prompt", "a flood")
        if pictures > 1:
            await browser.act("set_pictures", pictures)
        await browser.act("Generate")
        return " ".join(browser.errors)


async def flood(server: Server, address: str, ids: int) -> Counter[str]:
    """So many fresh browsers, some at a time; how many were let in and how many refused."""
    gate, told = asyncio.Semaphore(AT_ONCE), Counter[str]()

    async def one() -> None:
        async with gate:
            try:
                refused = await ask(server, address, pictures=PICTURES)
            except NoSuchWidget as error:
                refused = str(error)
            told["refused" if refused else "let in"] += 1

    await asyncio.gather(*(one() for _ in range(ids)))
    return told


async def attack(server: Server, db: sa.Engine, ids: int, budget: int) -> list[Held]:
    """All of it, in order."""
    flooder, guest = (stand_in(address, salt(db)) for address in (FLOODER, GUEST))
    assert flooder is not None and guest is not None
    found = []

    def waiting() -> Counter[str | None]:
        jobs = queue.list_jobs(db, states=[State.QUEUED], limit=5000)
        from_ = bulk.addresses_of(db, [job.id for job in jobs])
        return Counter(from_.get(job.id) for job in jobs)

    began = time.monotonic()
    told = await flood(server, FLOODER, ids)
    count = waiting()[flooder]
    seen = f"{count} waiting of {ids * PICTURES} asked for in {time.monotonic() - began:.0f} s, {dict(told)}"
    found.append(Held(f"{ids} fresh ids of one address queue no more than its {budget}", seen, 0 < count <= budget))

    refused = await ask(server, GUEST)
    order = queue.queued_jobs(db, limit=5000)
    from_ = bulk.addresses_of(db, [job.id for job in order])
    place = next((n for n, job in enumerate(order, 1) if from_[job.id] == guest), 0)
    holds = not refused and 0 < place <= ADDRESS_TURNS + 1
    found.append(Held("a guest of another address passes them", f"place {place} of {len(order)}", holds))

    before = sum(waiting().values())
    invented = [await ask(server, f"192.0.2.{n}, {FLOODER}", pictures=PICTURES) for n in range(5)]
    after = sum(waiting().values())
    seen = f"{sum(map(bool, invented))} of 5 refused"
    found.append(Held("invented addresses left of the proxy's are not believed", seen, after == before))

    (theirs,) = {job.submitter for job in order if from_[job.id] == guest}
    await ask(server, GUEST, query=f"visitor={theirs}")
    mine = [job for job in queue.list_jobs(db, states=[State.QUEUED], limit=5000) if job.submitter == theirs]
    found.append(
        Held("an id in the page's address makes nobody that visitor", f"{len(mine)} of theirs", len(mine) == 1)
    )

    bulk.act(db, addresses=[flooder], ban=True, ban_s=3600)
    told = await flood(server, FLOODER, 5)
    count = waiting()[flooder]
    found.append(Held("after a ban nothing of it waits, nor comes back", f"{count} waiting, {dict(told)}", count == 0))
    return found


def run(folder: Path, ids: int, budget: int) -> list[Held]:
    """The attack on a studio in this folder whose executor never comes to an end."""
    db = connect(f"sqlite:///{folder}/jobs.db")
    workers.register(db, worker_id="flood", device="none", engines=["vqgan-clip"], places=1, hostname="here", pid=1)
    server = Server(folder, {"T2I_TRUSTED_PROXIES": "127.0.0.1", "T2I_MAX_QUEUED_PER_ADDRESS": str(budget)})
    try:
        return asyncio.run(attack(server, db, ids, budget))
    finally:
        server.stop()
        db.dispose()


def main() -> int:
    """Starts, attacks, prints."""
    parser = argparse.ArgumentParser(description="How far a flood of fresh browsers behind one address gets.")
    parser.add_argument("--ids", type=int, default=100, help="fresh browsers (default 100)")
    parser.add_argument("--budget", type=int, default=40, help="jobs one address may have waiting (default 40)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = run(Path(name), options.ids, options.budget)
    for one in found:
        print(f"{'held' if one.holds else 'NOT HELD':8s}  {one.what}: {one.seen}")
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
