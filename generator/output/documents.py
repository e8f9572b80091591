"""Pictures with what belongs to them, nested, as programs written for docarray expect them back.

Where docarray 0.13 to 0.21 is installed its own classes are used, else these two: the same names for what such programs
call, written anew. Imports no torch.
"""

from __future__ import annotations

import base64
import binascii
import importlib
import io
import math
import warnings
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, overload

from PIL import Image, ImageDraw, ImageFont

from generator.images.encode import encode

Output = str | Path | BinaryIO


class Document:
    """A picture as a data URI, its tags, and the Documents that belong to it (chunks)."""

    def __init__(
        self, *, uri: str | None = None, tags: dict[str, Any] | None = None, mime_type: str | None = None
    ) -> None:
        self.uri, self.mime_type = uri, mime_type
        self.tags: dict[str, Any] = dict(tags or {})
        self.chunks = DocumentArray()

    def __repr__(self) -> str:
        return f"<Document {self.tags!r}, {len(self.chunks)} chunks>"

    def data(self) -> bytes:
        """The bytes of the file in `uri`. Raises ValueError where there is none."""
        head, comma, text = (self.uri or "").partition(",")
        if not comma or not head.startswith("data:") or not head.endswith(";base64"):
            raise ValueError("This Document has no picture: its uri is no data URI in base64.")
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError("This Document has no picture: its uri is no base64.") from None

    def image(self) -> Image.Image:
        """The picture in `uri`, RGB. Raises ValueError where there is none."""
        with Image.open(io.BytesIO(self.data())) as found:
            return found.convert("RGB")

    def save_uri_to_file(self, file: str | Path) -> Document:
        """Write the file in `uri` where `file` says; the Document itself. Raises ValueError, OSError."""
        Path(file).write_bytes(self.data())
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"uri": self.uri, "mime_type": self.mime_type, "tags": self.tags, "chunks": self.chunks.to_list()}


class DocumentArray:
    """Documents in order."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._documents = list(documents)

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> DocumentArray: ...
    def __getitem__(self, index: int | slice) -> Document | DocumentArray:
        found = self._documents[index]
        return DocumentArray(found) if isinstance(found, list) else found

    def __repr__(self) -> str:
        return f"<DocumentArray of {len(self)} Documents>"

    def append(self, document: Document) -> None:
        """Put a Document at the end."""
        self._documents.append(document)

    def extend(self, documents: Iterable[Document]) -> None:
        """Put Documents at the end."""
        self._documents.extend(documents)

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values for JSON."""
        return [document.to_dict() for document in self]

    def plot_image_sprites(
        self,
        output: Output | None = None,
        canvas_size: int = 512,
        min_size: int = 16,
        skip_empty: bool = False,
        show_index: bool = False,
        fig_size: tuple[float, float] | None = (10, 10),
        keep_aspect_ratio: bool = False,
    ) -> Image.Image:
        """All pictures on one, ceil(sqrt(n)) in a row: written to `output`, and returned.

        canvas_size: px of the longer side of the whole; min_size: px that a picture has at least. With
        keep_aspect_ratio every picture has the shape of the first, else a square. show_index: the number of each in its
        corner. fig_size is for those who show it elsewhere. Raises ValueError where there is no picture.
        """
        pictures = self._pictures(skip_empty)
        columns = math.ceil(math.sqrt(len(pictures)))
        side = max(canvas_size // columns, min_size)
        first = pictures[0][1]
        scale = side / max(first.size)
        width, height = (side, side)
        if keep_aspect_ratio:
            width, height = max(1, round(first.width * scale)), max(1, round(first.height * scale))
        sheet = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), "white")
        for place, (number, picture) in enumerate(pictures):
            cell = picture.resize((width, height), Image.Resampling.LANCZOS)
            if show_index:
                _write_number(cell, number)
            sheet.paste(cell, (place % columns * width, place // columns * height))
        if output is not None:
            _write(output, encode(sheet, _format(output, "PNG")))
        return sheet

    def save_gif(
        self,
        output: Output,
        duration: int = 200,
        size_ratio: float = 1.0,
        image_source: str = "tensor",
        inline_display: bool = False,
        skip_empty: bool = False,
        show_index: bool = False,
        show_progress: bool = False,
    ) -> None:
        """A film that begins again at its end, one frame a picture, all as large as the first.

        duration: ms a frame. size_ratio: of the pictures' size. image_source: the pictures are always those in `uri`.
        inline_display shows it in a notebook. Raises ValueError where there is no picture.
        """
        pictures = self._pictures(skip_empty)
        first = pictures[0][1]
        size = (max(1, round(first.width * size_ratio)), max(1, round(first.height * size_ratio)))
        frames = []
        for number, picture in pictures:
            frame = picture.resize(size, Image.Resampling.LANCZOS) if picture.size != size else picture
            if show_index:
                _write_number(frame, number)
            frames.append(frame.quantize(256, Image.Quantize.FASTOCTREE))
        film = encode(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
        _write(output, film)
        if inline_display:
            _show(film)

    def _pictures(self, skip_empty: bool) -> list[tuple[int, Image.Image]]:
        """Each picture with its number."""
        named = [(number, one) for number, one in enumerate(self) if one.uri or not skip_empty]
        if not named:
            raise ValueError("There are no pictures in this DocumentArray.")
        return [(number, one.image()) for number, one in named]


def document_classes() -> tuple[Any, Any]:
    """Document and DocumentArray: docarray's own where a version with them is installed (before 0.30), else these."""
    try:
        major, minor = (int(part) for part in metadata.version("docarray").split(".")[:2])
    except (metadata.PackageNotFoundError, ValueError):
        return Document, DocumentArray
    if (major, minor) >= (0, 30):
        return Document, DocumentArray
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        docarray = importlib.import_module("docarray")
    return docarray.Document, docarray.DocumentArray


def _write_number(image: Image.Image, number: int) -> None:
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(8, image.height // 8))
    draw.text((2, 1), str(number), fill="white", font=font, stroke_width=1, stroke_fill="black")


def _format(output: Output, default: str) -> str:
    end = Path(output).suffix.lower() if isinstance(output, str | Path) else ""
    return Image.registered_extensions().get(end, default)


def _write(output: Output, data: bytes) -> None:
    if isinstance(output, str | Path):
        Path(output).write_bytes(data)
    else:
        output.write(data)


def _show(film: bytes) -> None:
    try:
        display = importlib.import_module("IPython.display")
    except ImportError:
        return  # there is nothing to show it in
    display.display(display.Image(data=film, format="gif"))
