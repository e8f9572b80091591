"""Specks beside a figure on plain paper, which generators leave and artists do not draw: counted, and taken away.

What differs from the paper falls into islands (connected components, 8 neighbours). One is debris where it is small and
rather faint beside the greatest, and lies apart from everything that is not; unless there are several of its like, as
there are of raindrops, stars and confetti. What the artists of the training pictures drew loses next to nothing by it.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

SEEN = 0.06  # difference to the paper, of the channel that differs most, from which it is seen
SHARE = 0.01  # debris has less than this of what the greatest island differs from the paper by, summed
FAINT = 0.7  # and nowhere differs by more than this
APART = 3.0  # px to the nearest island that is none
ALIKE, MANY = 0.15, 4  # islands of the same colour, this near, and half to double the size: so many belong there
FRINGE = 2  # px around it that go with it

_NEIGHBOURS = np.ones((3, 3), bool)


def paper_of(image: torch.Tensor) -> torch.Tensor:
    """The colour (3,) of the edge of image (3, H, W), the median of each channel."""
    return torch.cat([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], dim=1).median(dim=1).values


def debris(image: torch.Tensor) -> tuple[np.ndarray, int]:
    """Which pixels of image (3, H, W) in [0, 1] are debris, (H, W) bool, and in how many islands."""
    paper = paper_of(image)
    away = (image - paper.view(3, 1, 1)).abs().amax(dim=0).cpu().numpy()
    labels, count = ndimage.label(away > SEEN, _NEIGHBOURS)
    if count < 2:
        return np.zeros(away.shape, bool), 0
    every = np.arange(1, count + 1)
    mass, peak = ndimage.sum_labels(away, labels, every), ndimage.maximum(away, labels, every)
    small = (mass < SHARE * mass.max()) & (peak < FAINT)
    gap = ndimage.distance_transform_edt(~np.isin(labels, every[~small]))
    lost = small & (ndimage.minimum(gap, labels, every) >= APART)
    if lost.any():
        size = np.bincount(labels.ravel())[1:]
        colour = np.stack([ndimage.mean(channel, labels, every) for channel in image.cpu().numpy()], axis=1)
        near = np.abs(colour[:, None] - colour[None]).max(axis=2) < ALIKE
        alike = near & (np.maximum(size[:, None], size[None]) <= 2 * np.minimum(size[:, None], size[None]))
        lost &= alike.sum(axis=1) < MANY
    return np.isin(labels, every[lost]), int(lost.sum())


def without_debris(image: torch.Tensor) -> torch.Tensor:
    """image (3, H, W) in [0, 1] with paper where debris was."""
    found, count = debris(image)
    if not count:
        return image
    # The fringe stays clear of the figure, since debris does by more.
    gone = torch.from_numpy(ndimage.binary_dilation(found, _NEIGHBOURS, iterations=FRINGE)).to(image.device)
    return torch.where(gone, paper_of(image).view(3, 1, 1), image)
