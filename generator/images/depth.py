"""Grey pictures of more than 8 bits into 8: white is what the file says it is, never what its brightest place is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from characters.brief import Brief
from generator.images.bands import bands

# TIFF 6.0 tags, by number.
BITS, PHOTOMETRIC, SAMPLE_FORMAT, MIN_VALUE, MAX_VALUE = 258, 262, 339, 340, 341
SIGNED, WHITE_IS_ZERO = 2, 0
BRIGHTEST_FLOAT = 2.0  # highlights beyond white, 1, are clipped; numbers beyond this were not meant to have it there


class UnclearDepth(Brief, ValueError):
    """Numbers of which nothing says which is white; one sentence with what to do."""


def is_deep(image: Image.Image) -> bool:
    """Whether its mode is one of more than 8 bits, all of which are grey in Pillow."""
    return image.mode.startswith("I") or image.mode == "F"


@dataclass(frozen=True)
class Scale:
    """What a deep picture's numbers mean: black, white, whether black is white, whether 32 bits have no sign."""

    low: float = 0.0
    white: float = 1.0
    inverted: bool = False
    unsigned: bool = False

    def levels(self, image: Image.Image) -> NDArray[np.float32]:
        """A deep grey picture, or rows of it, as (H, W) float32 in [0, 1], as stored: no profile is applied."""
        scaled: NDArray[np.float32] = self.values(image).astype(np.float32)
        scaled -= np.float32(self.low)
        scaled /= np.float32(self.white - self.low)
        if self.inverted:
            np.subtract(1, scaled, out=scaled)
        return scaled.clip(0, 1, out=scaled)

    def values(self, image: Image.Image) -> NDArray[Any]:
        """The numbers as they are stored, (H, W)."""
        values = np.asarray(image)
        return values.view(np.uint32) if self.unsigned else values


def scale_of(image: Image.Image, opened: Image.Image) -> Scale:
    """What the numbers of a loaded deep picture mean.

    opened: the same as it was opened, which knows its file. 16 bits: 0 to 65535, or what the TIFF's depth and sign
    say. Floats: 0 to 1, unless the TIFF says otherwise. Raises UnclearDepth.
    """
    tags: Any = getattr(opened, "tag_v2", {})
    low, white, unsigned = 0.0, 1.0, False
    if image.mode != "F":
        signed = tags.get(SAMPLE_FORMAT, (1,))[0] == SIGNED
        bits = int(tags.get(BITS, (16,))[0]) if tags else 16
        if image.mode == "I" and not tags and opened.format is None:
            raise UnclearDepth("A picture of Pillow's mode I does not say what is white; convert it to I;16 or L.")
        unsigned = image.mode == "I" and bits == 32 and not signed
        white = float(2 ** (bits - signed) - 1)
    declared = MIN_VALUE in tags and MAX_VALUE in tags and (image.mode == "F" or white > 65535)
    if declared:
        low, white = float(tags[MIN_VALUE][0]), float(tags[MAX_VALUE][0])
        if not np.isfinite([low, white]).all() or white <= low:
            raise UnclearDepth(f"The picture says that its numbers go from {low:g} to {white:g}.")
    scale = Scale(low, white, tags.get(PHOTOMETRIC) == WHITE_IS_ZERO, unsigned)
    brightest = _brightest(image, scale)
    if not declared and image.mode == "F" and brightest > BRIGHTEST_FLOAT:
        raise UnclearDepth(
            f"The picture's numbers go up to {brightest:g}, where 1 is white. Save it with 8 or 16 bits a channel."
        )
    if not declared and white > 65535 and 0 < brightest / white < 0.5 / 255:
        raise UnclearDepth(
            f"The picture's numbers go up to {brightest:g}, where {white:.0f} is white: it would be black. Save it "
            "with 8 or 16 bits a channel."
        )
    return scale


def _brightest(image: Image.Image, scale: Scale) -> float:
    """The greatest number of the whole picture."""
    found = -np.inf
    for _, rows in bands(image):
        values = scale.values(rows)
        if image.mode == "F" and not np.isfinite(values).all():
            raise UnclearDepth("The picture has numbers in it that are none (NaN or infinite).")
        found = max(found, float(values.max()))
    return found


def transparent_at(image: Image.Image) -> Image.Image | None:
    """Where a deep grey picture is transparent by its tRNS chunk, as alpha (L); None where nothing is."""
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return None
    return Image.fromarray(np.where(np.asarray(image) == key, 0, 255).astype(np.uint8))
