"""Latent diffusion on the VQGAN's z (Rombach et al. 2022, arXiv:2112.10752), small: diffusers' UNet, v-prediction.

The UNet reads the noisy z beside a draft of it, the layout's expected z, as a cascade reads its smaller picture (Ho et
al. 2022, arXiv:2106.15282, with their noise on the draft), and the text's CLIP vector and the style by cross-attention.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors.torch import load_file

from generator.models.packing import unpack
from generator.models.torchvision_operators import declare

WEIGHTS = Path(__file__).parent.parent / "weights"
TOKENS = 4  # made from the text vector; one more says the style
TRAIN_STEPS = 1000


class LatentDiffusionModel(nn.Module):
    """v of a noisy z given text, style and draft.

    `config`: z_channels, grid (places per side), text_width, styles (how many), block_out_channels, cross_width.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        declare()
        from diffusers.models.attention_processor import AttnProcessor
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        self.config = config
        channels, wide = config["z_channels"], config["cross_width"]
        blocks = config["block_out_channels"]
        self.text_in = nn.Linear(config["text_width"], TOKENS * wide)
        self.null_text = nn.Parameter(torch.zeros(config["text_width"]))
        self.style_embedding = nn.Embedding(config["styles"] + 1, wide)
        self.unet: Any = UNet2DConditionModel(
            sample_size=config["grid"],
            in_channels=2 * channels,
            out_channels=channels,
            block_out_channels=blocks,
            down_block_types=(*["DownBlock2D"] * (len(blocks) - 1), "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", *["UpBlock2D"] * (len(blocks) - 1)),
            layers_per_block=1,
            cross_attention_dim=wide,
            attention_head_dim=32,
            norm_num_groups=16,
        )
        self.unet.set_attn_processor(AttnProcessor())  # a CPU's backward is slow in fused attention

    def tokens(self, text: torch.Tensor, style: torch.Tensor, drop: torch.Tensor | None = None) -> torch.Tensor:
        """text (B, text_width) unit vectors, style (B,) -> (B, TOKENS + 1, cross_width); `drop` (B,) reads no text."""
        scaled = text * text.shape[1] ** 0.5
        if drop is not None:
            scaled = torch.where(drop[:, None], self.null_text.to(scaled.dtype), scaled)
        cond = self.text_in(scaled).view(len(text), TOKENS, -1)
        return torch.cat([cond, self.style_embedding(style)[:, None].to(cond.dtype)], dim=1)

    def forward(self, z: torch.Tensor, t: torch.Tensor, draft: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """z, draft (B, z_channels, g, g), t (B,) in 0 .. 999 -> v (B, z_channels, g, g)."""
        v: torch.Tensor = self.unet(torch.cat([z, draft], dim=1), t, tokens, return_dict=False)[0]
        return v


def alphas(steps: int = TRAIN_STEPS) -> torch.Tensor:
    """Cumulative alpha products (steps,) of the cosine schedule (Nichol and Dhariwal 2021, arXiv:2102.09672)."""
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    signal = torch.cos((t + 0.008) / 1.008 * torch.pi / 2).square()
    return torch.cumprod(1 - (1 - signal[1:] / signal[:-1]).clamp(max=0.999), dim=0).float()


def load_mini(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> LatentDiffusionModel:
    """The embedded latent diffusion, fp32, in eval mode, without gradients for its weights."""
    model = LatentDiffusionModel(json.loads((folder / "mini-latent-diffusion.json").read_text()))
    model.load_state_dict(unpack(load_file(folder / "mini-latent-diffusion.safetensors")), strict=True)
    return model.to(device).eval().requires_grad_(False)
