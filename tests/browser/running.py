"""The studio's processes as a host would start them, for tests with a browser."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
END_S = 15.0


@contextmanager
def web_app(
    folder: Path, *, executor: bool = False, pages: bool = True, port: int | None = None, **settings: str
) -> Iterator[str]:
    """The address of a web app on the database and store of this folder, with an executor where one is wanted.

    pages: False for the API alone. port: that of a web app that was here before; None: a free one.
    settings: further variables of the environment, as T2I_HOST_PASSWORD. All processes end with the block.
    """
    environment = {
        **os.environ,
        "T2I_DATABASE_URL": f"sqlite:///{folder}/jobs.db",
        "T2I_STORE_URL": f"file://{folder}/artefacts",
        "OMP_NUM_THREADS": "1",
        **settings,
    }
    if port is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    alone = ["api", f"--port={port}"]
    both = ["streamlit", "run", "webapp.py", f"--server.port={port}", "--server.address=127.0.0.1"]
    commands = [[sys.executable, "-m", *(both if pages else alone)]]
    if executor:
        commands.append([sys.executable, "job_executor.py", "--device", "cpu"])
    with (folder / "log.txt").open("wb") as log:
        processes = [subprocess.Popen(c, cwd=ROOT, env=environment, stdout=log, stderr=log) for c in commands]
        try:
            _wait_for(f"http://127.0.0.1:{port}/{'_stcore/health' if pages else 'healthz'}", processes)
            yield f"http://127.0.0.1:{port}"
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_for(url: str, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), "the web app or the executor has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the web app did not become healthy")
