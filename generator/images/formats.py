"""The formats of pictures that are taken, in one table that whatever takes or names them derives from."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from PIL import features


@dataclass(frozen=True)
class Format:
    """One format. pillow: Pillow's name for it; extensions: of its files, the usual one first; begins: their bytes."""

    name: str
    pillow: str
    extensions: tuple[str, ...]
    begins: tuple[bytes, ...] = ()


PNG = Format("PNG", "PNG", ("png",), (b"\x89PNG\r\n\x1a\n",))
JPEG = Format("JPEG", "JPEG", ("jpg", "jpeg", "jfif"), (b"\xff\xd8\xff",))
WEBP = Format("WebP", "WEBP", ("webp",))
GIF = Format("GIF", "GIF", ("gif",), (b"GIF87a", b"GIF89a"))
AVIF = Format("AVIF", "AVIF", ("avif",))
TIFF = Format("TIFF", "TIFF", ("tif", "tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
HEIC = Format("HEIC", "HEIF", ("heic", "heif", "hif"))
FORMATS = (
    PNG,
    JPEG,
    HEIC,
    WEBP,
    GIF,
    AVIF,
    TIFF,
    Format("BMP", "BMP", ("bmp",), (b"BM",)),
)
NAMES = f"{', '.join(one.name for one in FORMATS[:-1])} or {FORMATS[-1].name}"
# The usual ones first: a page has room for some of them.
EXTENSIONS = (*(one.extensions[0] for one in FORMATS), *(more for one in FORMATS for more in one.extensions[1:]))
# Brands of ISO/IEC 23008-12 files: AV1 and HEVC pictures come in the same container.
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
MAX_BRANDS = 32


def recognised(data: bytes) -> Format | None:
    """The format a file's first bytes say; None for what is no picture that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 16 + 4 * MAX_BRANDS, len(data))
        brands = {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}
        if brands & {*_AVIF_BRANDS}:
            return AVIF
        return HEIC if data[8:12] in _HEIC_BRANDS else None
    return next((one for one in FORMATS if data.startswith(one.begins)), None) if data else None


def missing_for(found: Format) -> str | None:
    """What is not installed on this machine that reads the format, as a sentence; None where all is there."""
    if found is HEIC and find_spec("pi_heif") is None:
        return (
            "pi-heif, which reads HEIC, is not installed here. Install it with: pip install pi-heif; or save as JPEG."
        )
    if found is AVIF and not features.check("avif"):
        return "The Pillow installed here reads no AVIF. Install a newer one: pip install -U pillow; or save as JPEG."
    return None
