"""What this process remembers of small files, for all visitors: bounded by bytes, not by how many there are."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import streamlit as st
from PIL import Image

MAX_BYTES = 16 << 20  # some hundred thumbnails
WIDEST = 1460  # px; st.image makes wider ones narrower at every run
THUMBNAIL = 168  # px; shown at a third of it, on screens that have three for one
QUALITY = 90  # of JPEG, as st.image has it


class Kept:
    """Bytes by key; the least recently used are dropped once all of them are more than `most_bytes`."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._most = max_bytes
        self._lock = threading.Lock()
        self._there: OrderedDict[Hashable, bytes] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under this key, made now where nothing is. What `make` raises is raised and nothing is kept."""
        with self._lock:
            known = self._there.get(key)
            if known is not None:
                self._there.move_to_end(key)
                return known
        # Not under the lock: another visitor's picture need not wait for this one. Made twice, it is the same.
        data = make()
        with self._lock:
            if key not in self._there:
                self._there[key] = data
                self.bytes += len(data)
            while self.bytes > self._most and self._there:
                self.bytes -= len(self._there.popitem(last=False)[1])
        return data

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._there.clear()
            self.bytes = 0


@st.cache_resource(show_spinner=False)
def files() -> Kept:
    """The files of the store, by address, key and hash."""
    return Kept()


@st.cache_resource(show_spinner=False)
def pictures() -> Kept:
    """Pictures as they are sent to browsers, by the hash of what they were made from."""
    return Kept()


def as_sent(data: bytes) -> bytes:
    """The picture in the format and width in which st.image sends it, worked out once instead of at every run."""
    return pictures().get(hashlib.sha256(data).digest(), lambda: _as_sent(data))


def thumbnail(reference: str, read: Callable[[], bytes]) -> bytes:
    """A picture of the store in THUMBNAIL px; it is read and made small the first time it is asked for."""
    return pictures().get(("thumbnail", reference), lambda: _small(read()))


def _small(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGBA" if picture.mode in ("RGBA", "LA", "P") else "RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    small.save(out, "PNG")
    return out.getvalue()


def _as_sent(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        if picture.format == "GIF":
            return data  # it may move
        form = "PNG" if picture.mode in ("RGBA", "LA", "P") else "JPEG"
        if picture.format == form and picture.width <= WIDEST:
            return data
        sent: Image.Image = picture
        if picture.width > WIDEST:
            height = max(1, round(picture.height * WIDEST / picture.width))
            sent = (picture.convert("RGBA") if form == "PNG" else picture).resize((WIDEST, height))
        elif form == "JPEG" and picture.mode not in ("RGB", "L"):
            sent = picture.convert("RGB")
        out = io.BytesIO()
        sent.save(out, form, quality=QUALITY)
        return out.getvalue()
