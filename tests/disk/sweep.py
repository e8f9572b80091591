"""Lets the disk fail at every change that a small studio run makes, and the power fail between any two of them."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.disk import replay

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).parent / "faults.c"
HOWS = ("nothing", "names", "bytes", "some")  # of replay.Disk.after_power_cut
FAULTS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC}


@dataclass(frozen=True)
class Point:
    """One try. number: the change that failed, or after which the power did; how: the error, or what was left."""

    number: int
    how: str
    wrong: list[str]
    said: tuple[str, ...] = ()


class Runs:
    """The process that makes the runs, each in a fork of its own and a folder of its own below `folder`."""

    def __init__(self, folder: Path) -> None:
        """Raises FileNotFoundError where there is no C compiler, CalledProcessError where it does not take the shim."""
        self.folder = folder
        shim = folder / "faults.so"
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("gcc or cc")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(shim), str(SOURCE), "-lpthread"], check=True)
        self._log = (folder / "runs.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).parent / "small_run.py")],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1"},
        )
        self._number = 0

    def close(self) -> None:
        """No more runs."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def new_folder(self) -> Path:
        """An empty one, its name as long as any other's."""
        self._number += 1
        made = self.folder / f"run-{self._number:06d}"
        made.mkdir()
        return made

    def order(self, do: str, folder: Path, **more: Any) -> dict[str, Any]:
        """Have something done; what came of it."""
        assert self._process.stdin and self._process.stdout
        order = {"do": do, "folder": str(folder), "log": str(self.folder / "orders.log"), **more}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def run(self, folder: Path, fail: int = 0, last: int = 0, with_: int = 0, journal: str = "") -> dict[str, Any]:
        """One studio run in which the changes from `fail` to `last` fail."""
        return self.order("run", folder, fail=fail, last=last or fail, errno=with_, journal=journal)

    def check(self, folder: Path, promises: list[str], go_on: bool) -> list[str]:
        """What is wrong with the studio that is left there."""
        return list(self.order("check", folder, promises=promises, go_on=go_on)["wrong"])


@contextmanager
def runs(folder: Path) -> Iterator[Runs]:
    """The process, as long as the block lasts."""
    made = Runs(folder)
    try:
        yield made
    finally:
        made.close()


def changes_of(some: Runs) -> int:
    """How many changes a run without faults makes; raises AssertionError where even that one goes wrong."""
    folder = some.new_folder()
    answer = some.run(folder)
    wrong = answer["wrong"] + some.check(folder, answer["promises"], False)
    assert not wrong and not answer["said"], (wrong, answer["said"])
    shutil.rmtree(folder)
    return int(answer["changes"])


def failing(some: Runs, numbers: Iterable[int], fault: str, many: int = 1) -> Iterator[Point]:
    """A run for each number, in which `many` changes fail from that one on; then it is looked at what is left."""
    for number in numbers:
        folder = some.new_folder()
        answer = some.run(folder, number, number + many - 1, FAULTS[fault])
        wrong = answer["wrong"] + some.check(folder, answer["promises"], True)
        said = [line for line in answer["said"] if not line.endswith(".") or "Traceback" in line]
        wrong += [f"No sentence: {line!r}" for line in said]
        yield Point(number, fault, wrong, tuple(answer["said"]))
        shutil.rmtree(folder)


def record(some: Runs) -> tuple[str, list[replay.Change]]:
    """The folder and the journal of a run without faults."""
    folder, journal = some.new_folder(), some.folder / "journal"
    journal.unlink(missing_ok=True)
    answer = some.run(folder, journal=str(journal))
    assert not answer["wrong"], answer["wrong"]
    shutil.rmtree(folder)
    return str(folder), replay.read(journal)


def power_cuts(
    some: Runs, root: str, changes: list[replay.Change], after: set[int], seed: int = 0, go_on_every: int = 8
) -> Iterator[Point]:
    """A power cut after each of these changes, with each of HOWS left; now and then the studio goes on from there."""
    disk, chance, tried = replay.Disk(root), random.Random(seed), 0
    folder = Path(root)
    for number, change in enumerate(changes, 1):
        disk.apply(change)
        if number not in after:
            continue
        for how in HOWS:
            tried += 1
            folder.mkdir()
            for path, data in disk.after_power_cut(how, chance):
                if data is None:
                    (folder / path).mkdir()
                else:
                    (folder / path).write_bytes(data)
            wrong = some.check(folder, list(disk.promises), tried % go_on_every == 0)
            yield Point(number, how, wrong)
            shutil.rmtree(folder)
