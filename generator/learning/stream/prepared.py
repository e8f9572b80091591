"""Pictures as they are sent, made once: base64 of a file that any trainer can open, kept within a bound of memory."""

from __future__ import annotations

import base64
import os
import tempfile
import threading
from collections.abc import Iterable
from typing import IO

from PIL import Image, ImageOps

from generator.images.decode import BadImage, decode_image, open_image
from generator.images.encode import encode
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import Source

_AS_THEY_ARE = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 0x0112  # EXIF 2.3


class Prepared:
    """The pictures of a source in base64. Safe from any thread.

    size: px of each side they are cropped and scaled to, None to leave them as large as they are. memory: bytes kept.
    What has been decoded is never decoded again: where memory is full it lies in a temporary file.
    """

    def __init__(self, source: Source, *, size: int | None = None, memory: int = 1 << 30) -> None:
        self._source, self._size, self._memory = source, size, memory
        self._lock = threading.Lock()
        self._kept: dict[int, bytes] = {}
        self._kept_bytes = 0
        self._spilled: dict[int, tuple[int, int]] = {}
        self._spill: IO[bytes] | None = None
        self._spill_end = 0
        self.unreadable: dict[int, str] = {}
        self.decoded = 0  # pictures, each once

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._kept)

    def at_hand(self, indices: Iterable[int]) -> bool:
        """Whether all of them are in memory, or known to be unreadable."""
        return all(index in self._kept or index in self.unreadable for index in indices)

    def picture(self, index: int) -> bytes | None:
        """Base64; None for a picture that cannot be read, which `unreadable` then says why."""
        kept = self._kept.get(index)
        if kept is not None or index in self.unreadable:
            return kept
        if (place := self._spilled.get(index)) is not None and self._spill is not None:
            return os.pread(self._spill.fileno(), place[1], place[0])
        try:
            data, made = self._made(index)
        except (BadImage, DataProblem) as error:
            self.unreadable[index] = str(error)
            return None
        coded = base64.b64encode(data)
        self._keep(index, coded, made)
        return coded

    def close(self) -> None:
        """Let go of the temporary file."""
        if self._spill is not None:
            self._spill.close()

    def _made(self, index: int) -> tuple[bytes, bool]:
        """The file to be sent, and whether it was made here."""
        data = self._source.image(index)
        if self._fits(open_image(data)):
            return data, False
        image = decode_image(data)
        self.decoded += 1
        if self._size is not None:
            image = ImageOps.fit(image, (self._size, self._size), Image.Resampling.LANCZOS)
        return encode(image, "PNG"), True

    def _fits(self, image: Image.Image) -> bool:
        """Whether every reader shows this file as `decode_image` does: upright, opaque, without a profile."""
        return (
            image.format in _AS_THEY_ARE
            and image.mode in ("RGB", "L")
            and not {"transparency", "icc_profile"} & image.info.keys()
            and image.getexif().get(_ORIENTATION, 1) == 1
            and self._size in (None, image.width)
            and self._size in (None, image.height)
        )

    def _keep(self, index: int, coded: bytes, made: bool) -> None:
        with self._lock:
            if index in self._kept or index in self._spilled:
                return  # another connection's thread was there first
            if self._kept_bytes + len(coded) <= self._memory:
                self._kept[index] = coded
                self._kept_bytes += len(coded)
            elif made:  # what lies ready in its source is read again from there
                if self._spill is None:
                    self._spill = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this
                os.pwrite(self._spill.fileno(), coded, self._spill_end)
                self._spilled[index] = (self._spill_end, len(coded))
                self._spill_end += len(coded)
