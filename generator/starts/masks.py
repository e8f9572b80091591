"""What a drawing keeps of the picture it starts from: a mask says which part is drawn anew, the other stays as it is.

Codes and noisy pictures are held where nothing near them is drawn anew, at every step, at that step's level of noise
(blended diffusion, Avrahami et al. 2022, arXiv:2111.14818; RePaint, Lugmayr et al. 2022, arXiv:2201.09865, eq. 8); what
is shown, and what guides, is the picture with the kept part laid over it, mixed where the mask is grey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from generator.images.convert import cover, to_tensor
from generator.images.encode import to_image
from generator.params import Params

RELAXED = 8  # steps at each size, in which every place becomes the mean of those around it
FILLED = 0.7  # of the rectangle around it, that what is drawn anew has to fill for a draft to be put there


@dataclass(frozen=True)
class Kept:
    """A picture and where it is drawn anew.

    picture: (3, H, W) uint8; mask: (1, H, W) uint8, 255 where drawn anew, 0 where the picture stays.
    """

    picture: Tensor
    mask: Tensor

    @property
    def image(self) -> Tensor:
        """The whole picture, (3, H, W) float32 in [0, 1]."""
        return self.picture.float() / 255

    def over(self, images: Tensor) -> Tensor:
        """Pictures (..., 3, H, W) in [0, 1] with what is kept laid over them; exactly the picture where it stays."""
        share = self.mask.float() / 255
        return share * images + (1 - share) * self.image

    def free(self, height: int, width: int) -> Tensor:
        """Where, of so many places, anything at all is drawn anew: (1, 1, height, width), 1.0 or 0.0."""
        return F.adaptive_max_pool2d((self.mask > 0).float()[None], (height, width))

    def hold(self, x: Tensor, known: Tensor) -> Tensor:
        """x (B, C, h, w) where it is free, `known` where it is held."""
        return torch.where(self.free(*x.shape[2:]) > 0, x, known)

    @cached_property
    def filled(self) -> Tensor:
        """The picture, (3, H, W) float32 in [0, 1], as if there were nothing where it is drawn anew: the colours around
        go on there, from the coarse to the fine (a membrane, solved by multigrid). White where nothing stays.
        """
        known = (self.mask == 0).float()
        levels = [(self.image * known, known)]
        while max(levels[-1][1].shape[1:]) > 1:
            colour, share = (F.avg_pool2d(part, 2, ceil_mode=True) for part in levels[-1])
            levels.append((colour, share))
        made = torch.ones_like(levels[-1][0])
        for colour, share in reversed(levels):
            made = F.interpolate(made[None], share.shape[1:], mode="bilinear", align_corners=False)[0]
            for _ in range(RELAXED):
                around = F.avg_pool2d(F.pad(made[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
                made = torch.where(share > 0, colour / share.clamp(min=1e-6), around)
        return self.over(made)

    @cached_property
    def room(self) -> tuple[int, int, int, int]:
        """Top, left, height and width of where a draft is put: around all that is drawn anew, or where that goes around
        what is kept, the roomiest rectangle in it."""
        # Not into a soft edge, which shows little of it.
        free = (self.mask[0] >= min(128, int(self.mask.max()))).cpu()
        down, across = (free.any(dim).nonzero()[:, 0] for dim in (1, 0))
        top, left = int(down[0]), int(across[0])
        height, width = int(down[-1]) + 1 - top, int(across[-1]) + 1 - left
        around = float(free.sum()) / (height * width)
        return (top, left, height, width) if around >= FILLED else roomiest(free.tolist())

    def state_dict(self) -> dict[str, Tensor]:
        """For a saved slot."""
        return {"picture": self.picture.cpu().clone(), "mask": self.mask.cpu().clone()}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor] | None, device: torch.device) -> Kept | None:
        """What `state_dict` was taken of, on `device`; None of nothing."""
        return state and cls(*(state[name].to(device, copy=True) for name in ("picture", "mask")))  # type: ignore[return-value]


def roomiest(free: Sequence[Sequence[bool]]) -> tuple[int, int, int, int]:
    """Top, left, height and width of the rectangle of free places whose shorter side is the longest; of several the
    largest. Row by row, from how many free places stand above one another."""
    best, found = (0, 0), (0, 0, 1, 1)
    heights = [0] * (len(free[0]) + 1)  # and a column without any, at which all rectangles end
    for bottom, row in enumerate(free):
        heights = [above + 1 if one else 0 for above, one in zip(heights, row, strict=False)] + [0]
        begun: list[tuple[int, int]] = []  # (left, height), ever higher
        for right, high in enumerate(heights):
            left = right
            while begun and begun[-1][1] > high:
                left, height = begun.pop()
                width = right - left
                room = min(height, width), height * width
                if room > best:
                    best, found = room, (bottom + 1 - height, left, height, width)
            if high and (not begun or begun[-1][1] < high):
                begun.append((left, high))
    return found


def read_kept(
    params: Any, read_image: Callable[[str], Image.Image], device: torch.device | str = "cpu", scale: int = 1
) -> Kept | None:
    """What a drawing with these settings keeps, `scale` times as large as it is drawn; None without a mask.

    Raises ValueError for a mask in which nothing is white, and what `read_image` raises.
    """
    if not getattr(params, "mask_image", None):
        return None
    width, height = (side * scale for side in params.actual_size)
    picture = to_tensor(cover(read_image(params.init_image), width, height))
    # Without the sharpening of Lanczos, which leaves a trace of grey beside every edge.
    mask = to_tensor(cover(read_image(params.mask_image), width, height, Image.Resampling.BOX)).mean(0, keepdim=True)
    mask = (mask * 255).round().byte()
    if not mask.any():
        raise ValueError("The mask is black everywhere, so nothing is to be drawn anew; paint that part white.")
    return Kept((picture * 255).round().byte().to(device), mask.to(device))


def keep_in_upscaled(upscaled: Image.Image, params: Params, read_image: Callable[[str], Image.Image]) -> Image.Image:
    """An upscaled drawing with what a mask keeps taken from the given picture itself, where that is large enough."""
    if not getattr(params, "mask_image", None):
        return upscaled
    given, drawn = read_image(str(getattr(params, "init_image", None))), params.actual_size
    if min(given.width / drawn[0], given.height / drawn[1]) < params.upscale / 2:
        return upscaled
    kept = read_kept(params, read_image, scale=params.upscale)
    return upscaled if kept is None else to_image(kept.over(to_tensor(upscaled)))
