"""Everything that can go wrong with a studio, at random, for as long as asked, and what became of its promises.

    python scripts/chaos.py --minutes 60
    python scripts/chaos.py --minutes 10 --database postgresql --seed 7
    python scripts/chaos.py --minutes 10 --database postgresql --store s3 --executors 4     as on many machines

A web app with its API, executors, database and store are started in a temporary folder. While programs go on asking for
pictures, executors and web app are killed and stalled, the clock is set, the store is full or read-only (a disk of its
own: as root), or refuses and hangs (S3), the database is locked, replaced and taken away (SQLite) or killed
(PostgreSQL), the API is flooded, and pictures and weights that are traps come in. Then all is made right, the studio
has the time to finish, and it is counted: exit 0 where nothing was lost, done twice, stuck, left over, or ended in a
traceback.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402
import sqlalchemy as sa  # noqa: E402
from PIL import Image  # noqa: E402

from db import artefacts, queue  # noqa: E402
from db.artefacts import sweeping  # noqa: E402
from db.engine import connect, reading  # noqa: E402
from db.jobs import ENDED, State  # noqa: E402
from db.schema import artefacts as files_table  # noqa: E402
from executor.context import Context, sweep  # noqa: E402
from scripts.chaos_deeds import Deeds  # noqa: E402
from scripts.chaos_studio import ChaosStudio  # noqa: E402
from scripts.chaos_visitors import Account, Visitors  # noqa: E402
from settings import Settings  # noqa: E402

BETWEEN_S = (0.2, 3.0)
NO_NEWS_S = 120.0
NO_JOBS_S = 300.0  # what is wrong is made right within seconds: programs get their pictures promised all the time
TOLD_EVERY_S = 60.0


@dataclass
class Outcome:
    """What was promised and what became of it; all but the first three are to be 0."""

    asked: int = 0
    succeeded: int = 0
    cancelled: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # without a reason of their own
    damaged: list[str] = field(
        default_factory=list
    )  # pictures that cannot be read, or are not as their seed makes them
    orphans: list[str] = field(default_factory=list)  # files without a row, rows without a file, left in work folders
    tracebacks: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)  # answers that none should be, processes that did not end

    @property
    def counts(self) -> dict[str, int]:
        """How many of each that is to be 0."""
        return {name: len(found) for name, found in vars(self).items() if isinstance(found, list)}


def count(studio: ChaosStudio, account: Account, outcome: Outcome) -> None:
    """Compare what was promised with what there is. Called when all processes have ended."""
    db, store = connect(studio.url), artefacts.Store(studio.store_url)
    ids = account.ids()
    outcome.asked = len(ids)
    with reading(db) as conn:
        there = {row.id: row for row in conn.execute(sa.text("SELECT id, state, error_kind, error FROM jobs"))}
        ends = Counter(conn.scalars(sa.text("SELECT job_id FROM events WHERE kind = 'succeeded'")))
    outcome.lost = [one for one in ids if one not in there]
    outcome.doubled = [one for one, often in ends.items() if often > 1]
    outcome.doubled += [p.key for p in account.promises if len(p.answers) > 1]
    outcome.doubled += [one for one, often in Counter(ids).items() if often > 1]
    pictures: dict[tuple[object, ...], dict[str, str]] = {}
    for job_id, row in there.items():
        if row.state not in ENDED:
            outcome.stuck.append(f"{job_id} {row.state}")
        elif row.state == State.FAILED and job_id not in account.doomed:
            outcome.failed.append(f"{job_id} {row.error_kind}: {row.error}")
        outcome.succeeded += row.state == State.SUCCEEDED
        outcome.cancelled += row.state == State.CANCELLED
        if row.state == State.SUCCEEDED:
            job = queue.get(db, job_id)
            try:
                kept = artefacts.of_job(db, job_id)["picture"]
                data = store.get(kept.key)
                assert hashlib.sha256(data).hexdigest() == kept.sha256
                pixels = Image.open(io.BytesIO(data)).convert("RGB").tobytes()
            except Exception as error:  # whatever a lost or torn file leads to
                outcome.damaged.append(f"{job_id}: {error!r}")
                continue
            params = job.params
            if params.get("init") == "random" and not params.get("init_image"):
                same = pictures.setdefault((params["seed"], params["steps"]), {})
                same.setdefault(hashlib.sha256(pixels).hexdigest(), job_id)
    outcome.damaged += [
        f"different pictures of the same: {list(some.values())}" for some in pictures.values() if len(some) > 1
    ]
    # What killed processes have left is swept within the hour; here at once.
    work, log = studio.folder / "data" / "work", logging.getLogger("chaos")
    sweep(Context("chaos", db, store, Settings(), work, log))
    sweeping.sweep(db, store, stray_s=0.0)
    outcome.orphans = left_over(studio, db, store)
    db.dispose()
    for part in studio.parts:
        outcome.tracebacks += [part.name] * studio.log(part.name).count("Traceback (most recent call last)")
    outcome.odd += [f"{often} x {said}" for said, often in account.odd.items()]
    if (studio.folder / "mark").exists():
        outcome.odd.append("a checkpoint ran code")


def left_over(studio: ChaosStudio, db: sa.Engine, store: artefacts.Store) -> list[str]:
    """Files that no row names, rows whose file is not there, and what lies in work folders of jobs that have ended."""
    with reading(db) as conn:
        keys = set(conn.scalars(sa.select(files_table.c.key)))
    stored = {name for folder in store.folders() for name in store.names(folder) or [folder]}
    found = [f"file without a row: {key}" for key in sorted(stored - keys)]
    found += [f"row without a file: {key}" for key in sorted(keys - stored)]
    work = studio.folder / "data" / "work"
    return found + [f"in a work folder: {path.relative_to(work)}" for path in sorted(work.rglob("*")) if path.is_file()]


def finish(studio: ChaosStudio, deeds: Deeds, outcome: Outcome) -> None:
    """Wait until no job waits or runs; what still does when nothing moves any more is stuck."""
    studio.until_up()
    last, since = "", time.monotonic()
    while time.monotonic() - since < NO_NEWS_S:
        deeds.kill_holders()
        try:
            queue_now = httpx.get(f"{studio.address}/api/v1/queue", timeout=30, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            time.sleep(1)
            continue
        counts = queue_now["counts"]
        if not counts.get("queued") and not counts.get("running"):
            return
        now = repr([counts, [(job["id"], job["step"]) for job in queue_now["running"]]])
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.5)
    outcome.odd.append(f"nothing moved for {NO_NEWS_S:.0f} s: {last[:500]}")


def run(
    studio: ChaosStudio, *, minutes: float, ahead: int, seed: int, without: list[str]
) -> tuple[Outcome, Deeds, Account]:
    """Attack for so long, then make all right, wait and count."""
    account, outcome = Account(), Outcome()
    studio.start()
    visitors = Visitors(studio.address, account, ahead, seed)
    deeds = Deeds(studio, visitors, account, seed, without)
    visitors.start()
    end, told = time.monotonic() + 60 * minutes, time.monotonic()
    jobs, since = 0, time.monotonic()
    while time.monotonic() < end:
        time.sleep(deeds.draw.uniform(*BETWEEN_S))
        did = deeds.one()
        deeds.kill_holders()
        if len(account.ids()) != jobs:
            jobs, since = len(account.ids()), time.monotonic()
        elif time.monotonic() - since > NO_JOBS_S:
            outcome.odd.append(f"no job was taken for {NO_JOBS_S:.0f} s")
            break
        if time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            left = (end - told) / 60
            print(
                f"{sum(deeds.done.values())} deeds, {len(account.ids())} jobs, {left:.0f} min to go; {did}", flush=True
            )
    visitors.end.set()
    visitors.join(NO_NEWS_S)
    if visitors.is_alive():
        outcome.odd.append("a program asks again and again and is not answered")
    finish(studio, deeds, outcome)
    outcome.odd += [f"{name} did not end in 20 s" for name in studio.end_parts()]
    count(studio, account, outcome)
    return outcome, deeds, account


def main() -> int:
    """The exit status: 0 where every promise was kept."""
    parser = argparse.ArgumentParser(description="Attack a studio at random and count what became of its promises.")
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="(default: sqlite)")
    parser.add_argument("--store", choices=("file", "s3"), default="file", help="s3 needs moto[server] and s3fs")
    parser.add_argument("--executors", type=int, default=2, help="at a time (default: 2)")
    parser.add_argument("--jobs", type=int, default=12, help="unfinished jobs at a time (default: 12)")
    parser.add_argument("--seed", type=int, default=None, help="what the deeds are drawn from (default: any)")
    parser.add_argument("--without", action="append", default=[], metavar="DEED", help="leave it out, by its name")
    args = parser.parse_args()
    seed = int.from_bytes(os.urandom(3)) if args.seed is None else args.seed
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    studio = ChaosStudio(folder, args.database, args.store, args.executors, args.minutes)
    left_out = [
        name
        for name, there in (
            ("a full disk, which needs root", studio.own_disk or studio.elsewhere),
            ("set clocks, which need a C compiler and SQLite", studio.has_clock),
        )
        if not there
    ]
    print(
        f"seed {seed}, {args.database}, {args.store}" + (f"; left out: {', '.join(left_out)}" if left_out else ""),
        flush=True,
    )
    started = time.monotonic()
    try:
        outcome, deeds, account = run(studio, minutes=args.minutes, ahead=args.jobs, seed=seed, without=args.without)
    finally:
        studio.close()
    print(
        f"{sum(deeds.done.values())} deeds in {(time.monotonic() - started) / 60:.0f} min: "
        + ", ".join(f"{name} {often}" for name, often in sorted(deeds.done.items()))
    )
    print(
        f"{outcome.asked} jobs: {outcome.succeeded} succeeded, {outcome.cancelled} cancelled; refused "
        + (", ".join(f"{often} x {status}" for status, often in sorted(account.refused.items())) or "none")
    )
    for name, found in vars(outcome).items():
        if isinstance(found, list):
            print(f"  {name} {len(found)}" + "".join(f"\n      {one}" for one in found[:20]))
    if any(outcome.counts.values()):
        print(f"Not as promised; everything is in {folder}", file=sys.stderr)
        return 1
    studio.forget()
    return 0


if __name__ == "__main__":
    sys.exit(main())
