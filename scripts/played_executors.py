"""Executors as benchmark_api.py needs them: one that only reports steps, one that draws nothing, and a real one.

Not a command.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db import artefacts, queue
from db.engine import connect
from db.queue import workers
from scripts.full_studio import ask

WORKER = "benchmark"


class Running:
    """So many jobs that run, and an executor that reports their steps from here."""

    def __init__(self, folder: Path, count: int) -> None:
        self.db = connect(f"sqlite:///{folder}/jobs.db", busy_timeout_s=120)
        workers.register(
            self.db, worker_id=WORKER, device="none", engines=["vqgan-clip"], places=count, hostname="here", pid=1
        )
        for n in range(count):
            ask(self.db, "vqgan-clip", f"visitor-{n}", {"prompt": "a red heart", "steps": 1000})
        claimed: list[str] = []
        while len(claimed) < count:
            more = queue.claim(self.db, worker_id=WORKER, limit=count - len(claimed), lease_s=3600)
            claimed += [job.id for job in more]
        self.ids = claimed

    def step(self, number: int) -> dict[tuple[str, int], float]:
        """Every job makes this step; when each report was in the database, UTC s."""
        at = {}
        for job_id in self.ids:
            queue.heartbeat(self.db, worker_id=WORKER, job_id=job_id, step=number, steps_per_s=1.0, lease_s=3600)
            at[job_id, number] = time.time()
        return at

    def end(self) -> None:
        """All of them succeed."""
        for job_id in self.ids:
            queue.succeed(self.db, worker_id=WORKER, job_id=job_id)
        self.db.dispose()


@contextmanager
def instant_executor(folder: Path) -> Iterator[None]:
    """Finishes each job with a picture that was there before, as soon as it is there."""
    db, store = connect(f"sqlite:///{folder}/jobs.db"), artefacts.Store(f"file://{folder}/artefacts")
    picture = next((folder / "different").glob("picture-*.png")).read_bytes()
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.002):
            for job in queue.claim(db, worker_id=WORKER, limit=1, lease_s=3600):
                artefacts.save(
                    db, store, job_id=job.id, kind="picture", data=picture, media_type="image/png", ext="png", width=256
                )
                queue.succeed(db, worker_id=WORKER, job_id=job.id, score=0.3)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        db.dispose()
