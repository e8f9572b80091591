"""Text to VQGAN codes by masked-token modelling (MaskGIT, Chang et al. 2022, arXiv:2202.04200; Muse, 2301.00704).

The layout says what the text suggests at each place; a transformer over 2 x 2 blocks of codes, so that a 16 x 16 grid
costs 64 tokens, draws those places again that the layout is least sure of, by what is around them. Classifier-free
guidance (Ho and Salimans 2022, arXiv:2207.12598) sharpens what the text asks for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

from generator.models.drafts import Drafts
from generator.models.layout import Layout
from generator.models.packing import unpack

WEIGHTS = Path(__file__).parent.parent / "weights"
PREFIX = 2  # tokens made from the text vector
DOUBT = 0.5  # chance in which places are redrawn, in nats


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
        result: torch.Tensor = x + self.down(F.silu(self.up(self.norm_2(x))))
        return result


class Prior(nn.Module):
    """Scores of every code given the unmasked ones, a text vector and a style, as a correction of the layout's.

    `config`: width, layers, heads, code_width. Code `n_embed` stands for masked, style `len(layout.styles)` for any.
    The layout is held, not owned: it has a file of its own.
    """

    def __init__(self, config: dict[str, Any], layout: Layout, codebook: torch.Tensor) -> None:
        """codebook: the VQGAN's (n_embed, e_dim)."""
        super().__init__()
        self.config = config
        self._layout = [layout.eval().requires_grad_(False)]
        self.n_embed, self.grid = len(codebook), layout.grid
        width, code_width = config["width"], config["code_width"]
        text_width, styles = layout.config["text_width"], len(layout.styles)
        self.code_width: int = code_width
        self.register_buffer("codebook", codebook.detach().float().clone(), persistent=False)
        self.codebook: torch.Tensor
        self.masked = nn.Parameter(0.3 * torch.randn(code_width))
        self.code_in = nn.Linear(codebook.shape[1], code_width)
        self.draft_in = nn.Linear(codebook.shape[1], code_width)
        self.conv_in = nn.Conv2d(code_width, code_width, 3, padding=1)
        self.patch_in = nn.Linear(4 * code_width, width)
        self.position = nn.Parameter(0.02 * torch.randn(PREFIX + (self.grid // 2) ** 2, width))
        self.text_in = nn.Linear(text_width, (PREFIX + 1) * width)
        self.style_embedding = nn.Embedding(styles + 1, width)
        self.blocks = nn.ModuleList(Block(width, config["heads"]) for _ in range(config["layers"]))
        self.norm = nn.LayerNorm(width)
        self.patch_out = nn.Linear(width, 4 * code_width)
        self.conv_out = nn.Conv2d(2 * code_width, code_width, 3, padding=1)
        self.norm_out = nn.LayerNorm(code_width)
        self.logits = nn.Linear(code_width, self.n_embed)
        nn.init.zeros_(self.logits.weight)  # begin as the layout alone
        nn.init.normal_(self.style_embedding.weight, std=0.02)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.normal_(block.out.weight, std=width**-0.5 * (2 * config["layers"]) ** -0.5)
            nn.init.normal_(block.down.weight, std=(4 * width) ** -0.5 * (2 * config["layers"]) ** -0.5)

    @property
    def layout(self) -> Layout:
        return self._layout[0]

    def forward(
        self, codes: torch.Tensor, suggested: torch.Tensor, text: torch.Tensor, style: torch.Tensor
    ) -> torch.Tensor:
        """codes (B, g, g) int64, `n_embed` where masked; suggested: the layout's scores of a draft; -> scores
        (B, g, g, n_embed)."""
        batch, half, wide = len(codes), self.grid // 2, self.code_width
        known = self.code_in(self.codebook[codes.clamp(max=self.n_embed - 1)])
        local = torch.where((codes == self.n_embed)[..., None], self.masked.to(known.dtype), known)
        local = local + self.draft_in(suggested.float().softmax(dim=3) @ self.codebook)
        local = local.permute(0, 3, 1, 2).contiguous()
        local = local + self.conv_in(F.silu(local))
        patches = local.reshape(batch, wide, half, 2, half, 2).permute(0, 2, 4, 3, 5, 1)
        x = self.patch_in(patches.reshape(batch, half * half, 4 * wide))
        cond = self.text_in(text * text.shape[1] ** 0.5).view(batch, PREFIX + 1, -1)
        x = x + cond[:, -1:] + self.style_embedding(style)[:, None].to(x.dtype)
        x = torch.cat([cond[:, :-1].to(x.dtype), x], dim=1) + self.position
        for block in self.blocks:
            x = block(x)
        x = self.patch_out(self.norm(x[:, PREFIX:])).view(batch, half, half, 2, 2, wide)
        y = torch.cat([x.permute(0, 5, 1, 3, 2, 4).reshape(batch, wide, self.grid, self.grid), local], dim=1)
        y = self.norm_out(F.silu(self.conv_out(F.silu(y))).permute(0, 2, 3, 1))
        logits: torch.Tensor = suggested + self.logits(y)
        return logits

    @torch.no_grad()
    def sample(
        self,
        drafts: Drafts,
        seeds: Sequence[int],
        redrawn: float = 0.3,
        steps: int = 4,
        temperature: float = 1.0,
        cfg_scale: float = 1.5,
        choice_temperature: float = 2.0,
    ) -> torch.Tensor:
        """Draw codes (N, g, g) after each of N drafts.

        Of the codes nearest to a draft, the share `redrawn` (0 to 1) that the layout is least sure of is masked. In
        each of `steps` rounds every masked code is drawn and the surest are kept, more each round (cosine schedule).
        Every row is drawn alone, with its own CPU generator, so it does not depend on its neighbours or the device.
        """
        return torch.stack(
            [
                self._sample_row(z, text, style, seed, redrawn, steps, temperature, cfg_scale, choice_temperature)
                for z, text, style, seed in zip(drafts.z, drafts.text, drafts.style, seeds, strict=True)
            ]
        )

    def _sample_row(
        self,
        z: torch.Tensor,
        text: torch.Tensor,
        style: torch.Tensor,
        seed: int,
        redrawn: float,
        steps: int,
        temperature: float,
        cfg_scale: float,
        choice_temperature: float,
    ) -> torch.Tensor:
        device = self.position.device
        generator = torch.Generator().manual_seed(seed)
        total = self.grid * self.grid
        pair = torch.stack([text, torch.zeros_like(text)])
        chosen_style = style.expand(2)
        blank = self.layout(pair[1:], chosen_style[:1])
        suggested = self.layout.scores(torch.cat([z[None], blank]), self.codebook)
        best = suggested[0].float().view(total, -1).log_softmax(dim=-1).max(dim=-1)
        unsure = DOUBT * _gumbel((total,), generator).to(device) - best.values
        amount = round(redrawn * total)
        codes = best.indices.scatter(0, unsure.topk(amount).indices, self.n_embed)
        for step in range(steps):
            done = (step + 1) / steps
            both = codes.view(1, self.grid, self.grid).expand(2, -1, -1)
            cond, uncond = self(both, suggested, pair, chosen_style).float().view(2, total, self.n_embed)
            guided = uncond + cfg_scale * (cond - uncond)
            logp = (guided / max(temperature, 1e-4)).log_softmax(dim=-1)
            noise = _gumbel((total, self.n_embed), generator).to(device)
            drawn = (logp + noise).argmax(dim=-1) if temperature > 0 else logp.argmax(dim=-1)
            masked = codes == self.n_embed
            drawn = torch.where(masked, drawn, codes)
            sure = logp.gather(-1, drawn[:, None])[:, 0]
            sure = sure + choice_temperature * (1 - done) * _gumbel((total,), generator).to(device)
            sure = sure.masked_fill(~masked, float("inf"))
            left = math.floor(amount * math.cos(math.pi / 2 * done)) if step < steps - 1 else 0
            left = max(min(left, int(masked.sum()) - 1), 0)
            codes = drawn
            if left > 0:
                codes = codes.scatter(0, sure.topk(left, largest=False).indices, self.n_embed)
        return codes.view(self.grid, self.grid)


def _gumbel(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    uniform = torch.rand(shape, generator=generator).clamp(1e-9, 1 - 1e-7)
    return -(-uniform.log()).log()


def load_prior(layout: Layout, device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> Prior:
    """The embedded prior, fp32, in eval mode, without gradients for its weights."""
    codebook = load_file(folder / "mini-vqgan.safetensors")["quantize.embedding.weight"]
    prior = Prior(json.loads((folder / "mini-prior.json").read_text()), layout, codebook)
    prior.load_state_dict(unpack(load_file(folder / "mini-prior.safetensors")), strict=True)
    return prior.to(device).eval().requires_grad_(False)
