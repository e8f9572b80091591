"""Checkpoints that visitors have downloaded, where the host allows it."""

from __future__ import annotations

from db import queue
from db.jobs import Job
from generator import registry
from studio.context import Studio, Submitter
from studio.errors import DownloadsOff
from studio.submit import ask

MAX_WAITING = 1000


def fetch(studio: Studio, submitter: Submitter, name: str) -> Job | None:
    """Have a checkpoint or CLIP model downloaded; None where it is on its way already.

    Raises DownloadsOff, UnknownName for a name that cannot be downloaded, TooManyQueued.
    """
    if not studio.settings.downloads:
        raise DownloadsOff
    registry.lookup("checkpoint to download", registry.PUBLISHED, name)
    if any(job.params.get("name") == name for job in under_way(studio)):
        return None
    return ask(studio, submitter, "download", {"name": name})


def under_way(studio: Studio) -> list[Job]:
    """Downloads that run or wait."""
    live = [*queue.running_jobs(studio.db), *queue.queued_jobs(studio.db, limit=MAX_WAITING)]
    return [job for job in live if job.engine == "download"]
