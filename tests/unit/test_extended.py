"""A picture made larger on a side: it stays as it is, and the mask is white where something is to be drawn."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pages.components.extended import SEAM, SIDES, extended

WIDE = Image.effect_noise((120, 80), 90).convert("RGB")


def data() -> bytes:
    out = io.BytesIO()
    WIDE.save(out, "PNG")
    return out.getvalue()


def pixels(file: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image).astype(int)


@pytest.mark.parametrize(
    ("sides", "size", "corner"),
    [
        (["right"], (180, 80), (0, 0)),
        (["left"], (180, 80), (60, 0)),
        (["top"], (120, 120), (0, 40)),
        (["left", "bottom"], (180, 120), (60, 0)),
        (SIDES, (240, 160), (60, 40)),
    ],
)
def test_the_picture_stays_where_the_mask_is_black(
    sides: list[str], size: tuple[int, int], corner: tuple[int, int]
) -> None:
    made = extended(data(), sides, 0.5)
    picture, mask, (x, y) = pixels(made.picture), pixels(made.mask), corner
    assert made.size == size and picture.shape == (size[1], size[0], 3) and mask.shape == (size[1], size[0])
    there = np.zeros(mask.shape, bool)
    there[y : y + 80, x : x + 120] = True
    assert (mask[~there] == 255).all(), "all that is new is drawn"
    kept = mask == 0
    whole = np.zeros_like(picture)
    whole[y : y + 80, x : x + 120] = np.asarray(WIDE)
    assert (picture[kept] == whole[kept]).all()
    assert kept.sum() >= (120 - 2 * SEAM * 80 - 1) * (80 - 2 * SEAM * 80 - 1), "but for a seam"


def test_where_only_squares_are_drawn_it_becomes_one() -> None:
    made = extended(data(), ["right"], 0.5, square=True)
    assert made.size == (180, 180)
    mask = pixels(made.mask)
    assert (mask[:50] == 255).all() and (mask[130:] == 255).all() and mask[90, 10] == 0
