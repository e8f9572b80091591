"""An executor of the test's own that does whatever is queued while a call waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from db import queue
from db.jobs import Job
from tests.pages.visits import EXECUTOR, Studio


@contextmanager
def executing(visits: Studio) -> Iterator[list[Job]]:
    """Every job that is queued within the block is done at once; those done, in their order."""
    done: list[Job] = []
    ended = threading.Event()
    visits.start_executor()

    def work() -> None:
        while not ended.is_set():
            for job in queue.claim(visits.db, worker_id=EXECUTOR, limit=1, lease_s=600):
                done.append(_do(visits, job))
            ended.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join(20)


def _do(visits: Studio, job: Job) -> Job:
    if job.engine == "rank":
        # The pictures fit the better the later they were made.
        pictures = sorted(job.params["pictures"], reverse=True)
        return visits.rank(job, {one: round(0.4 - n / 50, 6) for n, one in enumerate(pictures)})
    return visits.upscale(job) if job.engine == "upscale" else visits.finish(job)
