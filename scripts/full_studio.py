"""A studio full of pictures in a folder, and the web app as a process on it: what the measurements of pages start from.

Not a command. Used by benchmark_visitors.py, benchmark_api.py, benchmark_paint.py, measure_wall.py,
measure_long_life.py and stress_executor.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from db import queue  # noqa: E402
from db.artefacts import key_for  # noqa: E402
from db.engine import connect, writing  # noqa: E402
from db.jobs import Job, State, normalise  # noqa: E402
from db.queue import workers  # noqa: E402
from db.schema import artefacts, events, jobs, members, submissions, votes  # noqa: E402
from generator import registry  # noqa: E402
from generator.params import validate  # noqa: E402

STARTS_WITHIN_S = 90.0
IDLE_WITHIN_S = 30.0
EXT = {"picture": "png", "thumbnail": "webp"}
DIFFERENT = 64  # pictures; each stands behind many jobs
VISITORS = 200
PROMPTS = ("a red heart", "a slice of pizza", "a blue car", "a penguin", "a rocket", "a house", "a strawberry")
SHEET = 4
AT_ONCE = 5000
POINTS = 60  # of the score's curve of each


def ask(db: sa.Engine, engine: str, submitter: str, values: dict[str, Any], **how: Any) -> Job:
    """A drawing with these settings, queued; `how`: further fields of its NewJob. Raises BadParams."""
    params = validate(engine, values)
    new = queue.NewJob(
        engine=engine,
        checkpoint=params.checkpoint,
        batch_key=params.batch_key,
        prompt=params.prompt,
        params=params.model_dump(mode="json"),
        total_steps=params.total_steps,
        **how,
    )
    return queue.enqueue(db, new, submitter=submitter)


def fill(folder: Path, pictures: int, votes_cast: int) -> None:
    """Finished jobs of five days with picture and thumbnail, every fourth group of four a sheet, and votes.

    Rows go into the database in one transaction; the files are hard links to a few different pictures, since what is
    measured is finding and sending them.
    """
    rng = random.Random(0)
    db = connect(f"sqlite:///{folder}/jobs.db")
    files = _files(folder, rng)
    engines = list(registry.drawing_engines())
    params = {name: validate(name, {"prompt": PROMPTS[0]}) for name in engines}
    begin, every = time.time() - 5 * 86400, 5 * 86400 / (pictures + 1)
    ids = [f"{int(1e6 * (begin + every * n)):014x}{rng.randrange(2**48):012x}" for n in range(pictures)]

    def job(n: int) -> dict[str, Any]:
        engine, at = rng.choice(engines), begin + every * n
        used = params[engine]
        prompt = f"{PROMPTS[n // SHEET % len(PROMPTS)]} number {n // SHEET}"
        values = {**used.model_dump(mode="json"), "prompt": prompt, "seed": n}
        return {
            **dict.fromkeys(column.name for column in jobs.columns),
            **{"id": ids[n], "engine": engine, "checkpoint": used.checkpoint, "batch_key": used.batch_key},
            **{"prompt": prompt, "prompt_search": normalise(prompt), "params": values, "state": State.SUCCEEDED},
            "style": values.get("style"),
            **{"priority": 0, "submitter": f"visitor-{n // SHEET % VISITORS:04d}-of-the-evening", "attempt": 1},
            **{"max_attempts": 3, "step": used.total_steps, "total_steps": used.total_steps, "score": rng.random()},
            **{"steps_per_s": 20.0, "worker_id": "drawn-before", "cancel_requested": False, "hidden": False},
            **{"created_at": at, "started_at": at + 1, "finished_at": at + 5},
            "history": [[used.total_steps * p // POINTS, round(0.1 + p / 400, 4)] for p in range(POINTS + 1)],
        }

    def kept(n: int, kind: str) -> dict[str, Any]:
        data = files[kind][n % DIFFERENT]
        key = key_for(ids[n], kind, EXT[kind])
        return {
            **{
                "id": f"{ids[n][:-1]}{list(EXT).index(kind)}",
                "job_id": ids[n],
                "kind": kind,
                "key": key,
                "size": len(data),
            },
            **{"media_type": f"image/{EXT[kind]}", "sha256": hashlib.sha256(data).hexdigest()},
            **{"width": 256, "height": 256, "created_at": begin + every * n},
        }

    with writing(db) as conn:
        for start in range(0, pictures, AT_ONCE):
            some = range(start, min(start + AT_ONCE, pictures))
            conn.execute(sa.insert(jobs), [job(n) for n in some])
            conn.execute(sa.insert(artefacts), [kept(n, kind) for n in some for kind in files])
            for kind in ("queued", "running", "succeeded"):
                conn.execute(sa.insert(events), [{"job_id": ids[n], "at": begin, "kind": kind} for n in some])
        sheets, cells = [], []
        for n, first in enumerate(range(0, pictures - SHEET, 4 * SHEET)):
            row = {"id": f"{n:026d}", "kind": "candidates", "layout": {}, "created_at": begin}
            sheets.append(row | {"prompt": f"sheet {n}", "submitter": f"visitor-{n % VISITORS:04d}-of-the-evening"})
            cells += [
                {"job_id": ids[first + m], "submission_id": row["id"], "cell": m, "label": ""} for m in range(SHEET)
            ]
        if sheets:
            conn.execute(sa.insert(submissions), sheets)
            conn.execute(sa.insert(members), cells)
        if votes_cast and pictures > 1:
            conn.execute(sa.insert(votes), _votes(ids, votes_cast, rng))
    db.dispose()
    place = f"{folder}/artefacts/jobs"
    os.makedirs(place)
    for n, job_id in enumerate(ids):
        os.mkdir(f"{place}/{job_id}")
        for kind, ext in EXT.items():
            os.link(f"{folder}/different/{kind}-{n % DIFFERENT}.{ext}", f"{place}/{job_id}/{kind}.{ext}")


def _files(folder: Path, rng: random.Random) -> dict[str, list[bytes]]:
    """Blots of noise as a picture is kept, 256 px, DIFFERENT of each kind, written to a folder of their own."""
    (folder / "different").mkdir()
    made: dict[str, list[bytes]] = {}
    for n in range(DIFFERENT):
        small = [Image.effect_noise((24, 24), rng.uniform(20, 90)) for _ in "RGB"]
        picture = Image.merge("RGB", small).resize((256, 256), Image.Resampling.BICUBIC)
        for kind, ext in EXT.items():
            out = io.BytesIO()
            picture.save(out, ext, compress_level=1, quality=85, method=0)
            made.setdefault(kind, []).append(out.getvalue())
            (folder / "different" / f"{kind}-{n}.{ext}").write_bytes(out.getvalue())
    return made


def _votes(ids: list[str], cast: int, rng: random.Random) -> list[dict[str, Any]]:
    rows = {}
    for n in range(cast):
        first, second = sorted(rng.sample(ids, 2))
        voter = f"visitor-{n % VISITORS:04d}-of-the-evening"
        row = {"voter": voter, "first_id": first, "second_id": second, "winner_id": rng.choice([first, second, None])}
        rows[voter, first, second] = row | {"left_id": rng.choice([first, second]), "at": time.time() - cast + n}
    return list(rows.values())


class Server:
    """The web app as a process on the studio of a folder; `stop` and `start` bring it back on the same port.

    script: what Streamlit runs; None: the API alone.
    """

    def __init__(self, folder: Path, settings: dict[str, str] | None = None, script: str | None = "webapp.py") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = folder / f"web-{self.port}.log"
        self._script = script
        self._environment = {
            **os.environ,
            "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db",
            "T2I_STORE_URL": f"file://{folder}/artefacts",
            **(settings or {}),
        }
        self.address = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Returns when the server answers; ends the measurement with the log's end where it does not."""
        pages = ["streamlit", "run", str(self._script), "--server.address=127.0.0.1", f"--server.port={self.port}"]
        command = [sys.executable, "-m", *(pages if self._script else ["api", f"--port={self.port}"])]
        health = f"{self.address}/{'_stcore/health' if self._script else 'healthz'}"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(health, timeout=2):
                    return
            except OSError:
                time.sleep(0.2)
        self.process.kill()
        raise SystemExit(f"The web app did not start: {self._log.read_text()[-500:]}")

    def stop(self) -> None:
        """Ends the process as Ctrl-C does."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def log(self) -> str:
        """What the process has printed."""
        return self._log.read_text()

    def memory_mb(self) -> float:
        """Resident memory of the process in MB."""
        return resident_mb([self.process.pid])

    def idle_mb(self) -> float:
        """`memory_mb` once there is nothing to do: the first ratings of all votes are worked out in the background."""
        deadline = time.monotonic() + IDLE_WITHIN_S
        while time.monotonic() < deadline:
            before = self.cpu_s()
            time.sleep(1)
            if self.cpu_s() - before < 0.05:
                break
        return self.memory_mb()

    def cpu_s(self) -> float:
        """CPU time of the process so far in s."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def executor(folder: Path, engine: str = "latent-diffusion", **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real executor of one engine on the CPU, from when it is heard of to the end of the block."""
    command = [sys.executable, "job_executor.py", "--device", "cpu", "--engines", engine]
    variables = {**os.environ, **settings, "OMP_NUM_THREADS": "1", "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db"}
    variables["T2I_STORE_URL"] = f"file://{folder}/artefacts"
    db = connect(variables["T2I_DATABASE_URL"])
    before = {worker.id for worker in workers.live(db)}
    with (folder / "executor.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
    try:
        while not any(worker.id not in before for worker in workers.live(db)):
            assert process.poll() is None, (folder / "executor.log").read_text()[-500:]
            time.sleep(0.2)
        yield process
    finally:
        db.dispose()
        process.terminate()
        process.wait(30)


def resident_mb(pids: list[int]) -> float:
    """Memory of these processes in MB, shared pages counted in proportion."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def machine() -> str:
    """What a table of measurements says of where they were taken."""
    return json.dumps({"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)})
