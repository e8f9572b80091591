"""The folder of one attempt at a job, on this machine: its frames, and what the store does not take now.

    data/work/<job>/<attempt>/frames/   last.png   state.pt   finished/

No two attempts share one, so an executor that wakes up after its job went to another overwrites nothing of the other's.
Who goes on with a job takes the frames of those before over, and their folders go.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from executor.outputs import File
from generator.checkpoints.download import sha256_of
from lasting import make_folder, put_in_place

STATE, FINISHED, MANIFEST, FRAMES = "state.pt", "finished", "finished.json", "frames"


@dataclass(frozen=True)
class Finished:
    """What a job has made, kept here until the store takes it."""

    files: list[File]
    score: float | None


class Attempt:
    """One attempt at a job. token: what its folder, and its files in the store, are called."""

    def __init__(self, work_dir: Path, job_id: str, studio_id: str) -> None:
        self.token = secrets.token_hex(6)
        self._studio_id = studio_id
        self._job_folder = work_dir / job_id
        self.folder = self._job_folder / self.token

    def take_over(self) -> None:
        """Make the frames of earlier attempts this one's, and remove the rest of them: the job goes on from there."""
        for before in self._earlier():
            for frame in (before / FRAMES).glob("*.png"):
                with suppress(OSError):  # a frame less
                    _link(frame, self.folder / FRAMES / frame.name)
        self._remove_earlier()

    def keep_state(self, state: bytes) -> None:
        """Keep a slot state that the store does not take. Raises OSError."""
        _write(self.folder / STATE, state)

    def drop_state(self) -> None:
        """The store has a newer one."""
        with suppress(OSError):
            (self.folder / STATE).unlink(missing_ok=True)

    def states(self) -> list[bytes]:
        """The slot states that attempts at this job have left here."""
        found = []
        for before in [self.folder, *self._earlier()]:
            with suppress(OSError):
                found.append((before / STATE).read_bytes())
        return found

    def keep_finished(self, finished: Finished) -> None:
        """Keep all that the job has made, whole or not at all; its frames make room where there is none otherwise.

        Raises OSError.
        """
        try:
            self._keep(finished)
        except OSError:
            for name in (FINISHED, FRAMES):
                shutil.rmtree(self.folder / name, ignore_errors=True)
            self._keep(finished)

    def _keep(self, finished: Finished) -> None:
        rows = []
        for file in finished.files:
            row: dict[str, object] = {"kind": file.kind, "size": file.size}
            if file.path is None:
                _write(self.folder / FINISHED / file.kind, file.data)
                row["sha256"] = hashlib.sha256(file.data).hexdigest()
            else:
                row["file"] = str(file.path.relative_to(self.folder))
                row["sha256"] = sha256_of(file.path)
            rows.append(row)
        document = {"studio": self._studio_id, "score": finished.score, "files": rows}
        # Last: what is named in here is there.
        _write(self.folder / MANIFEST, json.dumps(document).encode())

    def finished(self) -> Finished | None:
        """What an earlier attempt at this job has finished and not stored; None where that is not there, or damaged."""
        for before in [self.folder, *self._earlier()]:
            with suppress(OSError, ValueError, KeyError, TypeError):
                document = json.loads((before / MANIFEST).read_bytes())
                files = [_read(before, row) for row in document["files"]]
                if document["studio"] == self._studio_id and files:
                    return Finished(files, document["score"])
        return None

    def discard(self) -> None:
        """Remove all that is left of the job on this machine."""
        shutil.rmtree(self._job_folder, ignore_errors=True)

    def _earlier(self) -> Sequence[Path]:
        """The folders of other attempts, the newest first; before there were any the job's own was used."""
        with suppress(OSError):
            folders = [path for path in self._job_folder.iterdir() if path.is_dir() and path.name != FRAMES]
            others = [path for path in folders if path != self.folder]
            return [*sorted(others, key=lambda path: path.stat().st_mtime, reverse=True), self._job_folder]
        return []

    def _remove_earlier(self) -> None:
        for before in self._earlier():
            if before != self._job_folder:
                shutil.rmtree(before, ignore_errors=True)
        shutil.rmtree(self._job_folder / FRAMES, ignore_errors=True)
        (self._job_folder / "last.png").unlink(missing_ok=True)


def kept(work_dir: Path, studio_id: str) -> list[str]:
    """The ids of this studio's jobs whose finished files wait in this folder."""
    found = []
    # Not Path.glob, which raises where a folder goes while it looks: other executors may share this one.
    for name in sorted(glob.glob(f"*/*/{MANIFEST}", root_dir=work_dir)):
        manifest = work_dir / name
        with suppress(OSError, ValueError, KeyError, TypeError):
            if json.loads(manifest.read_bytes())["studio"] == studio_id:
                found.append(manifest.parent.parent.name)
    return list(dict.fromkeys(found))


def _read(folder: Path, row: dict[str, object]) -> File:
    """A kept file. Raises ValueError where it is not what it was."""
    size = row["size"]
    if "file" in row:
        path = folder / str(row["file"])
        if sha256_of(path) != row["sha256"]:
            raise ValueError(f"{row['kind']} is damaged")
        return File(str(row["kind"]), b"", path=path)
    data = (folder / FINISHED / str(row["kind"])).read_bytes()
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"{row['kind']} is damaged")
    return File(str(row["kind"]), data, (int(size[0]), int(size[1])) if isinstance(size, list) else None)


def _write(path: Path, data: bytes) -> None:
    """Whole, and by a name that lasts: it outlives the machine's loss of power."""
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        put_in_place(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _link(source: Path, target: Path) -> None:
    """A second name of a file, or a copy where the file system has none. Whoever writes either anew renames over it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        os.replace(part, target)
