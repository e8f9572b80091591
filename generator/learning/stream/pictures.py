"""Pictures and captions among many files, of a folder or of a zip: who belongs to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from generator.images.decode import MAX_BYTES
from generator.images.formats import EXTENSIONS
from generator.learning.stream import metadata
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import MAX_SAMPLES, Skipped, why_not

_PICTURES = frozenset(f".{extension}" for extension in EXTENSIONS)
_MAX_SIDE_CAR = 1 << 20  # bytes of a caption's own file


@dataclass(frozen=True)
class Paired:
    """Names of pictures, sorted, each with its caption; and what was left out."""

    captions: dict[str, str]
    skipped: tuple[Skipped, ...]


def pair(where: str, sizes: Mapping[str, int], read: Callable[[str], bytes]) -> Paired:
    """Captions for the pictures among these files.

    sizes: bytes by name, below one folder, with / between. A caption is listed in the metadata file of the picture's
    folder or of one above it, or lies beside the picture as NAME.txt. read: the content of a file. Raises DataProblem.
    """
    names = sorted(name for name in sizes if not _is_litter(name))
    listed: dict[str, str] = {}
    skipped: list[Skipped] = []
    for name in names:
        path = PurePosixPath(name)
        if path.name.lower() in metadata.FILES:
            for picture, text in metadata.rows(name, _bounded(name, sizes, read, metadata.MAX_BYTES)):
                listed[str(path.parent / picture)] = text
    pictures = [name for name in names if PurePosixPath(name).suffix.lower() in _PICTURES]
    if len(pictures) > MAX_SAMPLES:
        raise DataProblem(f"{where} holds {len(pictures):,} pictures; at most {MAX_SAMPLES:,} are read.")
    texts = {PurePosixPath(name).with_suffix(""): name for name in names if name.lower().endswith(".txt")}
    captions: dict[str, str] = {}
    for name in pictures:
        if sizes[name] > MAX_BYTES:
            about = f"It has {sizes[name] / 2**20:.1f} MB; at most {MAX_BYTES >> 20} MB are read."
            skipped.append(Skipped(name, "large file", about))
            continue
        caption: str | None = listed.get(name)
        beside = texts.get(PurePosixPath(name).with_suffix(""))
        if caption is None and beside is not None:
            caption = _text(_bounded(beside, sizes, read, _MAX_SIDE_CAR))
            if caption is None:
                skipped.append(Skipped(name, "no caption", f"{beside} is not UTF-8 text."))
                continue
        caption = (caption or "").strip()
        if problem := why_not(caption):
            skipped.append(Skipped(name, *problem))
        else:
            captions[name] = caption
    known = {*pictures}
    missing = (name for name in listed if name not in known)
    skipped += (Skipped(name, "missing file", "A metadata file lists it, and it is not there.") for name in missing)
    if not captions:
        raise DataProblem(_nothing(where, pictures, skipped))
    return Paired(captions, tuple(skipped))


def _nothing(where: str, pictures: list[str], skipped: list[Skipped]) -> str:
    if not pictures:
        return f"{where} holds no pictures ({', '.join(EXTENSIONS[:4])}, ...); put pictures and their captions into it."
    first = next((one for one in skipped if one.kind != "missing file"), None)
    said = f" For instance {first.id}: {first.about}" if first else ""
    return (
        f"None of the {len(pictures)} pictures in {where} can be learnt from; each needs a caption in metadata.csv, "
        f"in metadata.jsonl or in a .txt file of its name.{said}"
    )


def _is_litter(name: str) -> bool:
    """What file managers leave in folders and archives."""
    return any(part == "__MACOSX" or part.startswith(".") for part in name.split("/"))


def _bounded(name: str, sizes: Mapping[str, int], read: Callable[[str], bytes], most: int) -> bytes:
    if sizes[name] > most:
        raise DataProblem(f"{name} has {sizes[name] / 2**20:.1f} MB; at most {most >> 20} MB are read of such a file.")
    return read(name)


def _text(data: bytes) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
