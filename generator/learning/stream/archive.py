"""A zip of captioned pictures, read where it lies and never unpacked; and such a zip written.

Whoever sent it may be hostile: names that leave their folder, links, entries that are encrypted or unpack to much more
than pictures do are refused before anything is read; each entry is read up to the size it states and no further.
"""

from __future__ import annotations

import json
import stat
import threading
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from generator.learning.stream.metadata import is_safe
from generator.learning.stream.pictures import pair
from generator.learning.stream.samples import DataProblem, Sample

MAX_ENTRIES = 500_000
MAX_RATIO = 100  # of what it unpacks to; pictures hardly shrink, captions less than that
_SLACK = 16 << 20  # bytes: small archives of empty pictures shrink more
_ENCRYPTED = 0x1


class Archive:
    """A Source. ids: names in the archive."""

    kind = "zip"

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.name = name or path.name
        self._lock = threading.Lock()
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise DataProblem(f"{self.name} is not a zip archive that can be read ({error}).") from None
        try:
            self._entries = _checked(self.name, self._zip, path.stat().st_size)
            sizes = {name: entry.file_size for name, entry in self._entries.items()}
            paired = pair(self.name, sizes, self._read)
        except BaseException:
            self._zip.close()
            raise
        self.ids = list(paired.captions)
        self._captions = list(paired.captions.values())
        self.skipped = paired.skipped

    def caption(self, index: int) -> str:
        return self._captions[index]

    def image(self, index: int) -> bytes:
        return self._read(self.ids[index])

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()

    def _read(self, name: str) -> bytes:
        entry = self._entries[name]
        try:
            with self._lock, self._zip.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataProblem(f"{name!r} in {self.name} cannot be read ({error}).") from None
        if len(data) != entry.file_size:
            raise DataProblem(f"{name!r} in {self.name} is not as long as the archive says.")
        return data


def write_archive(file: Path | IO[bytes], samples: Iterable[Sample]) -> int:
    """Write samples as the zip that a data set of the studio is, not compressed; how many. Ids become file names.

    Raises DataProblem for an id that is no file name.
    """
    lines = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=False) as made:
        for sample in samples:
            if not is_safe(sample.id):
                raise DataProblem(f"{sample.id!r} is no name of a file.")
            # One date for all: the same samples make the same bytes.
            made.writestr(zipfile.ZipInfo(sample.id), sample.image)
            lines.append(json.dumps({"file_name": sample.id, "text": sample.caption}, ensure_ascii=False))
        made.writestr(zipfile.ZipInfo("metadata.jsonl"), "\n".join(lines) + "\n")
    return len(lines)


def _checked(where: str, archive: zipfile.ZipFile, packed: int) -> dict[str, zipfile.ZipInfo]:
    """The files in the archive by name. Raises DataProblem for what no honest archive of pictures has."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise DataProblem(f"{where} has {len(entries):,} entries; at most {MAX_ENTRIES:,} are read.")
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = entry.filename
        # orig_filename: zipfile cuts a name at a zero byte, others do not
        if not is_safe(name.removesuffix("/")) or not is_safe(entry.orig_filename.removesuffix("/")):
            raise DataProblem(f"{where} names an entry {name!r}, which is no path below its folder; nothing was read.")
        if entry.is_dir():
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise DataProblem(f"{name!r} in {where} is a link; a zip of pictures has none.")
        if entry.flag_bits & _ENCRYPTED:
            raise DataProblem(f"{name!r} in {where} is encrypted; zip it without a password.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataProblem(f"{name!r} in {where} is packed in a way that is not read; use an ordinary zip.")
        if name in found:
            raise DataProblem(f"{where} has {name!r} twice.")
        found[name] = entry
    total = sum(entry.file_size for entry in found.values())
    if total > MAX_RATIO * packed + _SLACK:
        raise DataProblem(
            f"{where} has {packed / 2**20:.1f} MB and unpacks to {total / 2**20:,.0f} MB; pictures shrink at most "
            f"{MAX_RATIO} times, so nothing of it was read."
        )
    return found
