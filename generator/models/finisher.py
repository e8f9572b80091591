"""The network that redraws a drawn picture by the hand of one style.

A small U-Net over pixels (Ronneberger et al. 2015, arXiv:1505.04597), conditioned on the style, that has learnt
what pictures spoilt by codes and CLIP were before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.models.film_unet import FiLMUNet
from generator.models.packing import unpack

WEIGHTS = Path(__file__).parent.parent / "weights"
FINE = 16  # channels at full size
COLOURLESS = ("silhouette",)  # styles without colours
COLOUR = 0.04  # mean span of the channels from which a picture has colours


class Finisher(FiLMUNet):
    """Pictures and the style they are to be finished in -> pictures.

    `config`: styles (list of names), width at half size, deep (width at a quarter), blocks per part, told (numbers that
    say which style).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        width, deep, blocks, cond_width = (config[key] for key in ("width", "deep", "blocks", "told"))
        super().__init__(width, deep, blocks, cond_width)
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.after = nn.Embedding(len(self.styles) + 1, cond_width)
        self.conv_in = nn.Conv2d(12, width, 3, padding=1)
        self.widen = nn.Conv2d(width, 4 * FINE, 3, padding=1)
        self.fine, self.conv_out = nn.Conv2d(FINE + 3, FINE, 3, padding=1), nn.Conv2d(FINE, 3, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)  # begin as the picture itself
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]

    def style_index(self, style: str | None) -> int:
        """A style's number; None, as any style that it does not know, is the last."""
        return self.styles.index(style) if style in self.styles else len(self.styles)

    def style_of(self, image: torch.Tensor, asked: str | None) -> str | None:
        """The style to finish image (3, H, W) in: what was asked for; None, any, where a style without colours was and
        there are some after all."""
        coloured = float((image.amax(dim=0) - image.amin(dim=0)).mean()) > COLOUR
        return None if coloured and asked in COLOURLESS else asked

    def forward(self, images: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] with H and W divisible by 4, style numbers (B,) -> the same shape, fp32; a
        little beyond [0, 1] here and there."""
        cond = F.silu(self.after(after))
        x = self.body(self.conv_in(F.pixel_unshuffle(images * 2 - 1, 2)), cond)
        fine = F.pixel_shuffle(self.widen(F.silu(x)), 2)
        fine = self.fine(F.silu(torch.cat([fine, images.to(fine.dtype) * 2 - 1], dim=1)))
        changed: torch.Tensor = self.conv_out(F.silu(fine))
        return images + changed.float()


def load_finisher(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Finisher:
    """The embedded finisher, fp32, in eval mode, without gradients for its weights."""
    finisher = Finisher(json.loads((folder / "mini-finish.json").read_text()))
    finisher.load_state_dict(unpack(load_file(folder / "mini-finish.safetensors")), strict=True)
    return finisher.to(device).eval().requires_grad_(False)
