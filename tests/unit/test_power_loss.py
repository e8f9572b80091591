"""What the studio has told somebody survives a power cut, and a disk that fails costs a sentence and nothing else.

Samples of what `python scripts/check_power_loss.py` tries everywhere.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from db.engine import connect, writing
from generator.output.film import Recorder
from generator.params import validate
from tests.disk import replay, sweep
from tests.small_engine import NAME, serve


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sweep.Runs]:
    if sys.platform != "linux" or not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("The disk is played by a library in C, on Linux.")
    with sweep.runs(tmp_path_factory.mktemp("disk")) as some:
        yield some


def test_what_was_told_is_there_after_a_power_cut_and_nothing_is_torn(runs: sweep.Runs) -> None:
    root, changes = sweep.record(runs)
    told = [number for number, change in enumerate(changes, 1) if change.op == "K"]
    named = [number for number, change in enumerate(changes, 1) if change.op == "R"]
    assert len(told) >= 10 and len(named) >= 10  # asked, kept, cancelled, succeeded, exported, downloaded; files
    after = {*told[:: len(told) // 3], told[-1], *named[:: len(named) // 4]}
    points = list(sweep.power_cuts(runs, root, changes, after, go_on_every=11))
    assert len(points) == len(after) * len(sweep.HOWS)
    assert not {(point.number, point.how): point.wrong for point in points if point.wrong}


@pytest.mark.parametrize(("fault", "share"), [("EIO", 0.37), ("ENOSPC", 0.61)])
def test_a_disk_that_fails_once_costs_a_sentence_and_no_job(runs: sweep.Runs, fault: str, share: float) -> None:
    changes = sweep.changes_of(runs)
    numbers = [int(changes * (share + step / 3) % changes) + 1 for step in range(3)]
    points = list(sweep.failing(runs, numbers, fault))
    assert not {point.number: point.wrong for point in points if point.wrong}


def kept_of(runs: sweep.Runs, code: str) -> dict[str, bytes | None]:
    """What is on the disk for certain of a folder that a program, run there, has just made; None: a folder."""
    root = runs.new_folder()
    journal = root.with_suffix(".journal")
    arm = "import ctypes, sys\nroot, journal = (one.encode() for one in sys.argv[1:])\n"
    arm += "ctypes.CDLL(None).faults_arm(root, 0, 0, 0, journal)"
    program = [sys.executable, "-c", f"{arm}\n{code}", str(root), str(journal)]
    shim = {"LD_PRELOAD": str(runs.folder / "faults.so"), "PYTHONPATH": str(sweep.ROOT), "WHERE": str(root)}
    subprocess.run(program, check=True, cwd=root, env={**os.environ, **shim})
    disk = replay.Disk(str(root))
    for change in replay.read(journal):
        disk.apply(change)
    return dict(disk.after_power_cut("nothing", random.Random(0)))


def test_a_finished_picture_that_waits_for_the_store_is_there_after_a_power_cut(runs: sweep.Runs) -> None:
    kept = kept_of(
        runs,
        """
import os
from pathlib import Path
from executor.attempt import Attempt, Finished
from executor.outputs import File
attempt = Attempt(Path(os.environ["WHERE"]) / "work", "job", "studio")
attempt.keep_finished(Finished([File("picture", b"picture", (1, 1))], 0.5))
attempt.keep_state(b"state")
""",
    )
    files = {Path(path).name: data for path, data in kept.items() if data is not None}
    assert set(files) == {"picture", "finished.json", "state.pt"}
    assert files["picture"] == b"picture" and files["state.pt"] == b"state"


def test_a_backup_that_was_told_of_is_whole_after_a_power_cut(runs: sweep.Runs) -> None:
    kept = kept_of(
        runs,
        """
import os
from pathlib import Path
from db import artefacts
from db.artefacts import Store
from db.backup.making import back_up
from db.engine import connect
where = os.environ["WHERE"]
db, store = connect(f"sqlite:///{where}/studio/jobs.db"), Store(f"file://{where}/studio/store")
artefacts.save(db, store, job_id=None, kind="upload", data=b"upload", media_type="image/png", ext="png")
back_up(db, store, Path(where) / "backups", keep=2, version="1")
""",
    )
    backup = {path: data for path, data in kept.items() if path.startswith("backups/2") and data is not None}
    assert {Path(path).name for path in backup} >= {"database.sqlite", "SHA256SUMS", "backup.json"}
    sums = next(data for path, data in backup.items() if path.endswith("SHA256SUMS")).decode().split()
    digests = {hashlib.sha256(data).hexdigest() for data in backup.values()}
    assert len(sums) == 4 and set(sums[::2]) <= digests


def test_a_transition_waits_for_the_disk_and_a_heartbeat_does_not(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    full, normal = 2, 1
    for lasting, expected in ((True, full), (False, normal), (True, full)):
        with writing(db, lasting=lasting) as conn:
            assert conn.exec_driver_sql("PRAGMA synchronous").scalar() == expected
    db.dispose()


def test_a_film_goes_on_without_the_frames_that_a_power_cut_has_torn(tmp_path: Path) -> None:
    serve()
    params = validate(NAME, {"prompt": "a", "width": 16, "height": 16, "steps": 6, "save_every": 1, "upscale": 1})
    picture = np.full((3, 16, 16), 0.5)
    first = Recorder(tmp_path, params)
    for step in range(4):
        first.add(step, picture * step / 4)
    frames = sorted((tmp_path / "frames").glob("*.png"))
    frames[0].write_bytes(b"")
    whole = frames[1].read_bytes()
    frames[1].write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    first.last_path.write_bytes(b"")
    second = Recorder(tmp_path, params)
    assert second.steps == [2, 3] and second.last() is None
    second.add(4, picture)
    assert set(second.finish(mp4=False)) == {"png", "thumbnail", "json", "gif", "webp"}
