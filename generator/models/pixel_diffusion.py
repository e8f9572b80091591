"""Pictures from noise: a denoising network and its noise schedule (Ho et al. 2020, arXiv:2006.11239).

The network predicts v = alpha eps - sigma x0 (Salimans and Ho 2022, arXiv:2202.00512) under a cosine schedule (Nichol
and Dhariwal 2021, arXiv:2102.09672): v stays well scaled at every noise level, which few steps need. It knows styles,
not texts; what a picture shows is left to chance or to guidance.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from generator.models.contracts import UnknownStyle
from generator.models.packing import unpack
from generator.models.torchvision_operators import declare

WEIGHTS = Path(__file__).parent.parent / "weights"
MIN_ALPHA_SQUARED = 1e-4  # of alpha^2 at the last timestep, so that x0 can be told from eps everywhere


class PixelDiffusion(nn.Module):
    """A UNet over blocks of pixels, and the schedule it was trained under.

    `config`: unshuffle (px per side of a block: the network sees H / unshuffle places of 3 * unshuffle^2 channels),
    channels (one per level), layers (per level), attention (levels that have it), head_width, norm_groups, prediction
    (v or epsilon), schedule (cosine or linear), timesteps, styles (list of names; one number more means any).
    """

    alphas_cumprod: Tensor

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.styles: tuple[str, ...] = tuple(config["styles"])
        self.prediction: str = config["prediction"]
        self.unshuffle: int = config["unshuffle"]
        self.factor: int = self.unshuffle * 2 ** (len(config["channels"]) - 1)
        self.network = _unet(config)
        self.register_buffer("alphas_cumprod", alphas_cumprod(config["schedule"], config["timesteps"]), False)

    def style_index(self, style: str | None) -> int:
        """A style's number; None is any style. Raises UnknownStyle."""
        if style is None or style == "any":
            return len(self.styles)
        if style not in self.styles:
            raise UnknownStyle(f"no style {style!r}; permitted: any, {', '.join(self.styles)}")
        return self.styles.index(style)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma of x = alpha x0 + sigma eps at timesteps t (B,), each (B, 1, 1, 1) float32."""
        squared = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return squared.sqrt(), (1 - squared).sqrt()

    def forward(self, x: Tensor, t: Tensor, style: Tensor) -> Tensor:
        """x (B, 3, H, W), t (B,) in 0..timesteps - 1, style (B,) -> v or eps (B, 3, H, W); H, W multiples of factor."""
        blocks = F.pixel_unshuffle(x, self.unshuffle)
        return F.pixel_shuffle(self.network(blocks, t, class_labels=style, return_dict=False)[0], self.unshuffle)

    def denoise(self, x: Tensor, t: Tensor, style: Tensor) -> Tensor:
        """x0 as the network sees it in x, (B, 3, H, W) float32 near [-1, 1], not clamped."""
        alpha, sigma = self.levels(t)
        predicted: Tensor = self(x, t, style).float()
        if self.prediction == "v":
            return alpha * x - sigma * predicted
        return (x - sigma * predicted) / alpha


def alphas_cumprod(schedule: str, timesteps: int) -> Tensor:
    """alpha^2 at each timestep, (timesteps,) float32, falling from almost 1 to almost 0."""
    if schedule == "linear":
        scale = 1000 / timesteps
        betas = torch.linspace(scale * 1e-4, min(scale * 0.02, 0.999), timesteps, dtype=torch.float64)
        return (1 - betas).cumprod(0).clamp(min=MIN_ALPHA_SQUARED).float()
    time = torch.arange(1, timesteps + 1, dtype=torch.float64) / timesteps
    falling = ((time + 0.008) / 1.008 * math.pi / 2).cos().square() / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    return falling.clamp(min=MIN_ALPHA_SQUARED).float()


def _unet(config: dict[str, Any]) -> nn.Module:
    declare()
    # The module itself, not the package's front door: half the time to import.
    from diffusers.models.attention_processor import Attention, AttnProcessor
    from diffusers.models.unets.unet_2d import UNet2DModel

    places, channels = 3 * config["unshuffle"] ** 2, tuple(config["channels"])
    attention = [level in config["attention"] for level in range(len(channels))]
    network: nn.Module = UNet2DModel(
        in_channels=places,
        out_channels=places,
        block_out_channels=channels,
        layers_per_block=config["layers"],
        down_block_types=tuple("AttnDownBlock2D" if has else "DownBlock2D" for has in attention),
        up_block_types=tuple("AttnUpBlock2D" if has else "UpBlock2D" for has in reversed(attention)),
        attention_head_dim=config["head_width"],
        norm_num_groups=config["norm_groups"],
        resnet_time_scale_shift="scale_shift",
        num_class_embeds=len(config["styles"]) + 1,
        num_train_timesteps=config["timesteps"],
    )
    for module in network.modules():
        if isinstance(module, Attention):
            module.set_processor(AttnProcessor())  # plain products: fused attention is slow backwards on a CPU
    return network


def load_mini(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> PixelDiffusion:
    """The embedded network, fp32, in eval mode, without gradients for its weights."""
    model = PixelDiffusion(json.loads((folder / "mini-diffusion.json").read_text()))
    model.load_state_dict(unpack(load_file(folder / "mini-diffusion.safetensors")), strict=True)
    return model.to(device).eval().requires_grad_(False)
