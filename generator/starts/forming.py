"""How a draft of the embedded layout came to be, for the films of pictures that begin with one.

A draft is a sum: the mean of all pictures, and of each principal component as much as the text suggests. Its frames add
the components up, those first in which pictures differ most: a blur that becomes the draft.
"""

from __future__ import annotations

import torch
from torch import Tensor

from generator.models.contracts import Quantised
from generator.models.layout import Layout
from generator.precision import Precision, repeatable
from generator.starts.pictures import contain


def partial_sums(z: Tensor, layout: Layout) -> Tensor:
    """z (1, C, g, g) of a draft -> (F, C, g, g): of its components none, the first two, four, eight ... but never all.

    What the prior or the restyler has changed in a draft is in its components too, as far as these can say it.
    """
    flat = z.float().permute(0, 2, 3, 1).flatten(1) - layout.mean
    shares = flat @ layout.components / layout.deviation
    count = shares.shape[1]
    added = [0, *(2**n for n in range(1, count.bit_length()) if 2**n < count)]
    kept = torch.arange(count, device=z.device) < torch.tensor(added, device=z.device)[:, None]
    return layout.mixed(shares * kept)


@torch.no_grad()
def forming(z: Tensor, layout: Layout, vqgan: Quantised, precision: Precision, size: tuple[int, int]) -> Tensor:
    """z (1, C, g, g) of a draft -> how it formed, pictures (F, 3, height, width) in [0, 1] on the CPU; size in px."""
    with repeatable(), precision.autocast():
        images = vqgan.decode(partial_sums(z, layout).to(z.dtype)).float()
    return contain(images, *size).clamp(0, 1).cpu()
