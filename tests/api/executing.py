"""An executor of the test's own that does whatever is queued while a call waits for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from db import artefacts, queue
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
        ranking = [{"picture": one, "score": round(0.4 - n / 50, 6)} for n, one in enumerate(pictures)]
        data = json.dumps({"result": {"prompt": job.prompt, "ranking": ranking}}).encode()
        media_type = "application/json"
        artefacts.save(
            visits.db, visits.store, job_id=job.id, kind="result", data=data, media_type=media_type, ext="json"
        )
        return queue.succeed(visits.db, worker_id=EXECUTOR, job_id=job.id)
    if job.engine == "upscale":
        visits._put(job, "picture", "png", "image/png", 4)
        return queue.succeed(visits.db, worker_id=EXECUTOR, job_id=job.id)
    return visits.finish(job)
