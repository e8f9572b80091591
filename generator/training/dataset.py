"""The rendered pictures with their concepts and styles, and training batches composited from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from characters.brief import Brief


class DataMissing(Brief, FileNotFoundError):
    """The training data has not been made yet."""


@dataclass
class Pictures:
    """Every picture with its concept and style; `rgba` is (N, R, R, 4) uint8, straight alpha."""

    rgba: np.ndarray
    concept: np.ndarray  # (N,) row of `concepts`
    style: np.ndarray  # (N,) index in `styles`
    concepts: list[dict[str, Any]]
    styles: list[str]
    train: np.ndarray  # (N,) bool
    unseen_concept: np.ndarray  # (N,) bool: no picture of this concept is trained on
    unseen_style: np.ndarray  # (N,) bool: the concept is trained on in other styles only


def load(folder: Path, *, mapped: bool = False) -> Pictures:
    """Read what `python -m generator.training.data` wrote. mapped: pictures are read where they are looked at, for
    processes that share the memory. Raises DataMissing."""
    if not (folder / "index.json").is_file():
        raise DataMissing(f"no index.json in {folder}: run `python -m generator.training.data --output {folder}`")
    index = json.loads((folder / "index.json").read_text())
    concept, style, split = (np.array(column) for column in zip(*index["pictures"], strict=True))
    rgba = np.load(folder / "pictures.npy", mmap_mode="c" if mapped else None)
    return Pictures(rgba, concept, style, index["concepts"], index["styles"], split == 0, split == 1, split == 2)


def composite(
    rgba: torch.Tensor,
    background: torch.Tensor,
    generator: torch.Generator | None = None,
    scale: tuple[float, float] = (1.0, 1.0),
    shift: float = 0.0,
    flip: bool = False,
    rotate: float = 0.0,
) -> torch.Tensor:
    """Lay pictures (B, R, R, 4) uint8 on plain colours (B, 3) in [0, 1] -> (B, 3, R, R) float in [0, 1].

    `scale` and `shift` (fraction of the picture) and `rotate` (radians) bound a random placement.
    """
    picture = rgba.permute(0, 3, 1, 2).float() / 255
    alpha = picture[:, 3:]
    picture = torch.cat([picture[:, :3] * alpha, alpha], dim=1)
    if generator is not None:
        count, device = len(rgba), generator.device
        uniform = torch.rand(5, count, generator=generator, device=device)
        size = scale[0] + (scale[1] - scale[0]) * uniform[0]
        angle = (uniform[1] * 2 - 1) * rotate
        mirror = torch.where(uniform[2] < 0.5, -1.0, 1.0) if flip else torch.ones(count, device=device)
        matrix = torch.zeros(count, 2, 3, device=device)
        matrix[:, 0, 0], matrix[:, 0, 1] = angle.cos() / size * mirror, -angle.sin() / size
        matrix[:, 1, 0], matrix[:, 1, 1] = angle.sin() / size * mirror, angle.cos() / size
        matrix[:, :, 2] = (uniform[3:5].T * 2 - 1) * 2 * shift
        grid = F.affine_grid(matrix, list(picture.shape), align_corners=False)
        picture = F.grid_sample(picture, grid, padding_mode="zeros", align_corners=False)
    return (picture[:, :3] + (1 - picture[:, 3:]) * background[:, :, None, None]).clamp(0, 1)


def backgrounds(count: int, generator: torch.Generator, white: float = 0.7) -> torch.Tensor:
    """Plain colours (count, 3) on the generator's device: white with probability `white`, else any light colour."""
    device = generator.device
    shade, strength, kept = (torch.rand(count, n, generator=generator, device=device) for n in (3, 1, 1))
    return torch.where(kept < white, torch.ones(count, 3, device=device), 1 - 0.45 * shade * strength)
