"""Plain areas of one colour with edges between them: L0 gradient minimisation (Xu et al. 2011, ACM TOG 30(6)).

Of all pictures near the given one, that in which the fewest places differ from their neighbours. What is left of the
generators' mottle goes, edges stay where they are: as flat vector art is drawn.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# What a place that differs from its neighbours costs, beside the squared difference to the picture given, by style.
FLATNESS: dict[str | None, float] = {
    "noto": 0.003,
    "twemoji": 0.008,
    "fluent": 0.008,
    "3d": 0.0,
    "silhouette": 0.008,
    "blob": 0.008,
    "fx": 0.004,
}
ANY = 0.003  # where no style was asked for
GROWTH, MAX_WEIGHT = 2.0, 1e5  # of the weight that ties the picture's differences to those that are kept
BORDER = 8  # px that are added all round, since the transform joins opposite edges


def flattened(image: torch.Tensor, flatness: float) -> torch.Tensor:
    """image (3, H, W) in [0, 1], fp32 -> the same shape and range; with flatness 0 the picture itself."""
    if not flatness:
        return image
    padded = F.pad(image[None], (BORDER,) * 4, mode="replicate")[0]
    size = padded.shape[1:]
    across, down = torch.zeros(2, *size, device=image.device)
    across[0, 0] = down[0, 0] = -1.0
    across[0, -1] = down[-1, 0] = 1.0
    differences = torch.fft.rfft2(across).abs().square() + torch.fft.rfft2(down).abs().square()
    given, made, tie = torch.fft.rfft2(padded), padded, 2 * flatness
    while tie < MAX_WEIGHT:
        right, below = made.roll(-1, 2) - made, made.roll(-1, 1) - made
        kept = (right.square() + below.square()).sum(dim=0) >= flatness / tie
        right, below = right * kept, below * kept
        back = right.roll(1, 2) - right + below.roll(1, 1) - below
        made = torch.fft.irfft2((given + tie * torch.fft.rfft2(back)) / (1 + tie * differences), s=size)
        tie *= GROWTH
    return made[:, BORDER:-BORDER, BORDER:-BORDER].clamp(0, 1)
