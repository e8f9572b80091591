"""What chaos.py does to a studio: states that last a while and are undone, and acts that are over at once.

Not a command. Everything is bounded in size and time, and on this machine's loopback alone.
"""

from __future__ import annotations

import base64
import io
import os
import random
import signal
import sqlite3
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx
import sqlalchemy as sa
from PIL import Image

from db import queue
from db.engine import connect
from db.errors import DatabaseUnavailable
from executor.context import DATABASE_DOWN
from scripts.chaos_studio import FILL_LEFT, HOST_PASSWORD, ChaosStudio, Part
from scripts.chaos_visitors import BORNE, Account, Visitors, client, drawing
from tests.hostile_files import hostile_files
from tests.real_formats import save_yaml, taming_params

FLOOD = 60  # requests of one flood
FLOODER = "127.0.0.66"
UPLOADER = "127.0.0.77"
STALLS_S = (1.0, 9.0)  # shorter and longer than a lease
STAYS_S = (1.0, 7.0)
CLOCK_S = 3600.0
NOTICED_WITHIN_S = 30.0


class Deeds:
    """Draws deeds from `seed`; `done` counts them by name."""

    def __init__(
        self, studio: ChaosStudio, visitors: Visitors, account: Account, seed: int, without: Collection[str] = ()
    ) -> None:
        self.studio, self.visitors, self.account = studio, visitors, account
        self.draw = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._without = set(without)
        self._files = _hostile_weights(studio.folder)

    @property
    def states(self) -> dict[str, Callable[[], AbstractContextManager[None]]]:
        """What can be wrong for a while here, by name."""
        studio = self.studio
        found: dict[str, Callable[[], AbstractContextManager[None]]] = {
            "executor stalled": self.executor_stalled,
            "web app stalled": self.web_stalled,
            "database locked": self.database_locked,
        }
        if studio.own_disk:
            found["store full"] = lambda: self._meanwhile(studio.full_disk(self.draw.choice(FILL_LEFT)))
            found["store read-only"] = lambda: self._meanwhile(studio.read_only_disk())
        if studio.elsewhere:
            found["store refuses"] = lambda: self._meanwhile(studio.store_refuses())
            found["store hangs"] = lambda: self._meanwhile(studio.store_hangs())
        if studio.has_clock:
            found["clock set"] = self.clock_set
        if studio.database == "sqlite":
            found |= {"database replaced": self.database_replaced, "database gone": self.database_gone}
        return {name: state for name, state in found.items() if name not in self._without}

    @property
    def acts(self) -> dict[str, Callable[[], None]]:
        """What can be done in a moment, by name."""
        found: dict[str, Callable[[], None]] = {
            "executor killed": self.kill_executor,
            "executor ended": self.end_executor,
            "web app killed": self.kill_web,
            "flood": self.flood,
            "hostile uploads": self.hostile_uploads,
            "hostile weights": self.hostile_weights,
            "jobs cancelled": self.cancel_some,
            "doomed job": self.doom,
            "wrong passwords": self.wrong_passwords,
        }
        if self.studio.database == "postgresql":
            found["PostgreSQL killed"] = self.studio.crash_postgresql
        return {name: act for name, act in found.items() if name not in self._without}

    def one(self) -> str:
        """Do something: an act, or a state with acts in it; what it was."""
        if self.draw.random() < 0.5:
            return self._act(self.acts)
        name = self.draw.choice(sorted(self.states))
        self._note(name)
        did = [name]
        with self.states[name]():
            if self.draw.random() < 0.4 and name not in ("database replaced", "database gone"):
                did.append(self._act({n: act for n, act in self.acts.items() if "killed" in n or "ended" in n}))
        return ", meanwhile ".join(did)

    def _act(self, among: dict[str, Callable[[], None]]) -> str:
        name = self.draw.choice(sorted(among))
        self._note(name)
        with suppress(httpx.HTTPError):  # nobody is there to answer just now
            among[name]()
        return name

    def _note(self, name: str) -> None:
        self.done[name] += 1
        with (self.studio.folder / "logs" / "deeds.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} {name}\n")

    def _stay(self, between: tuple[float, float] = STAYS_S) -> None:
        time.sleep(self.draw.uniform(*between))

    # States

    @contextmanager
    def executor_stalled(self) -> Iterator[None]:
        """An executor stands still, longer than its lease or shorter, and wakes up."""
        with self._standing_still(self.draw.choice(self.studio.executors)):
            yield

    @contextmanager
    def web_stalled(self) -> Iterator[None]:
        """The web app stands still."""
        with self._standing_still(self.studio.web):
            yield

    @contextmanager
    def _standing_still(self, part: Part) -> Iterator[None]:
        part.send(signal.SIGSTOP)
        try:
            yield
            self._stay(STALLS_S)
        finally:
            part.send(signal.SIGCONT)

    @contextmanager
    def _meanwhile(self, wrong: AbstractContextManager[None]) -> Iterator[None]:
        with wrong:
            yield
            self._stay()

    @contextmanager
    def clock_set(self) -> Iterator[None]:
        """All processes' clock is set by up to an hour either way, and back again."""
        self.studio.set_clock(self.draw.uniform(-CLOCK_S, CLOCK_S))
        try:
            yield
            self._stay()
        finally:
            self.studio.set_clock(0.0)

    @contextmanager
    def database_locked(self) -> Iterator[None]:
        """Somebody holds the whole database for a while."""
        if self.studio.database == "sqlite":
            held = sqlite3.connect(self.studio.folder / "jobs.db", timeout=30, isolation_level=None)
            held.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._stay()
            finally:
                held.execute("ROLLBACK")
                held.close()
        else:
            db = sa.create_engine(sa.make_url(self.studio.url).set(drivername="postgresql+psycopg"))
            conn: sa.Connection | None = None
            with suppress(sa.exc.DBAPIError):  # of a server that crashes just now
                conn = db.connect()
                conn.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            try:
                yield
                self._stay()
            finally:
                if conn is not None:
                    conn.invalidate()  # closes it, whether or not the server is there
                db.dispose()

    @contextmanager
    def database_replaced(self) -> Iterator[None]:
        """A copy is laid in the place of the database under the running studio.

        All must notice and let go; then the host ends the studio, puts the right file back and starts it anew. Nobody
        asks meanwhile: what is asked of a copy is in the copy. While a process still writes to a file that was moved,
        SQLite promises nothing for it.
        """
        folder = self.studio.folder
        source, copy = sqlite3.connect(folder / "jobs.db", timeout=30), sqlite3.connect(folder / "copy.db")
        source.backup(copy)
        source.close()
        copy.close()
        studio = self.studio
        self.visitors.leave()
        with studio.settled():
            studio.move_database("jobs.db", "away.db")
            studio.move_database("copy.db", "jobs.db")
            try:
                yield
                deadline = time.monotonic() + NOTICED_WITHIN_S
                while (unaware := studio.unaware()) and time.monotonic() < deadline:
                    time.sleep(0.2)
                with self.account.lock:
                    self.account.odd.update(f"{name} did not notice that its database was replaced" for name in unaware)
            finally:
                studio.kill_all()
                studio.remove_database("jobs.db")
                studio.move_database("away.db", "jobs.db")
        self.visitors.come_back()

    @contextmanager
    def database_gone(self) -> Iterator[None]:
        """The database's file is taken away under the running studio, and brought back: all wait for it."""
        self.visitors.leave()
        with self.studio.settled():
            self.studio.move_database("jobs.db", "away.db")
            try:
                yield
                self._stay()
            finally:
                if (self.studio.folder / "jobs.db").exists():
                    with self.account.lock:
                        self.account.odd["a database was made in the place of the one that was away"] += 1
                self.studio.remove_database("jobs.db")
                self.studio.move_database("away.db", "jobs.db")
        self.visitors.come_back()

    # Acts

    def kill_executor(self) -> None:
        """kill -9."""
        self.draw.choice(self.studio.executors).send(signal.SIGKILL)

    def end_executor(self) -> None:
        """SIGTERM: it gives back what it holds."""
        self.draw.choice(self.studio.executors).send(signal.SIGTERM)

    def kill_web(self) -> None:
        """kill -9."""
        self.studio.web.send(signal.SIGKILL)

    def flood(self) -> None:
        """Many requests at once from one address, each as a visitor who was never here."""
        for n in range(FLOOD):
            with client(self.studio.address, FLOODER) as http:
                answer = http.post("/api/v1/jobs", json=drawing(n, 2))
            if answer.status_code == 201:
                with self.account.lock:
                    self.account.flooded += [job["id"] for job in answer.json()["jobs"]]
            else:
                self._expect(answer)

    def hostile_uploads(self) -> None:
        """Pictures that are bombs, broken, cut or none."""
        with client(self.studio.address, UPLOADER) as http:
            for name, data in _hostile_pictures(self.draw):
                answer = http.post("/api/v1/uploads", files={"file": (name, data)})
                self._expect(answer, {201, 400, 413, 415, 422})
                picture = base64.b64encode(data).decode()
                body = drawing(0, 2) | {"uploads": {"init_image": [picture]}}
                answer = http.post("/api/v1/jobs", json=body)
                if answer.status_code == 201:
                    with self.account.lock:
                        self.account.flooded += [job["id"] for job in answer.json()["jobs"]]
                else:
                    self._expect(answer, {400, 413, 415, 422})

    def hostile_weights(self) -> None:
        """A file that is a trap lies among the checkpoints and is asked for by its name."""
        data = self.draw.choice(self._files)[1]
        place = self.studio.folder / "checkpoints" / "vqgan-f16"
        place.mkdir(parents=True, exist_ok=True)
        save_yaml(place / "trap.yaml", taming_params(64, ch=32, dim=32))
        (place / "trap.ckpt").write_bytes(data)
        with client(self.studio.address) as http:
            answer = http.post("/api/v1/jobs", json=drawing(0, 2, checkpoint="vqgan-f16/trap.ckpt"))
        if answer.status_code == 201:
            with self.account.lock:
                self.account.doomed |= {job["id"] for job in answer.json()["jobs"]}
                self.account.flooded += [job["id"] for job in answer.json()["jobs"]]
        else:
            self._expect(answer, {400, 404, 422})

    def cancel_some(self) -> None:
        """A few of the jobs that wait or run."""
        with client(self.studio.address) as http:
            answer = http.get("/api/v1/jobs", params={"state": ["queued", "running"], "limit": 20, "mine": "true"})
            if answer.status_code != 200:
                return self._expect(answer)
            for job in answer.json()["jobs"][:3]:
                with self.account.lock:
                    self.account.cancelled.add(job["id"])
                self._expect(http.post(f"/api/v1/jobs/{job['id']}/cancel"), {200})

    def doom(self) -> None:
        """A job that kills its executor: whoever works on it is killed, whenever it does."""
        if len(self.account.doomed) > 2 * self.done["hostile weights"] + 2:
            return
        with client(self.studio.address) as http:
            answer = http.post("/api/v1/jobs", json=drawing(0, 3000))
        if answer.status_code == 201:
            with self.account.lock:
                ids = [job["id"] for job in answer.json()["jobs"]]
                self.account.doomed |= set(ids)
                self.account.flooded += ids
        else:
            self._expect(answer)

    def kill_holders(self) -> None:
        """kill -9 for whoever works on a doomed job now."""
        with self.account.lock:
            doomed = set(self.account.doomed)
        if not doomed:
            return
        held = self._holders(doomed)
        for part in self.studio.executors:
            if part.process is not None and any(f"-{part.process.pid}-" in worker for worker in held):
                part.send(signal.SIGKILL)

    def _holders(self, doomed: set[str]) -> list[str]:
        """Executors that have begun with one of these jobs; none where the database cannot be asked."""
        if not (self.studio.database == "postgresql" or (self.studio.folder / "jobs.db").exists()):
            return []
        try:
            db = connect(self.studio.url, busy_timeout_s=0.5)
        except DatabaseUnavailable:
            return []
        try:
            return [str(job.worker_id) for job in queue.running_jobs(db) if job.id in doomed and job.step > 2]
        except DATABASE_DOWN:
            return []
        finally:
            db.dispose()

    def wrong_passwords(self) -> None:
        """Tries at the host's doors, from an address that says it is another."""
        with client(self.studio.address, FLOODER) as http:
            for n in range(10):
                shown = {"Authorization": f"Bearer {HOST_PASSWORD[:-1]}{n}", "X-Forwarded-For": f"10.0.0.{n}"}
                answer = http.post("/api/v1/host/pause", headers=shown)
                self._expect(answer, {401, 403})

    def _expect(self, answer: httpx.Response, right: set[int] | None = None) -> None:
        with self.account.lock:
            if answer.status_code in BORNE:
                self.account.refused[answer.status_code] += 1
            elif answer.status_code not in (right or ()):
                said = f"{answer.request.method} {answer.request.url.path} {answer.status_code}: {answer.text[:200]}"
                self.account.odd[said] += 1


def _hostile_weights(folder: Path) -> list[tuple[str, bytes]]:
    """Every trap of the tests; what runs in one writes the file `mark` of the folder."""
    return [(name, data) for name, data in hostile_files(folder / "mark") if len(data) < 1 << 20]


def _hostile_pictures(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Names and contents, each less than 1 MB."""
    good = io.BytesIO()
    Image.effect_noise((64, 64), 80).save(good, "PNG")
    yield "good.png", good.getvalue()
    yield "cut.png", good.getvalue()[: draw.randrange(20, len(good.getvalue()))]
    broken = bytearray(good.getvalue())
    for _ in range(20):
        broken[draw.randrange(len(broken))] = draw.randrange(256)
    yield "broken.png", bytes(broken)
    yield "bomb.png", png_bomb(16_000, 16_000)
    yield "vast.png", png_bomb(60_000, 60_000, rows=10)
    yield "none.png", os.urandom(1000)
    yield "empty.png", b""
    yield "text.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def png_bomb(width: int, height: int, rows: int | None = None) -> bytes:
    """A PNG in RGB of one colour; rows: so many are there of those that its header names."""
    row = b"\0" * (1 + 3 * width)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height if rows is None else rows)) + packer.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
