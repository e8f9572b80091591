"""What runs is noted in a folder, so that the next start can end what a starter that was killed has left behind."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import TextIOWrapper
from pathlib import Path

TERM_S = 15.0  # an executor saves what it has within 10
UPDATED_S = 30.0  # a note that is older is one of a starter that hangs


@dataclass(frozen=True)
class Process:
    """One process of a starter. born: what tells it from another one that got its id later. well: it is ready."""

    name: str
    pid: int
    born: str
    well: bool


def born(pid: int) -> str:
    """When a process began, in the system's own words; empty where there is none."""
    if sys.platform == "linux":
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return ""
    said = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)
    return said.stdout.strip()


def _of_this_machine(folder: Path, ending: str) -> list[Path]:
    """The files of its starters. Others may share the folder, and `studio-2` is not `studio`."""
    ours = re.compile(re.escape(f"{socket.gethostname()}-") + r"\d+" + re.escape(ending))
    return sorted(path for path in folder.glob(f"*{ending}") if ours.fullmatch(path.name))


class Note:
    """This starter's own note, `<host>-<pid>.json`, held by a lock on the `.lock` beside it that goes when the starter
    does."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{socket.gethostname()}-{os.getpid()}.json"
        self._lock = self._path.with_suffix(".lock").open("w")
        with suppress(OSError):  # some network file systems know no locks; nothing that was left is found there
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, processes: Sequence[Process]) -> None:
        """What runs now. A full disk costs the note, not the studio."""
        told = {"at": time.monotonic(), "processes": [asdict(one) for one in processes]}
        part = self._path.with_suffix(".part")
        with suppress(OSError):
            part.write_text(json.dumps(told))
            part.replace(self._path)

    def remove(self) -> None:
        """Nothing runs any more."""
        for path in (self._path, self._path.with_suffix(".part"), self._path.with_suffix(".lock")):
            with suppress(OSError):
                path.unlink()
        self._lock.close()


def end_left_over(folder: Path) -> list[str]:
    """End the processes of starters that are dead, in order first; what they were called."""
    left: list[Process] = []
    locks: list[tuple[TextIOWrapper, Path]] = []
    for path in _of_this_machine(folder, ".lock"):
        with suppress(OSError):
            lock = path.open("r+")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its starter is alive
                lock.close()
                continue
            locks.append((lock, path))
            left += [one for one in _read(path.with_suffix(".json"))[1] if _lives(one)]
    for one in left:
        with suppress(OSError):
            os.kill(one.pid, signal.SIGTERM)
    until = time.monotonic() + TERM_S
    while any(map(_lives, left)) and time.monotonic() < until:
        time.sleep(0.05)
    for one in filter(_lives, left):
        with suppress(OSError):
            os.killpg(one.pid, signal.SIGKILL)
    for lock, path in locks:
        for old in (path.with_suffix(".json"), path.with_suffix(".part"), path):
            old.unlink(missing_ok=True)
        lock.close()
    return [one.name for one in left]


def health(folder: Path) -> list[str]:
    """What is not well with what the starters of this folder keep, a sentence each; empty where all is."""
    notes = [(path.stem, *_read(path)) for path in _of_this_machine(folder, ".json")]
    if not notes:
        return [f"No starter runs in {folder}."]
    wrong = []
    for starter, at, processes in notes:
        if not 0 <= time.monotonic() - at <= UPDATED_S:
            wrong.append(f"Starter {starter} has written nothing for {UPDATED_S:.0f} s.")
        wrong += [f"{one.name} is not ready." for one in processes if not one.well]
        if not processes:
            wrong.append(f"Starter {starter} keeps nothing running now.")
    return wrong


def _lives(one: Process) -> bool:
    return bool(one.born) and born(one.pid) == one.born and not _is_zombie(one.pid)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _read(path: Path) -> tuple[float, list[Process]]:
    try:
        told = json.loads(path.read_text())
        return float(told["at"]), [Process(**one) for one in told["processes"]]
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0, []
