"""Data to learn from, whatever they are: a folder, a zip, parquet files, WebDataset shards, a server."""

from __future__ import annotations

import glob
from collections.abc import Collection
from pathlib import Path

from generator.learning.stream.archive import Archive
from generator.learning.stream.datasets_folder import MARKS, DatasetsFolder
from generator.learning.stream.folder import Folder
from generator.learning.stream.samples import CaptionStream, DataProblem
from generator.learning.stream.sources import MIN_SAMPLES, Source, SourceStream, Without
from generator.learning.stream.table import Table
from generator.learning.stream.tar import Shards

KINDS = "a folder, a .zip, .parquet or .tar files, a folder of the datasets library, or ws://HOST:PORT/PATH"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_stream(
    where: Path | str, *, validation_share: float, min_samples: int = MIN_SAMPLES, left_out: Collection[str] = ()
) -> CaptionStream:
    """Captioned pictures from a path (also a pattern such as data/*.tar) or from the ws:// address of a server.

    validation_share: of all samples, in [0, 1). left_out: ids that are not read, as a report's `unreadable`; not of a
    server's. Raises DataProblem: nothing there, nothing captioned, fewer samples than min_samples, or a source that
    cannot be read.
    """
    if not 0 <= validation_share < 1:
        raise DataProblem(f"validation_share is {validation_share}; it must be at least 0 and below 1.")
    if is_address(where):
        from generator.learning.stream.eir_client import EirStream

        return EirStream(str(where), validation_share=validation_share)
    found = open_source(Path(where))
    source: Source = Without(found, left_out) if left_out else found
    try:
        if len(source.ids) < min_samples:
            raise DataProblem(
                f"{source.name} holds {len(source.ids)} captioned pictures; at least {min_samples} are needed."
            )
        return SourceStream(source, validation_share)
    except BaseException:
        source.close()
        raise


def is_address(where: Path | str) -> bool:
    """Whether that is the address of a server."""
    return isinstance(where, str) and where.lower().startswith(("ws://", "wss://"))


def open_source(path: Path) -> Source:
    """The source that lies there. Raises DataProblem."""
    if path.is_dir():
        return _in_folder(path)
    paths = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path)))]
    if not paths:
        raise DataProblem(f"There is nothing at {path}; data are {KINDS}.")
    kinds = {one.suffix.lower() for one in paths}
    if kinds == {".zip"} and len(paths) == 1:
        return Archive(path)
    if kinds == {".parquet"}:
        return Table(paths)
    if kinds == {".tar"}:
        return Shards(paths)
    if any(one.name.lower().endswith(_COMPRESSED) for one in paths):
        raise DataProblem(f"{path.name} is a compressed tar, which cannot be read in any order; unpack it with gunzip.")
    raise DataProblem(f"{path.name} is none of what can be read: {KINDS}.")


def _in_folder(path: Path) -> Source:
    if any((path / mark).is_file() for mark in MARKS):
        return DatasetsFolder(path)
    if tables := sorted(path.rglob("*.parquet")):
        return Table(_of_train(tables))
    if shards := sorted(path.rglob("*.tar")):
        return Shards(_of_train(shards))
    return Folder(path)


def _of_train(files: list[Path]) -> list[Path]:
    """Of files named by their split, as the hub has them (train-00000-of-00005.parquet), those of train."""
    train = [path for path in files if path.name.lower().startswith("train")]
    return train or files
