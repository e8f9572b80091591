"""Forks executors that serve the small engine, one for each line of JSON it reads, and says how each one ended.

Loading torch takes seconds; forked from a process that has it, an executor is there at once. Used by
tests/executor_studio.py.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import fsspec  # noqa: E402
import torch  # noqa: E402
from fsspec.implementations.local import LocalFileSystem  # noqa: E402

import job_executor  # noqa: E402
from tests import small_engine, small_run  # noqa: E402


def raise_executor(order: dict[str, Any]) -> int:
    """Fork an executor and a keeper that writes its exit status to <pid>.status; the executor's pid."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        pid = os.fork()
        if pid == 0:
            run(order)
        os.write(write_end, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        part = Path(order["folder"], f"{pid}.part")
        part.write_text(str(os.waitstatus_to_exitcode(status)))
        part.rename(part.with_suffix(".status"))
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        return int(pipe.readline())


def run(order: dict[str, Any]) -> None:
    status = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for old, new in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(old, new)
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        if name := os.environ.get("PAUSED_BEFORE"):
            pause_before(name)
        status = job_executor.main(order["arguments"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


class Elsewhere(LocalFileSystem):
    """A store as S3 is: no folder of this machine, with errors of its own while there is a file `down`."""

    protocol = "elsewhere"

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        if (down := Path("down")).exists():
            time.sleep(0.2)
            raise RuntimeError(down.read_text())
        Path(self._strip_protocol(path)).parent.mkdir(parents=True, exist_ok=True)
        super().pipe_file(path, value, **options)

    def cat_file(self, path: str, *rest: Any, **options: Any) -> Any:
        if (down := Path("down")).exists():
            raise RuntimeError(down.read_text())
        return super().cat_file(path, *rest, **options)


def pause_before(name: str) -> None:
    """Stop this process, as SIGSTOP does, when the first file of that name is to be renamed into place; it goes on for
    good when there is a file `go` in its folder."""
    rename, paused = os.replace, []

    def replace(source: Any, target: Any) -> None:
        if Path(target).name == name and not paused:
            paused.append(target)
            while not Path("go").exists():
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(0.05)  # whoever woke it may want it to let go of the database
        rename(source, target)

    os.replace = replace


if __name__ == "__main__":
    torch.set_num_threads(1)
    fsspec.register_implementation("elsewhere", Elsewhere)
    small_engine.serve()
    small_run.serve()
    for line in sys.stdin:
        print(raise_executor(json.loads(line)), flush=True)
