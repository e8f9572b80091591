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
from db.jobs import Job
from db.queue import NewJob
from db.sheets import submissions
from db.sheets.submissions import NewSheet, Submission
from executor.context import Context
from executor.loop import Executor
from generator import registry
from generator.params import validate_job
from settings import Settings
from tests.new_database import open_new

DRAFT = {"steps": 2, "candidates": 1, "style": "noto", "upscale": 1}  # of the latent diffusion: a second a picture


class ChainStudio:
    """Jobs in, files out. One executor lives through all tests, so that models are loaded once."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.db = open_new(folder / "jobs.db")
        self.store = Store(f"file://{folder}/artefacts")
        settings = Settings(database_url="", default_engine="rank", search_clip="")
        log = logging.getLogger("chain")
        log.propagate = False
        context = Context("w1", self.db, self.store, settings, folder / "work", log)
        self._executor = Executor(context, "cpu", 4, list(registry.ENGINES), once=True)
        self._executor._engines.warm = True  # nothing is loaded that no test asks for

    def add(
        self, engine: str, submitter: str = "anna", parent: Job | None = None, source: str | None = None, **values: Any
    ) -> Job:
        return queue.enqueue(self.db, self._new(engine, values, parent, source), submitter=submitter)

    def submit(
        self, kind: str, engine: str, values: list[dict[str, Any]], parent: Job | None = None
    ) -> tuple[Submission, list[Job]]:
        """Several drawings asked for together."""
        wanted = [(f"number {n}", self._new(engine, one, parent, None)) for n, one in enumerate(values)]
        sheet = NewSheet(kind=kind, prompt=values[0]["prompt"], wanted=wanted)
        return submissions.submit(self.db, sheet, submitter="anna")

    def best_of(self, sheet: Submission, made: list[Job]) -> Job:
        """The sheet is ranked; the job whose picture comes first."""
        of_picture = {self.files(job)["picture"].id: job for job in made}
        new = self._new("rank", {"prompt": sheet.prompt, "pictures": list(of_picture)}, None, None)
        (job,) = self.run(submissions.add_about(self.db, sheet.id, new, submitter="anna"))
        return of_picture[self.result(job)["ranking"][0]["picture"]]

    def _new(self, engine: str, values: dict[str, Any], parent: Job | None, source: str | None) -> NewJob:
        params = validate_job(engine, values)
        return NewJob(
            engine=engine,
            checkpoint=params.loads[0],
            batch_key=params.batch_key,
            prompt=params.title,
            params=params.model_dump(mode="json"),
            total_steps=params.total_steps,
            parent_id=parent.id if parent else None,
            source_artefact_id=source,
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
