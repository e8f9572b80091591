"""Kills executors at random, with kill -9, while they work: no job may be lost or done twice, and all must finish.

python scripts/stress_executor.py --kills 200

Jobs are small ones of the embedded mini models (16 x 16 px). Jobs that were killed on the way are compared with
the same job done in peace.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from PIL import Image  # noqa: E402

import job_executor  # noqa: E402
from db import artefacts, queue  # noqa: E402
from db.engine import connect  # noqa: E402
from db.jobs import ENDED, Job, State  # noqa: E402
from generator import registry  # noqa: E402
from generator.device import Host  # noqa: E402
from generator.engines import loading  # noqa: E402
from scripts.full_studio import ask  # noqa: E402

ENGINE = "vqgan-clip"
SEEDS = 5  # jobs of the same seed must become the same picture, whatever happened to them
SETTINGS = {"T2I_LEASE_S": "1.5", "T2I_HEARTBEAT_S": "0.4", "T2I_STATE_EVERY_S": "0.2"}
NO_NEWS_S = 60.0


@dataclass
class Stress:
    """One run in the current folder: executors are forked from this process, so that one starts in milliseconds."""

    executors: int
    ahead: int  # unfinished jobs there are at any time until the last kill
    steps: int
    jobs: list[Job] = field(default_factory=list)
    living: list[int] = field(default_factory=list)

    def start(self) -> None:
        """Fork one executor. This process has no threads and no open database, so the child is as good as new."""
        pid = os.fork()
        if pid:
            self.living.append(pid)
            return
        status = 1
        try:
            log = os.open("executors.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            random.seed()
            status = job_executor.main(["--device", "cpu", "--batch", "3", "--engines", ENGINE])
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def kill_one(self) -> None:
        """kill -9, and a new executor in its place."""
        pid = self.living.pop(random.randrange(len(self.living)))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self.start()

    def replace_dead(self) -> int:
        """Executors that ended by themselves, which none should."""
        dead = [pid for pid in self.living if os.waitpid(pid, os.WNOHANG)[0]]
        for pid in dead:
            self.living.remove(pid)
            self.start()
        return len(dead)

    def top_up(self) -> int:
        """Enqueue until enough jobs are unfinished; how many are."""
        with opened() as db:
            counts = queue.counts(db)
            unfinished = counts.get(State.QUEUED, 0) + counts.get(State.RUNNING, 0)
            for n in range(unfinished, self.ahead):
                self.jobs.append(enqueue(db, len(self.jobs), self.steps, f"visitor {n % 3}"))
        return max(unfinished, self.ahead)

    def wait_until_done(self) -> bool:
        """Whether all jobs have ended; False when nothing has moved for a while."""
        ended, since = -1, time.monotonic()
        while time.monotonic() - since < NO_NEWS_S:
            self.replace_dead()
            with opened() as db:
                counts = queue.counts(db)
            now = sum(counts.get(state, 0) for state in ENDED)
            if now == len(self.jobs):
                return True
            if now > ended:
                ended, since = now, time.monotonic()
            time.sleep(0.1)
        return False

    def stop(self) -> None:
        for pid in self.living:
            os.kill(pid, signal.SIGTERM)
        for pid in self.living:
            os.waitpid(pid, 0)
        self.living.clear()


class opened:
    """The database for a moment: a connection must not be open in this process when it forks."""

    def __enter__(self) -> Any:
        self.db = connect("sqlite:///data/jobs.db")
        return self.db

    def __exit__(self, *_: object) -> None:
        self.db.dispose()


def enqueue(db: Any, n: int, steps: int, submitter: str) -> Job:
    values = {"prompt": "a red heart", "init": "random", "width": 16, "height": 16, "cutn": 2, "save_every": 5}
    return ask(db, ENGINE, submitter, {**values, "steps": steps, "seed": n % SEEDS}, max_attempts=10_000)


def load_once() -> None:
    """Load the weights in this process: the executors forked from it have them, so that a kill meets work."""
    engine = loading.load(ENGINE, "mini", ("mini",), Host("cpu", Path("checkpoints"), no_image))
    loading.load = lambda *_, **__: engine


def no_image(reference: str) -> Image.Image:
    raise ValueError(f"These jobs need no picture, but {reference!r} was asked for.")


def report(stress: Stress, kills: int, seconds: float) -> bool:
    """Print what became of the jobs; whether all is as promised."""
    lost = doubled = unfinished = resumed = interrupted = alone = damaged = 0
    pictures: dict[int, set[str]] = {}
    store = artefacts.Store("file://data/artefacts")
    with opened() as db:
        there = {job.id for job in queue.list_jobs(db, limit=10 * len(stress.jobs) + 10, include_hidden=True)}
        for job in stress.jobs:
            if job.id not in there:
                lost += 1
                continue
            events = [event.kind for event in queue.events(db, job.id)]
            state = queue.get(db, job.id).state
            unfinished += state != State.SUCCEEDED
            doubled += events.count("succeeded") > 1
            interrupted += "lease_expired" in events or "suspected" in events
            alone += "lease_expired" in events
            try:
                picture = artefacts.of_job(db, job.id)["picture"]
                pixels = Image.open(io.BytesIO(store.get(picture.key))).convert("RGB").tobytes()
                pictures.setdefault(job.params["seed"], set()).add(hashlib.sha256(pixels).hexdigest())
            except Exception:
                damaged += 1
        left = sum("state" in files for files in artefacts.of_jobs(db, [job.id for job in stress.jobs]).values())
    log = Path("executors.log").read_text()
    resumed = sum(" opened " in line and " step=0 " not in line for line in log.splitlines())
    tracebacks = log.count("Traceback")
    print(
        f"{kills} kills in {seconds:.0f} s, {len(stress.jobs)} jobs: lost {lost}, done twice {doubled}, "
        f"not succeeded {unfinished}, without a readable picture {damaged}"
    )
    print(
        f"{interrupted} jobs lost an executor on the way, {alone} of them alone; {resumed} times one was "
        f"resumed from a saved state; {left} saved states left over, {tracebacks} tracebacks in the log"
    )
    variants = sum(len(hashes) for hashes in pictures.values())
    print(f"{len(pictures)} different jobs became {variants} different pictures")
    return not (lost or doubled or unfinished or damaged or tracebacks or variants != len(pictures))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill executors at random while they work.")
    parser.add_argument("--kills", type=int, default=200, help="how many (default: 200)")
    parser.add_argument("--executors", type=int, default=3, help="at a time (default: 3)")
    parser.add_argument("--jobs", type=int, default=12, help="unfinished jobs at a time (default: 12)")
    parser.add_argument("--steps", type=int, default=20, help="steps of each job (default: 20)")
    parser.add_argument("--engine", help="module:class of another engine to run instead, e.g. one for tests")
    parser.add_argument("--seed", type=int, default=None, help="of the random kills")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random.seed(args.seed)
    if args.engine:
        spec = registry.ENGINES[ENGINE]
        registry.ENGINES[ENGINE] = registry.EngineSpec(
            spec.title, spec.summary, spec.params, args.engine, spec.checkpoints
        )
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update(SETTINGS)
        load_once()
        stress = Stress(args.executors, args.jobs, args.steps)
        stress.top_up()
        for _ in range(args.executors):
            stress.start()
        started = time.monotonic()
        died = 0
        for kill in range(1, args.kills + 1):
            time.sleep(random.uniform(0.05, 1.5))
            died += stress.replace_dead()
            stress.kill_one()
            stress.top_up()
            if kill % 20 == 0:
                print(f"{kill} kills, {len(stress.jobs)} jobs so far", flush=True)
        finished = stress.wait_until_done()
        seconds = time.monotonic() - started
        stress.stop()
        if died:
            print(f"{died} executors died by themselves")
        fine = report(stress, args.kills, seconds) and finished and not died
        if not fine:
            print(Path("executors.log").read_text()[-8000:], file=sys.stderr)
        os.chdir(ROOT)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
