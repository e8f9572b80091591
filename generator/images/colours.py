"""Pixels of any mode and colour space into sRGB, as the file itself says what they mean.

A profile is applied by LittleCMS; one that is broken, or made for another kind of picture, is left aside, and the
numbers are taken as sRGB. Code points are applied here: matrices from the primaries of H.273, its transfer functions.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from generator.images.bands import bands
from generator.images.coded_colours import CodedColours
from generator.images.depth import Scale, is_deep, scale_of, transparent_at

Floats = NDArray[np.float32]
BAND = 256  # rows that are converted at once, so that memory stays bounded
ENCODED = 1 << 14  # steps of linear light that are told apart
USUAL_GAMMA, NEAR = 1 / 2.2, 0.05  # PNG's gAMA that means sRGB
WHITE_NITS = 203.0  # ITU-R BT.2408: what is white in a picture of high dynamic range; brighter places are clipped
PROFILED = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # Pillow's mode: the colour space of a profile that fits it
ORIENTATION = 0x0112  # Exif 2.32, 4.6.4; what has to be done about each of its values
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_D65 = (0.3127, 0.3290)
# H.273, table 2: red, green, blue and white as (x, y). What is not here is read as sRGB, which it is close to.
PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}


def in_srgb(
    image: Image.Image, coded: CodedColours | None = None, *, smaller: int = 1, white: bool = False
) -> Image.Image:
    """A loaded picture upright, as RGB or RGBA with 8 bits a channel in sRGB. Raises depth.UnclearDepth.

    smaller: so many times, each px the mean of those it stands for. white: RGB, what is transparent lying on white. One
    band of rows is converted at a time: what comes out is all that takes memory beside the picture itself.
    """
    profile = image.info.get("icc_profile")
    if coded is not None and coded.above_profile:
        profile = None
    scale = scale_of(image, image) if is_deep(image) else None
    made: Image.Image | None = None
    for top, rows in bands(image, smaller):
        band = _converted_rows(rows, profile, coded, scale)
        band = on_white(band) if white else band
        band = band.reduce(smaller) if smaller > 1 else band
        if made is None:
            made = Image.new(band.mode, (band.width, -(-image.height // smaller)))
        made.paste(band, (0, top // smaller))
    assert made is not None
    return _upright(made, image)


def on_white(image: Image.Image) -> Image.Image:
    """RGB or RGBA -> RGB, what is transparent lying on white."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _converted_rows(
    image: Image.Image, profile: object, coded: CodedColours | None, scale: Scale | None
) -> Image.Image:
    """Rows as they are stored -> RGB or RGBA in sRGB. scale: of a deep picture."""
    if scale is not None:
        plain, alpha = _grey(scale.levels(image), None if profile else coded), transparent_at(image)
    else:
        plain, alpha = _parts(image)
    made = None
    if plain.mode == "LAB":
        made = _converted(plain, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    elif isinstance(profile, bytes):
        made = _by_profile(plain, profile)
    if made is None:
        made = plain.convert("RGB")
        if coded is not None and scale is None:
            made = _by_code(made, coded)
    if alpha is not None:
        made.putalpha(alpha)
    return made


def _upright(image: Image.Image, opened: Image.Image) -> Image.Image:
    """As the camera was held, by what `opened` says of it."""
    try:
        turn = TURNS.get(opened.getexif().get(ORIENTATION, 1))
    except Exception:  # what a camera wrote may be broken where the picture is sound
        return image
    return image if turn is None else image.transpose(turn)


def _parts(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours as L, RGB, CMYK or LAB, and alpha as L where there is any."""
    if image.mode in ("La", "RGBa"):
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA")
        image = image.convert("LA" if grey else "RGBA")
        return image.convert("L" if grey else "RGB"), image.getchannel("A")
    if image.mode in ("L", "RGB", "CMYK", "LAB"):
        return image, None
    return image.convert("L" if image.mode == "1" else "RGB"), None


def _grey(light: Floats, coded: CodedColours | None) -> Image.Image:
    """(H, W) in [0, 1] -> L."""
    eight = np.empty(light.shape, np.uint8)
    for top in range(0, len(light), BAND):
        band = light[top : top + BAND]
        if coded is not None and (linear := _linear(coded)) is not None:
            band = _encoded(linear(band))
        eight[top : top + BAND] = np.rint(band * 255)
    return Image.fromarray(eight)


def _by_profile(image: Image.Image, data: bytes) -> Image.Image | None:
    """By an embedded profile; None where it is sRGB already, broken, or of another kind of picture."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space
        if space == "RGB " and image.mode == "L":
            image = image.convert("RGB")
        if PROFILED.get(image.mode) != space or (
            space == "RGB " and "sRGB" in (profile.profile.profile_description or "")
        ):
            return None
        return _converted(image, profile)
    except Exception:  # hostile bytes: whatever LittleCMS stumbles over
        return None


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    made = ImageCms.profileToProfile(
        image,
        profile,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert made is not None
    return made


def _by_code(image: Image.Image, coded: CodedColours) -> Image.Image:
    """RGB as code points mean it -> RGB in sRGB."""
    linear, matrix = _linear(coded), _to_srgb(coded.primaries)
    if linear is None and matrix is None:
        return image
    light = (linear or _srgb_to_linear)(np.linspace(0, 1, 256, dtype=np.float32))
    pixels = np.array(image)
    for top in range(0, len(pixels), BAND):
        band = light[pixels[top : top + BAND]]
        if matrix is not None:
            band = band @ matrix.T
        pixels[top : top + BAND] = np.rint(_encoded(band) * 255)
    return Image.fromarray(pixels)


def _linear(coded: CodedColours) -> Callable[[Floats], Floats] | None:
    """From numbers in [0, 1] to light, white 1; None where they are encoded as sRGB is, or so that screens agree."""
    if coded.gamma is not None:
        gamma = coded.gamma
        return None if abs(gamma - USUAL_GAMMA) < NEAR else lambda v: v ** np.float32(1 / gamma)
    return {4: lambda v: v**2.2, 5: lambda v: v**2.8, 8: lambda v: v, 16: _pq, 18: _hlg}.get(coded.transfer)


def _pq(v: Floats) -> Floats:
    """SMPTE ST 2084, equation 4.1, of 10,000 cd/m2."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = v ** np.float32(1 / m2)
    light: Floats = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** np.float32(1 / m1) * (10_000 / WHITE_NITS)
    return light


def _hlg(v: Floats) -> Floats:
    """ITU-R BT.2100, table 5, the inverse OETF; white is at 0.75 (BT.2408)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073

    def scene(signal: Floats) -> Floats:
        light: Floats = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
        return light

    white: Floats = scene(np.full(1, 0.75, np.float32))
    light: Floats = scene(v) / white
    return light


def _srgb_to_linear(v: Floats) -> Floats:
    """IEC 61966-2-1."""
    light: Floats = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** np.float32(2.4))
    return light


def _encoded(light: Floats) -> Floats:
    """Light, clipped to [0, 1], as sRGB's numbers in [0, 1]."""
    steps = (light.clip(0, 1) * ENCODED + 0.5).astype(np.uint16)
    return _encoding()[steps]


@cache
def _encoding() -> Floats:
    light = np.arange(ENCODED + 1) / ENCODED
    numbers = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return numbers.astype(np.float32)


@cache
def _to_srgb(primaries: int) -> Floats | None:
    """The matrix from linear RGB of these primaries to sRGB's; None where they are sRGB's or as good as."""
    if primaries == 1 or primaries not in PRIMARIES:
        return None
    matrix = np.linalg.inv(_to_xyz(1)) @ _to_xyz(primaries)
    found: Floats = (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)  # white stays white
    return found


def _to_xyz(primaries: int) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ, from the chromaticities (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in PRIMARIES[primaries]]).T
    found: NDArray[np.float64] = columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
    return found
