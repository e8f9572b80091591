"""Text to the z it suggests, in one pass: the composition that the prior and latent diffusion start from.

What is to be seen passes through a few numbers, `content`, that know nothing of the style; the style joins after them,
so that what was shown in two styles may be drawn in a third. The picture is a mixture of principal components of the
training pictures' z. A masked-token transformer or a UNet needs hours of a processor core to hear a text; this MLP
hears it in minutes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.models.contracts import UnknownStyle
from generator.models.packing import unpack

WEIGHTS = Path(__file__).parent.parent / "weights"


class Residual(nn.Module):
    """x plus a hidden layer's view of it; the hidden layer may be scaled and shifted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor, gain: torch.Tensor | None = None) -> torch.Tensor:
        """x (B, width), gain (B, 4 * width): the hidden layer's scale less 1, and shift."""
        hidden = self.up(F.layer_norm(x, x.shape[1:]))
        if gain is not None:
            scale, shift = gain.chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        made: torch.Tensor = x + self.down(F.silu(hidden))
        return made


class Layout(nn.Module):
    """What picture a text alone suggests in one style: an MLP over whole pictures, no attention."""

    def __init__(self, config: dict[str, Any]) -> None:
        """`config`: z_channels, grid (z per side), text_width, styles (list of names), width, content (numbers that
        say what is to be seen), components (of all pictures)."""
        super().__init__()
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.z_channels, self.grid, self.width = (int(config[key]) for key in ("z_channels", "grid", "width"))
        width, content, components = self.width, config["content"], config["components"]
        self.text_in, self.read = nn.Linear(config["text_width"], width), Residual(width)
        self.content_out, self.content_in = nn.Linear(width, content), nn.Linear(content, width)
        self.style = nn.Embedding(len(self.styles) + 1, 5 * width)
        self.draw, self.mix = Residual(width), nn.Linear(width, components)
        nn.init.normal_(self.style.weight, std=0.1)
        size = self.z_channels * self.grid**2
        self.mean: torch.Tensor
        self.components: torch.Tensor
        self.deviation: torch.Tensor
        self.sharpness: torch.Tensor
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("components", torch.zeros(size, components))  # columns of unit length
        self.register_buffer("deviation", torch.ones(components))  # of each component among the training pictures
        self.register_buffer("sharpness", torch.ones(()))  # of the scores: one over the variance of what it misses

    def style_index(self, style: str | None) -> int:
        """A style's number; None is any style. Raises UnknownStyle."""
        if style is None or style == "any":
            return len(self.styles)
        if style not in self.styles:
            raise UnknownStyle(f"no style {style!r}; permitted: any, {', '.join(self.styles)}")
        return self.styles.index(style)

    def content(self, text: torch.Tensor) -> torch.Tensor:
        """text (B, text_width) unit vectors, or zero to say nothing -> (B, content) of mean 0 and deviation 1."""
        hidden = self.read(self.text_in(text * text.shape[1] ** 0.5))
        said = self.content_out(F.layer_norm(hidden, hidden.shape[1:]))
        return F.layer_norm(said, said.shape[1:])

    def shares(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """content (B, content), style (B,) -> how much of each component, (B, components), in its deviations."""
        first, gain = self.style(style).split([self.width, 4 * self.width], dim=1)
        hidden = self.draw(self.content_in(content) + first, gain)
        mixed: torch.Tensor = self.mix(F.silu(F.layer_norm(hidden, hidden.shape[1:])))
        return mixed

    def z_of(self, content: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """-> (B, z_channels, g, g) fp32."""
        return self.mixed(self.shares(content, style))

    def mixed(self, shares: torch.Tensor) -> torch.Tensor:
        """shares (B, components) of the components, in their deviations -> (B, z_channels, g, g) fp32."""
        flat = F.linear(shares.float() * self.deviation, self.components) + self.mean
        return flat.float().view(len(shares), self.grid, self.grid, -1).permute(0, 3, 1, 2).contiguous()

    def forward(self, text: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
        """text (B, text_width), style (B,) -> z (B, z_channels, g, g) fp32, the mean of what the text may mean."""
        return self.z_of(self.content(text), style)

    def scores(self, z: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
        """How likely each code (n_embed, z_channels) is at each place, were z off by Gaussian noise: logits
        (B, g, g, n_embed)."""
        flat = z.permute(0, 2, 3, 1)
        return self.sharpness * (flat @ codebook.T - codebook.square().sum(dim=1) / 2)


def load_layout(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Layout:
    """The embedded layout, fp32, in eval mode, without gradients for its weights."""
    layout = Layout(json.loads((folder / "mini-layout.json").read_text()))
    layout.load_state_dict(unpack(load_file(folder / "mini-layout.safetensors")), strict=True)
    return layout.to(device).eval().requires_grad_(False)
