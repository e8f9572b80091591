"""A draft redrawn in another style: image to image on the z of the embedded VQGAN (after pix2pix, arXiv:1611.07004).

The layout draws a thing well only in the styles it was shown it in. What one style's drawing becomes in another is
learnt from every thing that was drawn in both, and holds for things that were not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.models.film_unet import GROUPS, FiLMUNet
from generator.models.packing import unpack

WEIGHTS = Path(__file__).parent.parent / "weights"


class Restyler(FiLMUNet):
    """z of a picture, its style and the style asked for -> z of the picture in that style.

    `config`: z_channels, styles (list of names), width at full size, deep (width at half size), blocks per part, told
    (numbers that say from which style to which).
    """

    def __init__(self, config: dict[str, Any]) -> None:
        channels, width, deep, blocks, cond_width = (
            config[key] for key in ("z_channels", "width", "deep", "blocks", "told")
        )
        super().__init__(width, deep, blocks, cond_width)
        self.config = config
        self.styles = len(config["styles"])
        self.before, self.after = nn.Embedding(self.styles, cond_width), nn.Embedding(self.styles, cond_width)
        self.both = nn.Embedding(self.styles**2, cond_width)
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1)
        self.conv_out = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.both.weight)
        nn.init.zeros_(self.conv_out.weight)  # begin as the picture itself

    def forward(self, z: torch.Tensor, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """z (B, z_channels, h, w) with h and w even; before, after: style numbers (B,) -> z fp32 of the same shape."""
        cond = F.silu(self.before(before) + self.after(after) + self.both(before * self.styles + after))
        x = self.body(self.conv_in(z), cond)
        changed: torch.Tensor = self.conv_out(F.silu(F.group_norm(x, GROUPS)))
        return z + changed.float()


def load_restyler(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Restyler:
    """The embedded restyler, fp32, in eval mode, without gradients for its weights."""
    restyler = Restyler(json.loads((folder / "mini-restyle.json").read_text()))
    restyler.load_state_dict(unpack(load_file(folder / "mini-restyle.safetensors")), strict=True)
    return restyler.to(device).eval().requires_grad_(False)
