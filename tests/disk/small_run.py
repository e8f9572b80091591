"""A small real studio run, and whether a folder holds a sound studio. One process forks for each line it reads.

Preloaded with tests/disk/faults.c: python tests/disk/small_run.py < orders, see tests/disk/sweep.py.
"""

from __future__ import annotations

import ctypes
import faulthandler
import hashlib
import importlib
import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import sqlalchemy as sa  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from db import artefacts, queue  # noqa: E402
from db.artefacts.records import PASSING  # noqa: E402
from db.engine import connect, reading  # noqa: E402
from db.errors import DbError  # noqa: E402
from db.evening.archive import Wanted, write_evening  # noqa: E402
from db.jobs import ENDED, State  # noqa: E402
from db.schema import artefacts as artefact_rows  # noqa: E402
from db.schema import jobs  # noqa: E402
from executor import context as executor_context  # noqa: E402
from executor.context import Context  # noqa: E402
from executor.loop import Executor  # noqa: E402
from generator.checkpoints.download import DownloadFailed, FolderProblem, fetch  # noqa: E402
from generator.params import validate  # noqa: E402
from settings import Settings  # noqa: E402
from tests import small_engine  # noqa: E402

STEPS = 5
LIMIT_S = 60  # of a run: one that waits longer than that waits for ever
SMALL = {"width": 16, "height": 16, "steps": STEPS, "init": "random", "seed": 1, "save_every": 2, "upscale": 1}
WEIGHTS = bytes(range(256)) * 300
OF_A_PICTURE = {"picture", "thumbnail", "json", "gif", "webp"}


class Run:
    """What a visitor, a host and two executors do, one after the other. said: the sentences that they read."""

    def __init__(self, folder: Path, mark: Callable[[str], None]) -> None:
        self.folder, self.mark = folder, mark
        self.said: list[str] = []
        self.settings = Settings(
            database_url=f"sqlite:///{folder}/data/jobs.db",
            store_url=f"file://{folder}/data/artefacts",
            state_every_s=0.001,
            lease_s=1.0,
            heartbeat_s=0.05,
            default_engine="small",
        )
        self.store = artefacts.Store(self.settings.store_url)

    def all(self) -> None:
        db = self.attempt(lambda: connect(self.settings.database_url))
        asked = [self.ask(db, prompt) for prompt in ("one", "two", "three")]
        self.give(db)
        if asked[2]:
            self.attempt(lambda: queue.request_cancel(db, asked[2]))
            self.mark_ends(db, asked)
        self.draw(db, until_step=3)
        self.draw(db)
        self.mark_ends(db, asked)
        self.export(db)
        self.download()
        if db is not None:
            db.dispose()

    def attempt(self, call: Callable[[], Any]) -> Any:
        """The call's answer; where it could not be done, the sentence is kept, and anything else is a fault."""
        try:
            return call()
        except (DbError, FolderProblem, DownloadFailed) as error:
            self.said.append(str(error))
        return None

    def ask(self, db: sa.Engine | None, prompt: str) -> str | None:
        if db is None:
            return None
        params = validate(small_engine.NAME, {"prompt": prompt, **SMALL})
        new = queue.NewJob(
            engine=small_engine.NAME,
            checkpoint="mini",
            batch_key=params.batch_key,
            prompt=prompt,
            params=params.model_dump(mode="json"),
            total_steps=STEPS,
        )
        job = self.attempt(lambda: queue.enqueue(db, new, submitter="anna"))
        if job is None:
            return None
        self.mark(f"asked {job.id}")
        return str(job.id)

    def give(self, db: sa.Engine | None) -> None:
        if db is None:
            return
        file = io.BytesIO()
        Image.new("RGB", (16, 16), "red").save(file, "PNG")
        kept = self.attempt(
            lambda: artefacts.save(
                db, self.store, job_id=None, kind="upload", data=file.getvalue(), media_type="image/png", ext="png"
            )
        )
        if kept:
            self.mark(f"kept {kept.id}")

    def draw(self, db: sa.Engine | None, until_step: int | None = None) -> None:
        """One executor until the queue is empty, or until a job has made so many steps."""
        if db is None:
            return
        context = self.context(db, f"w-{os.getpid()}-{until_step}")
        executor = Executor(context, "cpu", 2, [small_engine.NAME], once=True)
        if until_step is not None:
            advance = executor._advance

            def stopping(batch: Any) -> None:
                advance(batch)
                if any(work.step >= until_step for work in executor.active):
                    executor.stop.set()

            executor._advance = stopping  # type: ignore[method-assign]
        self.attempt(executor.run)

    def context(self, db: sa.Engine, worker_id: str) -> Context:
        log = logging.getLogger("small run")
        log.handlers, log.propagate = [logging.StreamHandler()], False
        return Context(worker_id, db, self.store, self.settings, self.folder / "work", log)

    def mark_ends(self, db: sa.Engine | None, asked: list[str | None]) -> None:
        for job_id in filter(None, asked):
            job = self.attempt(lambda job_id=job_id: queue.get(db, job_id))
            if job and job.state in ENDED:
                self.mark(f"{job.state} {job.id}")
                if job.error:
                    self.said.append(job.error)

    def export(self, db: sa.Engine | None) -> None:
        if db is None:
            return
        target = self.folder / "exports" / "evening.zip"
        done = self.attempt(lambda: write_evening(db, self.store, target, Wanted(title="Evening")))
        if done:
            self.mark(f"exported {target.stat().st_size}")

    def download(self) -> None:
        """A checkpoint from a server of this process's own."""
        with HTTPServer(("127.0.0.1", 0), _Served) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            address = f"http://127.0.0.1:{server.server_port}/weights.ckpt"
            path = self.folder / "checkpoints" / "weights.ckpt"
            done = self.attempt(lambda: fetch([address], path, check=lambda part, digest: None, pause=0.01))
            server.shutdown()
            thread.join()
        if done:
            self.mark(f"downloaded {done}")


class _Served(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        at = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if at else 200)
        self.send_header("Content-Length", str(len(WEIGHTS) - at))
        self.end_headers()
        self.wfile.write(WEIGHTS[at:])

    def log_message(self, *_: object) -> None:
        pass


def check(folder: Path, promises: list[str], go_on: bool) -> list[str]:
    """What is wrong with the studio in this folder, a sentence each; promises: what Run has marked."""
    run = Run(folder, lambda text: None)
    wrong = _whole_files(folder)
    if not (folder / "data" / "jobs.db").exists():
        return [*wrong, *(["The database is gone."] if promises else [])]
    db = connect(run.settings.database_url)
    wrong += _files_of(db, run.store)
    with reading(db) as conn:
        if (whole := conn.exec_driver_sql("PRAGMA integrity_check").scalar()) != "ok":
            wrong.append(f"The database is damaged: {whole}")
    wrong += _promises_of(db, folder, promises)
    if go_on:
        deadline_jobs = [line.split()[1] for line in promises if line.startswith("asked")]
        with db.begin() as conn:  # the lease of whoever lost power is over
            conn.exec_driver_sql("UPDATE jobs SET lease_expires_at = 1.0 WHERE state = 'running'")
        queue.requeue_expired(db)
        run.draw(db)
        executor_context.sweep(run.context(db, "sweeping"))
        wrong += [f"On the way on: {line}" for line in run.said]
        for job_id in deadline_jobs:
            job = queue.get(db, job_id)
            if job.state not in ENDED:
                wrong.append(f"Job {job_id} is {job.state} and does not end.")
        wrong += _files_of(db, run.store, swept=True) + _promises_of(db, folder, promises)
    db.dispose()
    return wrong


def _whole_files(folder: Path) -> list[str]:
    """Files that have their name and are torn, though nothing told of them yet."""
    wrong = []
    weights, evening = folder / "checkpoints" / "weights.ckpt", folder / "exports" / "evening.zip"
    if weights.exists() and weights.read_bytes() != WEIGHTS:
        wrong.append("A checkpoint is torn.")
    if evening.exists():
        try:
            torn = zipfile.ZipFile(evening).testzip()
        except (OSError, zipfile.BadZipFile) as error:
            torn = str(error)
        wrong += [f"The export is torn: {torn}"] if torn else []
    return wrong


def _files_of(db: sa.Engine, store: artefacts.Store, swept: bool = False) -> list[str]:
    """Rows whose file is missing or torn.

    swept: the studio has looked for what jobs that have ended left. The row of such a job's state may outlast its file
    until then: the file goes first, so that a store that deletes nothing just now is asked again.
    """
    wrong = []
    with reading(db) as conn:
        rows = conn.execute(sa.select(artefact_rows.c.key, artefact_rows.c.kind, artefact_rows.c.sha256)).all()
        ended = {*conn.scalars(sa.select(artefact_rows.c.key).join(jobs).where(jobs.c.state.in_(ENDED)))}
    for key, kind, sha256 in rows:
        if kind in PASSING or (kind == "state" and key in ended and not swept):
            continue
        try:
            data = store.get(key)
        except DbError as error:
            wrong.append(f"{kind}: {error}")
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            continue
        if kind != "state":
            wrong.append(f"{key} is not what its row says: {len(data)} bytes.")
            continue
        try:  # the newest is put in the place of the one before, whole, just before the row says so
            torch.load(io.BytesIO(data), weights_only=True)
        except Exception as error:
            wrong.append(f"{key} is torn: {error}")
    return wrong


def _promises_of(db: sa.Engine, folder: Path, promises: list[str]) -> list[str]:
    wrong = []
    for what, told in (line.split() for line in promises):
        if what == "kept":
            try:
                artefacts.get(db, told)
            except DbError as error:
                wrong.append(f"A picture that was kept is gone: {error}")
        elif what == "exported":
            target = folder / "exports" / "evening.zip"
            if not target.exists() or target.stat().st_size != int(told):
                wrong.append("The export is gone or torn.")
        elif what == "downloaded":
            if not (folder / "checkpoints" / "weights.ckpt").exists():
                wrong.append("A checkpoint that was downloaded is gone.")
        else:
            wrong += _job(db, what, told)
    return wrong


def _job(db: sa.Engine, what: str, job_id: str) -> list[str]:
    try:
        job = queue.get(db, job_id)
    except DbError as error:
        return [f"A job that was asked for is lost: {error}"]
    wrong = []
    kinds = [event.kind for event in queue.events(db, job_id)]
    if sum(kinds.count(state) for state in ENDED) > 1:
        wrong.append(f"Job {job_id} has ended twice: {kinds}")
    if what != "asked" and job.state != what:
        wrong.append(f"Job {job_id} was told to have {what}, and is {job.state}.")
    if job.state == State.SUCCEEDED and (missing := OF_A_PICTURE - artefacts.of_job(db, job_id).keys()):
        wrong.append(f"Job {job_id} has succeeded without {', '.join(sorted(missing))}.")
    return wrong


def carry_out(order: dict[str, Any], disk: ctypes.CDLL) -> dict[str, Any]:
    """One order, in a process of its own."""
    folder = Path(order["folder"])
    executor_context.awake()
    if order["do"] == "check":
        return {"wrong": check(folder, order["promises"], order["go_on"])}
    promises: list[str] = []

    def mark(text: str) -> None:
        promises.append(text)
        disk.faults_mark(text.encode())

    run = Run(folder, mark)
    answer: dict[str, Any] = {"wrong": []}
    disk.faults_arm(str(folder).encode(), order["fail"], order["last"], order["errno"], order["journal"].encode())
    try:
        run.all()
    except BaseException as error:
        if order["fail"] == 0 or not isinstance(error, Exception):
            raise
        answer["wrong"] = [f"No sentence: {''.join(traceback.format_exception(error))[-1500:]}"]
    return answer | {"said": run.said, "promises": promises, "changes": disk.faults_count()}


def main() -> None:
    torch.set_num_threads(1)
    small_engine.serve()
    # Loaded once here, and not in each fork.
    for module in ("alembic.command", "alembic.config", "imageio.v2", "imageio.v3", "imageio_ffmpeg"):
        importlib.import_module(module)
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    Image.init()
    disk = ctypes.CDLL(None)
    disk.faults_count.restype = ctypes.c_long
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        read_end, write_end = os.pipe()
        if (pid := os.fork()) == 0:
            signal.alarm(order.get("limit_s", LIMIT_S))
            log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 2)
            os.dup2(log, 1)
            faulthandler.dump_traceback_later(order.get("limit_s", LIMIT_S) - 1)  # where it stands, into the log
            try:
                answer = carry_out(order, disk)
            except BaseException:
                answer = {"wrong": [traceback.format_exc()[-3000:]], "said": [], "promises": [], "changes": 0}
            os.write(write_end, json.dumps(answer).encode())
            os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end) as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        if not text:
            how = "did not end in time" if os.WTERMSIG(status) == signal.SIGALRM else f"died: {status}"
            text = json.dumps({"wrong": [f"It {how}."], "said": [], "promises": [], "changes": 0})
        print(text, file=answers, flush=True)


if __name__ == "__main__":
    main()
