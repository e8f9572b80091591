"""Uploads and files into pictures: what is permitted is known before anything is decoded. Imports no torch."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, UnidentifiedImageError

from characters.brief import Brief
from generator.images.boxes import TooManyParts
from generator.images.coded_colours import coded_colours
from generator.images.colours import in_srgb
from generator.images.cost import coded_pixels, decoding_bytes
from generator.images.depth import UnclearDepth
from generator.images.formats import FORMATS, HEIC, NAMES, PNG, TIFF, Format, missing_for, recognised
from generator.images.freed import give_back

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
MAX_MEMORY = 256 << 20  # bytes of one picture while it is decoded
MAX_WAIT_S = 20.0  # for one's turn to decode
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF 6.0
_lock, _turn = threading.Lock(), threading.Lock()


class BadImage(Brief, ValueError):
    """An upload that is not a picture this project takes; one sentence."""


class ReadersBusy(BadImage):
    """Others' pictures are being decoded, and this one's turn has not come; one sentence."""


def decode_image(
    data: bytes,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    *,
    max_side: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Image.Image:
    """An uploaded picture in one of `formats.FORMATS` as RGB in sRGB, upright, transparency on white.

    Of a film its first frame, of a TIFF its first page. Nothing is decoded before format, size and the memory it takes
    (bytes) are known to be permitted. max_side: px; what is larger comes as large as that, decoded smaller where its
    format can. One picture of this process is decoded at a time. Safe from any thread. Raises BadImage, ReadersBusy.
    """
    return _decoded(data, max_bytes, max_pixels, max_side, max_memory, white=True)


def decode_with_alpha(
    data: bytes,
    max_bytes: int = MAX_BYTES,
    max_pixels: int = MAX_PIXELS,
    *,
    max_side: int | None = None,
    max_memory: int = MAX_MEMORY,
) -> Image.Image:
    """The same, RGBA where the picture may be transparent somewhere."""
    return _decoded(data, max_bytes, max_pixels, max_side, max_memory, white=False)


def _decoded(
    data: bytes, max_bytes: int, max_pixels: int, max_side: int | None, max_memory: int, white: bool
) -> Image.Image:
    image, found = _opened(data, max_bytes, max_pixels)
    if max_side is not None and max(image.size) > max_side:
        scale = max_side / max(image.size)
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    _check_memory(image, data, found, max_memory)
    with _one_at_a_time():
        try:
            image.load()
            _check_pixels(image.size, max_pixels)  # HEIC knows it for certain only now
            _scale_key(image, data, found)
            smaller = 1 if max_side is None else max(max(image.size) // max_side, 1)
            made = in_srgb(image, coded_colours(image, data, found), smaller=smaller, white=white)
        except UnclearDepth as error:
            raise BadImage(str(error)) from None
        except BadImage:
            raise
        except Exception:
            raise BadImage("The picture is damaged or cut short.") from None
        del image
        if max_side is not None:
            made.thumbnail((max_side, max_side))
        give_back()
    return made


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Waits for its turn to decode. Raises ReadersBusy."""
    if not _turn.acquire(timeout=MAX_WAIT_S):
        raise ReadersBusy("Many pictures are being read at this moment; try again in some seconds.")
    try:
        yield
    finally:
        _turn.release()


def as_decoded(image: Image.Image) -> Image.Image:
    """A Pillow image as `decode_image` gives the file it came from: RGB in sRGB, upright. Raises BadImage."""
    _check_pixels(image.size, MAX_PIXELS)
    if found := next((one for one in FORMATS if one.pillow == image.format), None):  # its file may not be read yet
        _check_memory(image, b"", found, MAX_MEMORY)
    try:
        with _one_at_a_time():
            return in_srgb(image, white=True)
    except UnclearDepth as error:
        raise BadImage(str(error)) from None
    except (OSError, SyntaxError):  # it is read only now, and its file is broken or gone
        raise BadImage("The picture is damaged or cut short.") from None


def open_image(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture whose format and size are permitted, not decoded: for what is written in it. Raises BadImage."""
    return _opened(data, max_bytes, max_pixels)[0]


def _opened(data: bytes, max_bytes: int, max_pixels: int) -> tuple[Image.Image, Format]:
    """The picture, not decoded yet. Raises BadImage."""
    if len(data) > max_bytes:
        raise BadImage(f"The picture has {len(data) / 2**20:.1f} MB; at most {max_bytes / 2**20:.0f} MB are allowed.")
    found = recognised(data)
    if found is None:
        raise BadImage(f"This is not a picture in {NAMES} format.")
    if absent := missing_for(found):
        raise BadImage(f"This is a {found.name} picture, and {absent[0].lower()}{absent[1:]}")
    if found is HEIC:
        _let_pillow_read_heic()
    # Pillow, fed hostile bytes, raises whatever its parsers stumble over; all of it means the same to the visitor.
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=(found.pillow,))
    except UnidentifiedImageError:
        unusual = "damaged, or of a kind that is not read here; save it as PNG with 8 or 16 bits a channel"
        raise BadImage(f"This {found.name} picture cannot be opened: it is {unusual}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage(f"The picture is too large; at most {max_pixels / 1e6:.0f} million px are allowed.") from None
    except Exception:
        raise BadImage("The picture is damaged and cannot be opened.") from None
    _check_pixels(image.size, max_pixels)
    if found is TIFF:  # a picture of 1 px may be kept in a tile that unpacks to gigabytes
        tags = getattr(image, "tag_v2", {})
        sides = [int(tags.get(tag, 1)) for tag in (_TILE_WIDTH, _TILE_LENGTH)]
        if sides[0] * sides[1] > max_pixels:
            raise BadImage(f"The picture is kept in tiles of {sides[0]} x {sides[1]} px; too large to be opened.")
    try:
        coded = coded_pixels(data, found)
    except TooManyParts as error:
        raise BadImage(str(error)) from None
    if coded > max_pixels:
        raise BadImage(f"{coded / 1e6:.0f} million px are coded in the picture; {max_pixels / 1e6:.0f} are allowed.")
    return image, found


def _check_memory(image: Image.Image, data: bytes, found: Format, max_memory: int) -> None:
    try:
        needed = decoding_bytes(image, data, found)
    except TooManyParts as error:
        raise BadImage(str(error)) from None
    except (TypeError, ValueError, IndexError):
        raise BadImage("The picture is damaged and cannot be opened.") from None
    if needed > max_memory:
        raise BadImage(
            f"Reading this {found.name} picture of {image.width} x {image.height} px takes {needed / 1e6:.0f} MB of "
            f"memory; at most {max_memory / 1e6:.0f} MB are allowed. Make it smaller, or save it as JPEG."
        )


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise BadImage(f"The picture has {width} x {height} px; at most {max_pixels / 1e6:.0f} million px are allowed.")


def _scale_key(image: Image.Image, data: bytes, found: Format) -> None:
    """Pillow brings grey of 2 and 4 bits and colours of 16 to 8, but leaves what is transparent as it was."""
    key = image.info.get("transparency")
    if found is not PNG:
        return
    depth = data[24]
    if image.mode == "L" and isinstance(key, int) and depth in (2, 4):
        image.info["transparency"] = key * 255 // (2**depth - 1)
    elif image.mode == "RGB" and isinstance(key, tuple) and depth == 16:
        image.info["transparency"] = tuple(level >> 8 for level in key)


def _let_pillow_read_heic() -> None:
    from pi_heif import register_heif_opener

    with _lock:
        if HEIC.pillow not in Image.OPEN:
            register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
