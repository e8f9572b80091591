"""WebDataset shards: tar files whose members of one name are one sample, NAME.jpg and NAME.txt (or .json).

https://github.com/webdataset/webdataset. Only their table of contents is read on opening; a picture is read where it
lies, so that any order costs the same. Nothing is unpacked.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from generator.images.decode import MAX_BYTES
from generator.images.formats import EXTENSIONS
from generator.learning.stream.metadata import CAPTION_COLUMNS, is_safe
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import MAX_SAMPLES, Skipped, why_not

_TEXTS = ("txt", "text", "caption")
_MAX_TEXT = 1 << 20  # bytes of a caption's member


@dataclass(frozen=True, slots=True)
class _Place:
    shard: int
    offset: int
    size: int


class Shards:
    """A Source. ids: SHARD/NAME, as WebDataset's key with the file's name before it."""

    kind = "tar"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.name = paths[0].name if len(paths) == 1 else paths[0].parent.name
        self.ids: list[str] = []
        self.skipped: list[Skipped] = []
        self._captions: list[str] = []
        self._places: list[_Place] = []
        self._files: list[int] = []
        stems = [path.stem for path in paths]
        if len({*stems}) != len(stems):
            raise DataProblem("Two shards have one name; their samples could not be told apart.")
        try:
            for shard, path in enumerate(sorted(paths)):
                self._index(shard, path)
        except BaseException:
            self.close()
            raise
        if not self.ids:
            said = f" For instance {self.skipped[0].id}: {self.skipped[0].about}" if self.skipped else ""
            raise DataProblem(f"{self.name} holds no captioned picture: NAME.jpg and NAME.txt are needed.{said}")
        if len({*self.ids}) != len(self.ids):
            self.close()
            raise DataProblem(f"{self.name} has two samples of one name in one shard; they could not be told apart.")

    def caption(self, index: int) -> str:
        return self._captions[index]

    def image(self, index: int) -> bytes:
        place = self._places[index]
        try:
            data = os.pread(self._files[place.shard], place.size, place.offset)
        except OSError as error:
            raise DataProblem(f"{self.ids[index]} cannot be read ({error.strerror}).") from None
        if len(data) != place.size:
            raise DataProblem(f"{self.ids[index]} is cut short.")
        return data

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files:
            os.close(file)
        self._files.clear()

    def _index(self, shard: int, path: Path) -> None:
        try:
            self._files.append(os.open(path, os.O_RDONLY))
            with tarfile.open(path, "r:") as tar:
                self._members(shard, path.stem, tar)
        except tarfile.ReadError:
            raise DataProblem(
                f"{path.name} is not a tar file, or is compressed; unpack it with gunzip first."
            ) from None
        except (OSError, tarfile.TarError, ValueError) as error:
            raise DataProblem(f"{path.name} cannot be read as a tar file ({error}).") from None

    def _members(self, shard: int, stem: str, tar: tarfile.TarFile) -> None:
        key, parts = "", dict[str, tarfile.TarInfo]()
        while (member := tar.next()) is not None:
            vars(tar)["members"] = []  # tarfile keeps every one; a shard may have a million
            name = member.name.removeprefix("./")
            if not member.isreg():
                if not member.isdir():
                    self.skipped.append(Skipped(f"{stem}/{name}", "link", "It is a link or a device, not a file."))
                continue
            if not is_safe(name):
                raise DataProblem(f"{stem}.tar names a member {name!r}, which is no path below its folder.")
            folder, _, base = name.rpartition("/")
            first, _, extension = base.partition(".")
            if f"{folder}/{first}" != key:
                self._sample(shard, stem, key, parts)
                key, parts = f"{folder}/{first}", {}
            parts[extension.lower()] = member
        self._sample(shard, stem, key, parts)

    def _sample(self, shard: int, stem: str, key: str, parts: dict[str, tarfile.TarInfo]) -> None:
        picture = next((parts[extension] for extension in EXTENSIONS if extension in parts), None)
        if picture is None:
            return
        sample_id = f"{stem}/{key.lstrip('/')}"
        caption = self._caption(shard, parts).strip()
        problem = why_not(caption)
        if picture.size > MAX_BYTES:
            problem = "large file", f"It has {picture.size / 2**20:.1f} MB; at most {MAX_BYTES >> 20} MB are read."
        if problem:
            self.skipped.append(Skipped(sample_id, *problem))
            return
        if len(self.ids) == MAX_SAMPLES:
            raise DataProblem(f"{self.name} holds more than {MAX_SAMPLES:,} pictures.")
        self.ids.append(sample_id)
        self._captions.append(caption)
        self._places.append(_Place(shard, picture.offset_data, picture.size))

    def _caption(self, shard: int, parts: dict[str, tarfile.TarInfo]) -> str:
        """ "" where there is none that can be read."""
        for extension in (*_TEXTS, "json"):
            member = parts.get(extension)
            if member is None or member.size > _MAX_TEXT:
                continue
            data = os.pread(self._files[shard], member.size, member.offset_data)
            try:
                said = json.loads(data) if extension == "json" else data.decode("utf-8-sig")
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict):
                said = next((said[column] for column in CAPTION_COLUMNS if said.get(column)), "")
            if isinstance(said, str):
                return said
        return ""
