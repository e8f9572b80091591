"""A studio whose executor runs in the test's own process, on the embedded models, until the queue is empty."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from db import artefacts, queue
from db.artefacts import Artefact, Store
from db.engine import connect
from db.jobs import Job
from executor.loop import Executor
from executor.station import Station
from generator import registry
from generator.params import validate_job
from settings import Settings

DRAFT = {"steps": 2, "candidates": 1, "style": "noto", "upscale": 1}  # of the latent diffusion: a second a picture


class ChainStudio:
    """Jobs in, files out. One executor lives through all tests, so that models are loaded once."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.db = connect(f"sqlite:///{folder}/jobs.db")
        self.store = Store(f"file://{folder}/artefacts")
        settings = Settings(database_url="", default_engine="rank")
        log = logging.getLogger("chain")
        log.propagate = False
        station = Station("w1", self.db, self.store, settings, folder / "work", log)
        self._executor = Executor(station, "cpu", 4, list(registry.ENGINES), once=True)
        self._executor._warm = True  # nothing is loaded that no test asks for

    def add(self, engine: str, submitter: str = "anna", **values: Any) -> Job:
        params = validate_job(engine, values)
        return queue.enqueue(
            self.db,
            engine=engine,
            checkpoint=params.loads[0],
            batch_key=params.batch_key,
            prompt=params.title,
            params=params.model_dump(mode="json"),
            total_steps=params.total_steps,
            submitter=submitter,
        )

    def run(self, *jobs: Job) -> list[Job]:
        """Everything in the queue is done; the jobs as they are then."""
        self._executor._claim_at = 0.0
        assert self._executor.run() == 0
        return [queue.get(self.db, job.id) for job in jobs]

    def files(self, job: Job) -> dict[str, Artefact]:
        return artefacts.of_job(self.db, job.id)

    def bytes(self, job: Job, kind: str = "picture") -> bytes:
        return self.store.get(self.files(job)[kind].key)

    def image(self, job: Job) -> Image.Image:
        return Image.open(io.BytesIO(self.bytes(job))).convert("RGB")

    def result(self, job: Job) -> dict[str, Any]:
        document = json.loads(self.bytes(job, "result"))
        assert document["engine"] == job.engine and document["params"] == job.params
        return document["result"]

    def close(self) -> None:
        self.db.dispose()
