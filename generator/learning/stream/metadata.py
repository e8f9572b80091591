"""Captions listed in one file, as the imagefolder of Hugging Face's `datasets` has them: metadata.csv, metadata.jsonl.

A row names a picture (`file_name`) and its caption (`text`, or one of CAPTION_COLUMNS).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence

from generator.learning.stream.samples import DataProblem

FILES = ("metadata.jsonl", "metadata.csv")
MAX_BYTES = 512 << 20  # of one such file
# In this order: a data set with several of them means the first.
CAPTION_COLUMNS = ("text", "caption", "captions", "prompt", "description", "title")
IMAGE_COLUMNS = ("image", "img", "picture", "jpg", "png", "webp")
_FILE_COLUMNS = ("file_name", "image_file_name")


def caption_column(columns: Iterable[str], where: str) -> str:
    """Which column holds the captions. Raises DataProblem, which names the columns that are there."""
    return _column(columns, CAPTION_COLUMNS, "captions", where)


def image_column(columns: Iterable[str], where: str) -> str:
    """Which column holds the pictures. Raises DataProblem."""
    return _column(columns, IMAGE_COLUMNS, "pictures", where)


def is_safe(name: str) -> bool:
    """Whether a name found in data stays below the folder it is meant for: relative, no .., no drive, no control."""
    parts = name.split("/")
    return bool(name) and name.isprintable() and "\\" not in name and ":" not in parts[0] and not {"", ".."} & {*parts}


def rows(name: str, data: bytes) -> Iterator[tuple[str, str]]:
    """The pictures and captions that one metadata file lists, in its order. Raises DataProblem."""
    if len(data) > MAX_BYTES:
        raise DataProblem(f"{name} has {len(data) >> 20} MB; at most {MAX_BYTES >> 20} MB are read.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataProblem(f"{name} is not UTF-8 text: byte {error.start} is none of it.") from None
    listed = _csv(name, text) if name.lower().endswith(".csv") else _jsonl(name, text)
    for line, picture, caption in listed:
        if not is_safe(picture):
            raise DataProblem(f"{name}, line {line}: {picture!r} is no name of a file below its folder.")
        yield picture.removeprefix("./"), caption


def _csv(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = list(reader.fieldnames or ())
        picture_in, caption_in = _column(columns, _FILE_COLUMNS, "file names", name), caption_column(columns, name)
        for row in reader:
            yield reader.line_num, (row[picture_in] or "").strip(), (row[caption_in] or "").strip()
    except csv.Error as error:
        raise DataProblem(f"{name}, line {reader.line_num}: it is not CSV ({error}).") from None


def _jsonl(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    columns: tuple[str, str] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataProblem(f"{name}, line {number}: it is not a JSON object.")
        if columns is None:
            columns = _column(row, _FILE_COLUMNS, "file names", name), caption_column(row, name)
        picture, caption = row.get(columns[0]), row.get(columns[1])
        if not isinstance(picture, str) or not isinstance(caption, str | None):
            raise DataProblem(f"{name}, line {number}: {columns[0]} and {columns[1]} must be texts.")
        yield number, picture.strip(), (caption or "").strip()


def _column(columns: Iterable[str], wanted: Sequence[str], what: str, where: str) -> str:
    have = [str(column) for column in columns]
    by_name = {column.strip().lower(): column for column in reversed(have)}
    for name in wanted:
        if name in by_name:
            return by_name[name]
    has = ", ".join(have[:20]) or "none"
    raise DataProblem(f"{where} has no column of {what}: one of {', '.join(wanted)} is needed; it has {has}.")
