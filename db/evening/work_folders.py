"""Executors' work folders: what lies there of jobs that were deleted, and removing it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from db.evening.erasures import Erasure, has_id


def left_of(folder: Path, erasures: Sequence[Erasure]) -> Iterator[Path]:
    """What lies in the folder of what these cover: by the ids in names, and else by when it was written."""
    everything = max((one.at for one in erasures if one.job_id is None), default=0.0)
    with suppress(OSError):  # there is none, or it may not be looked into: then nothing was put there
        for path in sorted(folder.iterdir()):
            if any(one.covers(path.name) for one in erasures) or _is_older(path, everything):
                yield path


def clear(folder: Path, erasures: Sequence[Erasure]) -> list[Path]:
    """Remove all of it; what could not be removed."""
    for path in left_of(folder, erasures):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
    return list(left_of(folder, erasures))


def _is_older(path: Path, at: float) -> bool:
    """Only of what has no id in its name; a job that came later may have put its id anywhere below."""
    if has_id(path.name):
        return False
    with suppress(OSError):
        return path.lstat().st_mtime < at
    return False
