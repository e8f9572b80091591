"""Text to the VQGAN codes it suggests at each place, in one pass: the composition that the prior and latent diffusion
start from. A masked-token transformer or a UNet needs hours of a processor core to hear a text; an MLP hears it in
minutes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.packing import unpack

WEIGHTS = Path(__file__).parent / "weights"


class UnknownStyle(ValueError):
    """A style the embedded models were not trained on."""


class Layout(nn.Module):
    """What code a text alone suggests at each place of a picture in one style: an MLP, no attention, no context."""

    def __init__(self, config: dict[str, Any]) -> None:
        """`config`: n_embed, grid (codes per side), text_width, styles (list of names), width, rank, depth."""
        super().__init__()
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.n_embed, self.grid, self.rank = int(config["n_embed"]), int(config["grid"]), int(config["rank"])
        text_width, width, rank, depth = (config[key] for key in ("text_width", "width", "rank", "depth"))
        grid, n_embed, styles = self.grid, self.n_embed, len(self.styles)
        self.text_in = nn.Linear(text_width, width)
        self.style = nn.Embedding(styles + 1, width + depth * 2 * width)
        self.up = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.down = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(depth))
        self.places = nn.Parameter(torch.randn(grid * grid, rank, width) * width**-0.5)
        self.place_bias = nn.Parameter(torch.zeros(grid * grid, rank))
        self.logits = nn.Linear(rank, n_embed)

    def style_index(self, style: str | None) -> int:
        """A style's number; None is any style. Raises UnknownStyle."""
        if style is None or style == "any":
            return len(self.styles)
        if style not in self.styles:
            raise UnknownStyle(f"no style {style!r}; permitted: any, {', '.join(self.styles)}")
        return self.styles.index(style)

    def forward(self, text: torch.Tensor, style: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """text (B, text_width) unit vectors, style (B,) -> logits (B, places, n_embed), at all places by default."""
        rows: torch.Tensor = self.places
        bias: torch.Tensor = self.place_bias
        if places is not None:
            rows, bias = rows[places], bias[places]
        width = self.text_in.out_features
        first, *styled = self.style(style).split([width, *[2 * width] * len(self.up)], dim=1)
        hidden = self.text_in(text * text.shape[1] ** 0.5) + first
        for up, down, shift in zip(self.up, self.down, styled, strict=True):
            hidden = hidden + down(F.silu(up(F.layer_norm(hidden, hidden.shape[1:])) + shift))
        told = F.linear(F.silu(hidden), rows.flatten(0, 1), bias.flatten()).view(len(text), -1, self.rank)
        scores: torch.Tensor = self.logits(F.silu(told))
        return scores

    @torch.no_grad()
    def expected_z(self, text: torch.Tensor, style: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
        """The mean of the codebook's rows (n_embed, C) at each place under the suggested odds: (B, C, g, g) fp32."""
        odds = self(text, style).float().softmax(dim=2)
        return (odds @ codebook).view(len(text), self.grid, self.grid, -1).permute(0, 3, 1, 2).contiguous()


def load_layout(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Layout:
    """The embedded layout, fp32, in eval mode, without gradients for its weights."""
    layout = Layout(json.loads((folder / "mini-layout.json").read_text()))
    layout.load_state_dict(unpack(load_file(folder / "mini-layout.safetensors")), strict=True)
    return layout.to(device).eval().requires_grad_(False)
