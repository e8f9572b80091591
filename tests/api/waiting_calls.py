"""Calls of the Automatic1111 dialect that wait for their pictures, while the test draws them."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
from PIL import Image

from db import queue
from db.jobs import Job
from tests.api.serving import Served, until
from tests.pages.visits import Studio, picture_bytes


@contextmanager
def calling(api: Served, path: str, body: dict[str, Any], **more: Any) -> Iterator[Future[httpx.Response]]:
    """A call that waits in a thread of its own."""
    with ThreadPoolExecutor(1) as one:
        yield one.submit(api.post, f"/sdapi/v1/{path}", body, **more)


def queued(visits: Studio, count: int = 1) -> list[Job]:
    """The jobs of a call, in its order, once they wait."""
    found = until(lambda: queue.queued_jobs(visits.db, limit=20), lambda jobs: len(jobs) >= count)
    return sorted(found, key=lambda job: job.id)


def drawn(
    api: Served, visits: Studio, path: str, body: dict[str, Any], count: int = 1, **more: Any
) -> tuple[list[Job], Any]:
    """The jobs that a call made, and its answer."""
    with calling(api, path, body, **more) as answer:
        jobs = queued(visits, count)
        for _ in jobs:
            visits.finish(visits.run())
        response = answer.result(120)
    assert response.status_code == 200, response.text
    return jobs, response.json()


def png(text: str) -> Image.Image:
    """The picture in this base64."""
    image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
    assert image.format == "PNG"
    return image


def b64(kind: str = "PNG") -> str:
    """A picture of 48 x 32 px."""
    return base64.b64encode(picture_bytes(kind)).decode()
