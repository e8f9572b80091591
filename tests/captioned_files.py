"""Captioned pictures in every way that they may lie, made by the tests."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

from PIL import Image, ImageDraw

WORDS = ("red", "green", "blue", "yellow", "purple", "orange", "black", "white")
COLOURS = ("#d22", "#2a2", "#24d", "#ec2", "#828", "#e82", "#111", "#eee")


def picture(number: int, *, side: int = 32, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A disc, whose colour and place depend on the number."""
    image = Image.new("RGB", (side, side), "#ccc")
    at = 1 + number // len(COLOURS) % (side // 2)
    ImageDraw.Draw(image).ellipse((at, at, at + side // 2, at + side // 3), fill=COLOURS[number % len(COLOURS)])
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind)
    return buffer.getvalue()


def caption(number: int) -> str:
    return f"a {WORDS[number % len(WORDS)]} disc, number {number}"


def captioned(count: int) -> dict[str, tuple[str, bytes]]:
    """Captions and pictures by file name."""
    return {f"disc-{n:04}.png": (caption(n), picture(n)) for n in range(count)}


def jsonl(samples: dict[str, tuple[str, bytes]]) -> str:
    return "".join(json.dumps({"file_name": name, "text": text}) + "\n" for name, (text, _) in samples.items())


def write_folder(folder: Path, count: int, *, captions: str = "metadata.jsonl") -> Path:
    """A folder of pictures. captions: metadata.jsonl, metadata.csv or txt."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = captioned(count)
    for name, (text, data) in samples.items():
        (folder / name).write_bytes(data)
        if captions == "txt":
            (folder / name).with_suffix(".txt").write_text(text)
    if captions == "metadata.jsonl":
        (folder / captions).write_text(jsonl(samples))
    elif captions == "metadata.csv":
        rows = "".join(f'{name},"{text}"\n' for name, (text, _) in samples.items())
        (folder / captions).write_text(f"file_name,text\n{rows}")
    return folder


def write_zip(path: Path, count: int, *, more: dict[str, bytes] | None = None) -> Path:
    """A zip as the page takes it, with more entries if wanted."""
    samples = captioned(count)
    with zipfile.ZipFile(path, "w") as made:
        for name, (_, data) in samples.items():
            made.writestr(name, data)
        made.writestr("metadata.jsonl", jsonl(samples))
        for name, data in (more or {}).items():
            made.writestr(name, data)
    return path


def write_tar(path: Path, numbers: range) -> Path:
    """A WebDataset shard of these numbers' pictures."""
    with tarfile.open(path, "w") as made:
        for n in numbers:
            for extension, data in (("png", picture(n)), ("txt", caption(n).encode())):
                member = tarfile.TarInfo(f"{n:05}.{extension}")
                member.size = len(data)
                made.addfile(member, io.BytesIO(data))
    return path
