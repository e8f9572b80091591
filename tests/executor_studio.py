"""A studio in a folder of its own for tests: its database, its store, and real executor processes."""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from db import artefacts, queue
from db.jobs import ENDED, Job
from generator.params import validate
from tests import small_engine, small_run
from tests.new_database import open_new

TIMEOUT_S = 90.0


@cache
def _nursery() -> subprocess.Popen[str]:
    nursery = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "executor_nursery.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def close() -> None:
        with nursery:
            pass  # leaving closes the pipes, which ends it, and waits

    atexit.register(close)
    return nursery


class Executor:
    """A process like subprocess.Popen's, but forked from one that has torch loaded: it starts at once."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: dict[str, str], log: Path) -> None:
        nursery = _nursery()
        assert nursery.stdin and nursery.stdout
        order = {"folder": str(folder), "arguments": arguments, "environment": environment, "log": str(log)}
        print(json.dumps(order), file=nursery.stdin, flush=True)
        self.pid = int(nursery.stdout.readline())
        self._status = folder / f"{self.pid}.status"

    def poll(self) -> int | None:
        """The exit status, minus the signal where one ended it; None while it runs."""
        return int(self._status.read_text()) if self._status.exists() else None

    def wait(self, timeout: float = TIMEOUT_S) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"executor {self.pid} has not ended in {timeout} s")
            time.sleep(0.02)
        return status

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


class Studio:
    """folder: where data/ lies. Executors serve the small engine of tests/small_engine.py."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.settings = {
            "lease_s": 2.0,
            "heartbeat_s": 0.5,
            "state_every_s": 0.2,
            "default_engine": "small",
            "search_clip": "",
            **settings,
        }
        self.db = open_new(folder / "data" / "jobs.db")
        self.store = artefacts.Store(f"file://{folder}/data/artefacts")
        self.log = folder / "executor.log"
        self.steps_log = folder / "steps.log"
        self._executors: list[Executor] = []
        small_engine.serve()
        small_run.serve()

    def executor(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Executor:
        """Start an executor; it is there when `wait_ready` returns."""
        environment = {**(environment or {})} | {
            f"T2I_{name.upper()}": str(value) for name, value in self.settings.items()
        }
        environment["SMALL_ENGINE_LOG"] = str(self.steps_log)
        environment["SMALL_ENGINE_WEIGHTS"] = str(self.folder / "weights")
        executor = Executor(self.folder, ["--device", "cpu", *arguments], environment, self.log)
        self._executors.append(executor)
        return executor

    def wait_ready(self, executors: int = 1) -> None:
        self.until(lambda: self.said("ready") >= executors)

    def add(self, prompt: str, submitter: str = "anna", max_attempts: int = 3, **values: Any) -> Job:
        """Enqueue a job of the small engine, 16 x 16 px, with few frames: films take longer than the steps here."""
        small = {"width": 16, "height": 16, "steps": 10, "init": "random", "seed": 1, "save_every": 3, "upscale": 1}
        values = {**small, **values}
        limits = queue.Limits(max_job_s=values.pop("budget_s", None))
        params = validate(small_engine.NAME, {"prompt": prompt, **values})
        return self.add_raw(
            params.model_dump(mode="json"),
            batch_key=params.batch_key,
            submitter=submitter,
            max_attempts=max_attempts,
            limits=limits,
        )

    def add_raw(
        self,
        params: dict[str, Any],
        batch_key: str = "small",
        submitter: str = "anna",
        engine: str = small_engine.NAME,
        max_attempts: int = 3,
        limits: queue.Limits = queue.NO_LIMITS,
    ) -> Job:
        new = queue.NewJob(
            engine=engine,
            checkpoint="mini",
            batch_key=batch_key,
            prompt=str(params.get("prompt")),
            params=params,
            total_steps=params.get("steps") or 1,
            max_attempts=max_attempts,
        )
        return queue.enqueue(self.db, new, submitter=submitter, limits=limits)

    def job(self, job_id: str) -> Job:
        return queue.get(self.db, job_id)

    def ended(self, *jobs: Job) -> list[Job]:
        """The jobs as they are when all of them have ended."""
        self.until(lambda: all(self.job(job.id).state in ENDED for job in jobs))
        return [self.job(job.id) for job in jobs]

    def reached(self, job: Job, step: int) -> None:
        """Returns when the job runs and has reported this step or a later one."""
        self.until(lambda: self.job(job.id).step >= step and self.job(job.id).state == "running")

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"it did not happen; the log:\n{self.log.read_text()[-6000:]}"
            time.sleep(0.02)

    def said(self, event: str) -> int:
        """How many lines of this event the executors have logged."""
        return sum(line.split()[2] == event for line in self._lines())

    def _lines(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line.startswith("20") and len(line.split()) > 2]

    def kinds(self, job: Job) -> set[str]:
        """Kinds of the artefacts stored for a job."""
        return set(artefacts.of_job(self.db, job.id))

    def events(self, job: Job) -> list[str]:
        return [event.kind for event in queue.events(self.db, job.id)]

    def image(self, job: Job, kind: str = "picture") -> np.ndarray:
        data = self.store.get(artefacts.of_job(self.db, job.id)[kind].key)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))

    def close(self) -> None:
        for executor in self._executors:
            if executor.poll() is None:
                executor.send_signal(signal.SIGKILL)
                executor.wait()
        self.db.dispose()
