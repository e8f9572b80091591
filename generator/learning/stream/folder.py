"""A folder of pictures, with captions beside them or listed in metadata.csv or .jsonl, as imagefolder has it."""

from __future__ import annotations

import os
from pathlib import Path

from generator.learning.stream.pictures import pair
from generator.learning.stream.samples import DataProblem

MAX_DEPTH = 16  # folders in folders


class Folder:
    """A Source. ids: paths below the folder, with / between. Folders that are links are not entered."""

    kind = "folder"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name or str(path)
        paired = pair(self.name, _sizes(path), lambda name: _read(path / name))
        self.ids = list(paired.captions)
        self._captions = list(paired.captions.values())
        self.skipped = paired.skipped

    def caption(self, index: int) -> str:
        return self._captions[index]

    def image(self, index: int) -> bytes:
        return _read(self.path / self.ids[index])

    def close(self) -> None:
        """Nothing is held open."""


def _sizes(path: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    folders: list[tuple[str, int]] = [("", 0)]
    while folders:
        below, depth = folders.pop()
        try:
            with os.scandir(path / below) as entries:
                for entry in entries:
                    name = f"{below}{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        if depth == MAX_DEPTH:
                            raise DataProblem(f"{name!r} lies more than {MAX_DEPTH} folders deep.")
                        folders.append((f"{name}/", depth + 1))
                    elif entry.is_file():  # not a pipe or a device, which would never end
                        found[name] = entry.stat().st_size
        except OSError as error:
            raise DataProblem(f"The folder {path / below} cannot be read ({error.strerror}).") from None
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataProblem(f"{path.name} cannot be read ({error.strerror}).") from None
