"""Uploads and files into pictures: what is permitted is known before anything is decoded. Imports no torch."""

from __future__ import annotations

import io
import threading

from PIL import Image, UnidentifiedImageError

from characters.brief import Brief
from generator.images.av1 import coded_pixels
from generator.images.coded_colours import coded_colours
from generator.images.colours import in_srgb, on_white
from generator.images.depth import UnclearDepth
from generator.images.formats import AVIF, HEIC, NAMES, PNG, TIFF, Format, missing_for, recognised

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 40_000_000
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF 6.0
_lock = threading.Lock()


class BadImage(Brief, ValueError):
    """An upload that is not a picture this project takes; one sentence."""


def decode_image(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """An uploaded picture in one of `formats.FORMATS` as RGB in sRGB, upright, transparency on white.

    Of a film its first frame, of a TIFF its first page. Nothing is decoded before format and size are known to be
    permitted. Safe from any thread. Raises BadImage.
    """
    return on_white(decode_with_alpha(data, max_bytes, max_pixels))


def decode_with_alpha(data: bytes, max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The same, RGBA where the picture may be transparent somewhere."""
    image, found = _opened(data, max_bytes, max_pixels)
    try:
        image.load()
        _check_pixels(image.size, max_pixels)  # HEIC knows it for certain only now
        _scale_key(image, data, found)
        return in_srgb(image, coded_colours(image, data, found))
    except UnclearDepth as error:
        raise BadImage(str(error)) from None
    except BadImage:
        raise
    except Exception:
        raise BadImage("The picture is damaged or cut short.") from None


def as_decoded(image: Image.Image) -> Image.Image:
    """A Pillow image as `decode_image` gives the file it came from: RGB in sRGB, upright. Raises BadImage."""
    try:
        return on_white(in_srgb(image))
    except UnclearDepth as error:
        raise BadImage(str(error)) from None
    except OSError:  # it is read only now, and its file is broken or gone
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
    if found is AVIF and (coded := coded_pixels(data)) > max_pixels:
        raise BadImage(f"{coded / 1e6:.0f} million px are coded in the picture; {max_pixels / 1e6:.0f} are allowed.")
    return image, found


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
