"""What stays free of the disks: nothing new is taken below it, and both the host and visitors are told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.artefacts import Store
from db.artefacts.free_space import check, disks, free_bytes, fullest
from db.engine import connect
from db.errors import DiskNearlyFull


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own; skips where this user may not mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=64", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_with_too_little_room_takes_nothing_new(small_disk: Path, tmp_path: Path) -> None:
    db, store = connect(f"sqlite:///{tmp_path}/jobs.db"), Store(f"file://{small_disk}/artefacts")
    check(db, store, 1 << 20, work_dir=tmp_path)
    (small_disk / "film").write_bytes(bytes(1_500_000))
    with pytest.raises(DiskNearlyFull, match=r"disk of the pictures .* has 0.00 GB left.*T2I_MIN_FREE_BYTES") as told:
        check(db, store, 1 << 20, work_dir=tmp_path)
    assert str(small_disk) in str(told.value) and str(small_disk) not in str(told.value.public)
    check(db, store, 0, work_dir=tmp_path)  # nothing is to be kept free
    db.dispose()


def test_what_is_wanted_counts_as_taken(small_disk: Path, tmp_path: Path) -> None:
    db, store = connect(f"sqlite:///{tmp_path}/jobs.db"), Store(f"file://{small_disk}")
    check(db, store, 1 << 20, wanted=1 << 19)
    with pytest.raises(DiskNearlyFull):
        check(db, store, 1 << 20, wanted=(1 << 20) + 4096)
    db.dispose()


def test_the_database_s_disk_and_the_work_folder_s_count_as_well(small_disk: Path, tmp_path: Path) -> None:
    db, store = connect(f"sqlite:///{small_disk}/jobs.db"), Store(f"file://{tmp_path}")
    with pytest.raises(DiskNearlyFull, match="disk of the database"):
        check(db, store, 2 << 20, work_dir=tmp_path)
    db.dispose()
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(DiskNearlyFull, match="disk of the work folder"):
        check(db, store, 2 << 20, work_dir=small_disk / "not" / "there" / "yet")
    least = fullest(disks(db, store, work_dir=small_disk))
    assert least is not None and least.used_for == "work folder"
    db.dispose()


def test_a_disk_on_which_no_more_files_can_be_made_is_full(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        for n in range(100):
            (small_disk / str(n)).touch()
    assert free_bytes(small_disk) == 0


def test_a_store_elsewhere_is_not_measured(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    assert [one.used_for for one in disks(db, Store("memory://pictures"), work_dir=None)] == ["database"]
    db.dispose()
