"""What visitors and executors do to the studio whose pages are tested, and what a page then shows."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image
from streamlit.testing.v1 import AppTest

from db import artefacts, queue
from db.artefacts import Store
from db.engine import writing
from db.jobs import Job, State
from db.queue import workers
from db.schema import metadata
from scripts.full_studio import ask
from settings import Settings
from studio import context
from tests.new_database import open_new

ME = "me-me-me-me-me-me-me"
SOMEBODY = "somebody-else-else-else"
EXECUTOR = "executor-1"


class Studio:
    """The database and store the pages look at, and what visitors and executors do to them."""

    def __init__(self, folder: Path) -> None:
        self.db: sa.Engine = open_new(folder / "jobs.db")
        self.store = Store(f"file://{folder}/artefacts")

    def opened(self, **settings: Any) -> context.Studio:
        """As a page or a program has it open, with these values of the configuration."""
        return context.Studio(Settings(**settings), self.db, self.store)

    def enqueue(self, prompt: str, submitter: str = ME, **settings: Any) -> Job:
        parent = settings.pop("parent_id", None)
        return ask(self.db, "vqgan-clip", submitter, {"prompt": prompt, **settings}, parent_id=parent)

    def start_executor(self) -> None:
        workers.register(
            self.db,
            worker_id=EXECUTOR,
            device="cpu",
            engines=["vqgan-clip"],
            places=2,
            hostname="studio",
            pid=1,
        )
        workers.beat(self.db, EXECUTOR, "1 job")

    def run(self, step: int = 10) -> Job:
        """An executor takes the next job and shows a preview at `step`."""
        (job,) = queue.claim(self.db, worker_id=EXECUTOR, limit=1, lease_s=600)
        history = [[i, 0.2 + i / 100] for i in range(step + 1)]
        queue.heartbeat(
            self.db,
            worker_id=EXECUTOR,
            job_id=job.id,
            step=step,
            score=0.3,
            steps_per_s=4.0,
            history=history,
            lease_s=600,
        )
        self.put(job, "preview", "png", "image/png")
        return queue.get(self.db, job.id)

    def finish(self, job: Job, factor: int | None = None) -> Job:
        """The executor is done; it could upscale the picture only `factor` times, None: as wanted."""
        for kind in ("picture", "thumbnail"):
            self.put(job, kind, "png", "image/png", job.params["upscale"] if factor is None else factor)
        self.put(job, "gif", "gif", "image/gif")
        artefacts.save(
            self.db,
            self.store,
            job_id=job.id,
            kind="json",
            data=b"{}",
            media_type="application/json",
            ext="json",
        )
        return queue.succeed(self.db, worker_id=EXECUTOR, job_id=job.id, score=0.42)

    def under(self, job: Job, licence: str) -> None:
        """Its settings tell a licence, as an executor writes it."""
        file: dict[str, Any] = {"kind": "json", "media_type": "application/json", "ext": "json"}
        data = json.dumps({"licence": licence}).encode()
        artefacts.save(self.db, self.store, job_id=job.id, data=data, **file)

    def upscale(self, job: Job) -> Job:
        """An upscale job, claimed where it still waits, to its picture."""
        self._claim(job)
        self.put(job, "picture", "png", "image/png", 4)
        return queue.succeed(self.db, worker_id=EXECUTOR, job_id=job.id)

    def rank(self, job: Job, scores: Mapping[str, float]) -> Job:
        """A ranking, claimed where it still waits, to its result. scores: by the ids of its pictures."""
        self._claim(job)
        ranking = [{"picture": one, "score": scores[one]} for one in sorted(scores, key=lambda one: -scores[one])]
        result = {"prompt": job.prompt, "clip": job.params["clip"], "ranking": ranking}
        data = json.dumps({"engine": job.engine, "params": job.params, "result": result}).encode()
        file: dict[str, Any] = {"kind": "result", "data": data, "media_type": "application/json", "ext": "json"}
        artefacts.save(self.db, self.store, job_id=job.id, **file)
        return queue.succeed(self.db, worker_id=EXECUTOR, job_id=job.id, score=max(scores.values()))

    def _claim(self, job: Job) -> None:
        if job.state == State.QUEUED:
            queue.claim(self.db, worker_id=EXECUTOR, limit=1, engines=[job.engine], lease_s=600)

    def draw(self, prompt: str, submitter: str = ME, **settings: Any) -> Job:
        """A job from the queue to its picture."""
        self.enqueue(prompt, submitter, **settings)
        return self.finish(self.run())

    def took(self, step_s: float, submitter: str = SOMEBODY, **settings: Any) -> Job:
        """A job was done lately, and a step of it took so long."""
        job = self.enqueue("what was drawn before", submitter, **settings)
        self._claim(job)
        spent_s = step_s * job.total_steps
        done = {"worker_id": EXECUTOR, "job_id": job.id}
        queue.heartbeat(self.db, **done, step=job.total_steps, spent_s=spent_s, ran_s=spent_s, lease_s=600)
        return queue.succeed(self.db, **done)

    def pause(self, job: Job) -> Job:
        """Its slice is over."""
        return queue.release(self.db, worker_id=EXECUTOR, job_id=job.id, step=job.step, slice_over=True)

    def empty(self) -> None:
        """As it was before anybody came; files stay where they are."""
        with writing(self.db) as conn:
            for table in [table for table in reversed(metadata.sorted_tables) if table.name != "studio"]:
                conn.execute(sa.delete(table))

    def put(self, job: Job, kind: str, ext: str, media_type: str, factor: int = 1) -> None:
        """An executor keeps a picture of a file format, `factor` times as large as the job's, in one colour."""
        out = io.BytesIO()
        Image.new("RGB", (16, 16), f"#{job.id[-6:]}").save(out, ext.upper())
        artefacts.save(
            self.db,
            self.store,
            job_id=job.id,
            kind=kind,
            data=out.getvalue(),
            media_type=media_type,
            ext=ext,
            width=job.params["width"] * factor,
            height=job.params["height"] * factor,
        )


def write(app: AppTest, prompt: str) -> AppTest:
    """A visitor writes this into the form; nothing is sent yet."""
    app.text_area(key="set_prompt").set_value(prompt)
    return app


def generate(app: AppTest) -> AppTest:
    """They press the button."""
    button = next(b for b in app.button if b.label == "Generate")
    return button.click().run()


def jobs(studio: Studio) -> list[Job]:
    """All that may be seen, the newest first."""
    return queue.list_jobs(studio.db, limit=100)


def everything_shown(app: AppTest) -> str:
    """All text a visitor can read on the page, in one string; style sheets are none."""
    parts: list[str] = []
    for kind in ("title", "header", "subheader", "markdown", "text", "caption", "error", "warning", "info", "html"):
        for element in app.get(kind):
            said = str(getattr(element, "value", None) or getattr(element.proto, "body", ""))
            parts.append(re.sub(r"<style>.*?</style>", "", said, flags=re.DOTALL))
    parts += [button.label for button in app.button]
    return "\n".join(parts)


_TEXTS = ("label", "help", "placeholder", "body", "content", "caption")


def words_shown(app: AppTest) -> set[str]:
    """Each text of a page's body, labels, tips, choices and what stands in empty fields as well; numbers are none."""
    return {text for node in app.main if getattr(node, "proto", None) is not None for text in _words_of(node.proto)}


def _words_of(message: Any) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.message_type is not None and field.name != "form_data":
            for one in value if field.is_repeated else [value]:
                yield from _words_of(one)
        elif field.name in (*_TEXTS, "options") and field.type == field.TYPE_STRING:
            for text in value if field.is_repeated else [value]:
                plain = re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)
                yield from (part.strip() for part in re.split(r"<[^>]*>| · ", plain) if re.search("[a-z]{3}", part))


def picture_bytes(kind: str) -> bytes:
    """A small real picture in this file format."""
    out = io.BytesIO()
    Image.effect_noise((48, 32), 80).convert("RGB").save(out, kind)
    return out.getvalue()
