"""Decoded pictures and tensors: (3, H, W) float32 in [0, 1]. Nothing here opens a file."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


def to_tensor(image: Image.Image) -> Tensor:
    """A decoded picture as (3, H, W) float32 in [0, 1]; transparency is put on white."""
    if image.mode in ("RGBA", "LA", "P", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def no_picture(reference: str) -> Image.Image:
    """What an engine reads pictures with where none was given to it."""
    raise FileNotFoundError(f"This engine was made without a way to read pictures; {reference!r} was asked for.")


def cover(
    image: Image.Image, width: int, height: int, resample: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    """Resized and centre-cropped to width x height px, nothing stretched."""
    if image.mode not in ("RGB", "RGBA", "L", "LA"):
        image = image.convert("RGBA")
    return ImageOps.fit(image, (width, height), resample)
