"""Forks executors that serve the small engine, one for each line of JSON it reads, and says how each one ended.

Loading torch takes seconds; forked from a process that has it, an executor is there at once. Used by
tests/executor_studio.py.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

import job_executor  # noqa: E402
from tests import small_engine  # noqa: E402


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
        status = job_executor.main(order["arguments"])
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    small_engine.serve()
    for line in sys.stdin:
        print(raise_executor(json.loads(line)), flush=True)
