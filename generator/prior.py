"""Text to VQGAN codes by masked-token modelling (MaskGIT, Chang et al. 2022, arXiv:2202.04200; Muse, 2301.00704).

A transformer over 2 x 2 blocks of codes, so that a 16 x 16 grid costs 64 tokens; each code is masked, scored and drawn
on its own. Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) sharpens what the text asks for, and a
layout, a second and much smaller network, adds what the text suggests at each place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

WEIGHTS = Path(__file__).parent / "weights"
PREFIX = 4  # tokens made from the text vector


class UnknownStyle(ValueError):
    """A style the prior was not trained on."""


class Block(nn.Module):
    """Pre-norm transformer block with full attention. Plain products: on a CPU their backward beats fused attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x (B, L, width) -> the same shape."""
        batch, length, width = x.shape
        q, k, v = self.qkv(self.norm_1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5).softmax(dim=-1)
        x = x + self.out((weights.to(v.dtype) @ v).transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.silu(self.up(self.norm_2(x))))


class Layout(nn.Module):
    """What code a text alone suggests at each place: two matrices, no attention, no context."""

    def __init__(self, text_width: int, styles: int, grid: int, n_embed: int, width: int, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self.text_in = nn.Linear(text_width, width)
        self.style = nn.Embedding(styles + 1, width)
        self.places = nn.Parameter(torch.randn(grid * grid, rank, width) * width**-0.5)
        self.place_bias = nn.Parameter(torch.zeros(grid * grid, rank))
        self.logits = nn.Linear(rank, n_embed)

    def forward(self, text: torch.Tensor, style: torch.Tensor, places: torch.Tensor | None = None) -> torch.Tensor:
        """text (B, text_width) unit vectors, style (B,) -> logits (B, places, n_embed), at all places by default."""
        rows: torch.Tensor = self.places
        bias: torch.Tensor = self.place_bias
        if places is not None:
            rows, bias = rows[places], bias[places]
        hidden = F.silu(self.text_in(text * text.shape[1] ** 0.5) + self.style(style))
        told = F.linear(hidden, rows.flatten(0, 1), bias.flatten()).view(len(text), -1, self.rank)
        scores: torch.Tensor = self.logits(F.silu(told))
        return scores


class Prior(nn.Module):
    """Scores of every code given the unmasked ones, a text vector and a style.

    `config`: n_embed, grid (codes per side), width, layers, heads, code_width, text_width, styles (list of names).
    Code `n_embed` stands for masked; style `len(styles)` for any; without text the null vector is read.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.n_embed: int = config["n_embed"]
        self.grid: int = config["grid"]
        width, code_width = config["width"], config["code_width"]
        self.code_width: int = code_width
        self.text_scale: float = config.get("text_scale", 1.0)  # unit vectors have entries far too small to learn from
        self.code_embedding = nn.Embedding(self.n_embed + 1, code_width)
        self.conv_in = nn.Conv2d(code_width, code_width, 3, padding=1)
        self.patch_in = nn.Linear(4 * code_width, width)
        self.position = nn.Parameter(0.02 * torch.randn(PREFIX + 1 + (self.grid // 2) ** 2, width))
        self.text_in = nn.Linear(config["text_width"], (PREFIX + 1) * width)
        self.null_text = nn.Parameter(0.02 * torch.randn(config["text_width"]))
        self.style_embedding = nn.Embedding(len(self.styles) + 1, 2 * width)
        self.blocks = nn.ModuleList(Block(width, config["heads"]) for _ in range(config["layers"]))
        self.norm = nn.LayerNorm(width)
        self.patch_out = nn.Linear(width, 4 * code_width)
        self.conv_mid = nn.Conv2d(code_width, code_width, 3, padding=1)
        self.conv_out = nn.Conv2d(code_width, code_width, 3, padding=1)
        self.norm_out = nn.LayerNorm(code_width)
        self.logits = nn.Linear(code_width, self.n_embed)
        self.layout: Layout | None = None
        if "layout_width" in config:
            self.layout = Layout(
                config["text_width"],
                len(self.styles),
                self.grid,
                self.n_embed,
                config["layout_width"],
                config["layout_rank"],
            )
        nn.init.normal_(self.code_embedding.weight, std=0.3)
        nn.init.normal_(self.style_embedding.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.out.weight, std=width**-0.5 * (2 * config["layers"]) ** -0.5)
            nn.init.normal_(block.down.weight, std=(4 * width) ** -0.5 * (2 * config["layers"]) ** -0.5)

    def style_index(self, style: str | None) -> int:
        """A style's number; None is any style. Raises UnknownStyle."""
        if style is None or style == "any":
            return len(self.styles)
        if style not in self.styles:
            raise UnknownStyle(f"no style {style!r}; permitted: any, {', '.join(self.styles)}")
        return self.styles.index(style)

    def hidden(
        self, codes: torch.Tensor, text: torch.Tensor, style: torch.Tensor, drop: torch.Tensor | None = None
    ) -> torch.Tensor:
        """codes (B, g, g) int64 with `n_embed` where masked, text (B, text_width), style (B,) -> (B, g, g, code_width).

        Rows where `drop` (B,) bool is true read the null text.
        """
        batch, half, wide = len(codes), self.grid // 2, self.code_width
        if drop is not None:
            text = torch.where(drop[:, None], self.null_text.to(text.dtype), text)
        text = text * self.text_scale
        local = self.code_embedding(codes).permute(0, 3, 1, 2)
        local = local + self.conv_in(F.silu(local))
        patches = local.reshape(batch, wide, half, 2, half, 2).permute(0, 2, 4, 3, 5, 1)
        x = self.patch_in(patches.reshape(batch, half * half, 4 * wide))
        told = self.text_in(text).view(batch, PREFIX + 1, -1)
        styled = self.style_embedding(style).view(batch, 2, -1)
        x = x + told[:, -1:] + styled[:, -1:]
        x = torch.cat([told[:, :-1].to(x.dtype), styled[:, :1].to(x.dtype), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        x = self.patch_out(self.norm(x[:, PREFIX + 1 :])).view(batch, half, half, 2, 2, wide)
        y = x.permute(0, 5, 1, 3, 2, 4).reshape(batch, wide, self.grid, self.grid) + local
        y = y + self.conv_out(F.silu(self.conv_mid(F.silu(y))))
        return self.norm_out(y.permute(0, 2, 3, 1))

    def forward(
        self, codes: torch.Tensor, text: torch.Tensor, style: torch.Tensor, drop: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `hidden`, but logits (B, g, g, n_embed)."""
        scores: torch.Tensor = self.logits(self.hidden(codes, text, style, drop))
        return scores

    @torch.no_grad()
    def sample(
        self,
        text_features: torch.Tensor,
        style_index: int | Sequence[int],
        seeds: int | Sequence[int],
        steps: int = 10,
        temperature: float = 1.0,
        cfg_scale: float = 1.5,
        choice_temperature: float = 2.0,
        layout_scale: float = 3.0,
        variety: float = 0.5,
    ) -> torch.Tensor:
        """Draw codes (N, g, g) for text vectors (N, text_width) of `ClipModel.text_features`.

        `layout_scale` is how far the layout's guess outweighs the transformer's, `variety` how far a seed may turn the
        text the layout reads. In each of `steps` rounds every masked code is drawn and the surest are kept, more each
        round (cosine schedule).
        Every row is drawn alone, with its own CPU generator, so it does not depend on its neighbours or the device.
        """
        count = len(text_features)
        styles = [style_index] * count if isinstance(style_index, int) else list(style_index)
        numbers = [seeds] * count if isinstance(seeds, int) else list(seeds)
        rows = [
            self._sample_row(
                text, style, seed, steps, temperature, cfg_scale, choice_temperature, layout_scale, variety
            )
            for text, style, seed in zip(text_features, styles, numbers, strict=True)
        ]
        return torch.stack(rows)

    def _sample_row(
        self,
        text: torch.Tensor,
        style: int,
        seed: int,
        steps: int,
        temperature: float,
        cfg_scale: float,
        choice_temperature: float,
        layout_scale: float,
        variety: float,
    ) -> torch.Tensor:
        device = self.position.device
        generator = torch.Generator().manual_seed(seed)
        total = self.grid * self.grid
        codes = torch.full((total,), self.n_embed, device=device)
        pair = text.to(device).float().expand(2, -1)
        chosen_style = torch.full((2,), style, device=device)
        null = torch.tensor([False, True], device=device)
        suggested = torch.zeros((), device=device)
        if self.layout is not None:
            turn = torch.randn(pair[:1].shape, generator=generator).to(device) * pair.shape[1] ** -0.5
            suggested = layout_scale * self.layout(pair[:1] + variety * turn, chosen_style[:1])[0].float()
        for step in range(steps):
            done = (step + 1) / steps
            scores = self(codes.view(1, self.grid, self.grid).expand(2, -1, -1), pair, chosen_style, null).float()
            with_text, without = scores.view(2, total, self.n_embed)
            # guidance grows with the rounds: full strength at once would make all seeds alike
            guided = without + (1 + (cfg_scale - 1) * min(1.0, 0.5 + done / 2)) * (with_text - without) + suggested
            logp = (guided / max(temperature, 1e-4)).log_softmax(dim=-1)
            noise = _gumbel((total, self.n_embed), generator).to(device)
            drawn = (logp + noise).argmax(dim=-1) if temperature > 0 else logp.argmax(dim=-1)
            masked = codes == self.n_embed
            drawn = torch.where(masked, drawn, codes)
            sure = logp.gather(-1, drawn[:, None])[:, 0]
            sure = sure + choice_temperature * (1 - done) * _gumbel((total,), generator).to(device)
            sure = sure.masked_fill(~masked, float("inf"))
            left = math.floor(total * math.cos(math.pi / 2 * done)) if step < steps - 1 else 0
            left = min(left, int(masked.sum()) - 1) if step < steps - 1 else 0
            codes = drawn
            if left > 0:
                codes = codes.scatter(0, sure.topk(left, largest=False).indices, self.n_embed)
        return codes.view(self.grid, self.grid)


def _gumbel(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    uniform = torch.rand(shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()


def pack(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices as int8 with one fp16 scale a row (under `<key>.scale`), everything else fp16."""
    packed = {}
    for key, value in weights.items():
        if value.dim() < 2 or value.numel() < 50_000:
            packed[key] = value.half().contiguous()
            continue
        scale = (value.float().abs().amax(dim=-1, keepdim=True) / 127).clamp(min=1e-7).half()
        packed[key] = (value.float() / scale.float()).round().clamp(-127, 127).to(torch.int8).contiguous()
        packed[f"{key}.scale"] = scale.contiguous()
    return packed


def unpack(packed: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `pack` was given, in fp32."""
    return {
        key: value.float() * packed[f"{key}.scale"].float() if f"{key}.scale" in packed else value.float()
        for key, value in packed.items()
        if not key.endswith(".scale")
    }


def load_prior(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Prior:
    """The embedded prior, fp32, in eval mode, without gradients for its weights."""
    prior = Prior(json.loads((folder / "mini-prior.json").read_text()))
    weights = unpack(load_file(folder / "mini-prior.safetensors"))
    prior.load_state_dict(weights, strict=True)
    return prior.to(device).eval().requires_grad_(False)
