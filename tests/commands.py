"""Runs commands of Python, each in a fork of one process that has loaded torch and what else takes seconds to load."""

from __future__ import annotations

import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGE = (
    "torch",
    "scipy.stats",
    "sqlalchemy",
    "alembic.command",
    "fastapi",
    "mcp.server.mcpserver",
    "pydantic_settings",
)


def run_all(commands: list[list[str]]) -> list[subprocess.CompletedProcess[str]]:
    """What each answers that is started as `python ...` in the folder of the project. Takes what stands behind it."""
    given = json.dumps(commands)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__], cwd=ROOT, input=given, capture_output=True, text=True, check=True
    )
    return [subprocess.CompletedProcess(*answer) for answer in json.loads(done.stdout)]


def _forked(command: list[str]) -> tuple[list[str], int, str, str]:
    """The command, its exit status, and what it has written to stdout and stderr."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _run(command)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return command, status, *texts


def _run(command: list[str]) -> None:
    """As Python starts it: what is found first is beside a script, or in the folder where a module is started."""
    status: int | str | None = 1
    try:
        if command[0] == "-m":
            sys.path[0], sys.argv = str(ROOT), command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.path[0], sys.argv = str(ROOT / Path(command[0]).parent), command
            runpy.run_path(command[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        if isinstance(status, str):
            print(status, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1 if isinstance(status, str) else status or 0)


if __name__ == "__main__":
    # Nothing of ours: whether a command finds that is a part of what it answers.
    for name in LARGE:
        importlib.import_module(name)
    json.dump([_forked(command) for command in json.loads(sys.stdin.read())], sys.stdout)
