"""Parquet files with a column of pictures and one of captions, as data sets on Hugging Face's hub are kept.

A shuffled order would unpack a whole row group for every picture; so the pictures are copied once into a temporary file
that is read at any place, and the captions are kept in memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from generator.images.decode import MAX_BYTES
from generator.learning.stream.metadata import caption_column, image_column
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import MAX_SAMPLES, Skipped, why_not

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 64  # unpacked at a time
_SPARE = 1 << 30  # bytes that are left free on the disk


class Table:
    """A Source. ids: FILE:ROW, the row counted from 0. folder: where the temporary file lies; the system's, if None."""

    kind = "parquet"

    def __init__(self, paths: Sequence[Path], *, folder: Path | None = None) -> None:
        self.name = paths[0].name if len(paths) == 1 else paths[0].parent.name
        self.ids: list[str] = []
        self.skipped: list[Skipped] = []
        self._captions: list[str] = []
        self._places: list[tuple[int, int]] = []  # offset and size of each picture in the copy
        self._end = 0
        if len({path.name for path in paths}) != len(paths):
            raise DataProblem("Two parquet files have one name; their rows could not be told apart.")
        _check_room(paths, Path(folder or tempfile.gettempdir()))
        self._copy: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - it lives as long as the source
        try:
            for path in sorted(paths):
                for row, caption, image in _rows(path):
                    self._add(f"{path.name}:{row}", caption, image)
            self._copy.flush()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise DataProblem(f"{self.name} cannot be read or copied ({error}).") from None
            raise
        if not self.ids:
            said = f" For instance {self.skipped[0].id}: {self.skipped[0].about}" if self.skipped else ""
            raise DataProblem(f"{self.name} holds no captioned picture.{said}")

    def caption(self, index: int) -> str:
        return self._captions[index]

    def image(self, index: int) -> bytes:
        offset, size = self._places[index]
        return os.pread(self._copy.fileno(), size, offset)

    def close(self) -> None:
        """Let go of the copy, which is gone then."""
        self._copy.close()

    def _add(self, sample_id: str, caption: Any, image: Any) -> None:
        caption = caption.strip() if isinstance(caption, str) else ""
        problem = why_not(caption)
        if not isinstance(image, bytes):
            problem = "no picture", "The row holds no picture, or the path of one that is elsewhere."
        elif len(image) > MAX_BYTES:
            problem = "large file", f"It has {len(image) / 2**20:.1f} MB; at most {MAX_BYTES >> 20} MB are read."
        if problem:
            self.skipped.append(Skipped(sample_id, *problem))
            return
        if len(self.ids) == MAX_SAMPLES:
            raise DataProblem(f"{self.name} holds more than {MAX_SAMPLES:,} pictures.")
        self.ids.append(sample_id)
        self._captions.append(caption)
        self._copy.write(image)
        self._places.append((self._end, len(image)))
        self._end += len(image)


def bytes_of(value: Any) -> Any:
    """The encoded picture in a cell: bytes, or what the `datasets` library keeps, {"bytes": ..., "path": ...}."""
    return value.get("bytes") if isinstance(value, dict) else value


def first_of(value: Any) -> Any:
    """The caption in a cell; of several, as in COCO, the first."""
    return value[0] if isinstance(value, list) and value else value


def _rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            captions, images = caption_column(names, path.name), image_column(names, path.name)
            row = 0
            for batch in file.iter_batches(batch_size=_ROWS, columns=[captions, images]):
                yield from _unpacked(batch, row, captions, images)
                row += batch.num_rows
    except (pa.ArrowException, MemoryError) as error:
        raise DataProblem(f"{path.name} is not a parquet file that can be read ({error}).") from None


def _unpacked(batch: pa.RecordBatch, first: int, captions: str, images: str) -> Iterator[tuple[int, Any, Any]]:
    pairs = zip(batch.column(captions), batch.column(images), strict=True)
    for row, (caption, image) in enumerate(pairs, first):
        yield row, first_of(caption.as_py()), bytes_of(image.as_py())


def _check_room(paths: Sequence[Path], folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    needed = 0
    for path in paths:
        try:
            found: Any = pq.read_metadata(path)
            needed += sum(found.row_group(group).total_byte_size for group in range(found.num_row_groups))
        except (pa.ArrowException, OSError) as error:
            raise DataProblem(f"{path.name} is not a parquet file that can be read ({error}).") from None
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DataProblem(
            f"{needed / 1e9:.1f} GB of {folder} are needed for a copy of the pictures while they are used, and "
            f"{free / 1e9:.1f} GB are free; set TMPDIR to a folder with more."
        )
