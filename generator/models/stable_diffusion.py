"""The networks of Stable Diffusion (Rombach et al. 2022, arXiv:2112.10752): text encoders, UNet, VAE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from generator.models.clip_text import TextEncoders
from generator.sampling.noise_schedule import Schedule


@dataclass
class StableDiffusionModels:
    """unet: diffusers' UNet2DConditionModel; vae: its AutoencoderKL."""

    texts: TextEncoders
    unet: Any
    vae: Any
    schedule: Schedule

    @property
    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.texts, self.unet, self.vae

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(C, h, w) of z for a picture of so many px."""
        return self.unet.config.in_channels, height // 8, width // 8

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, H, W) in [0, 1] -> z (n, C, H / 8, W / 8), the mean of what the VAE says, scaled."""
        z: Tensor = self.vae.encode(pictures * 2 - 1).latent_dist.mode()
        scaled: Tensor = (z - (self.vae.config.shift_factor or 0.0)) * self.vae.config.scaling_factor
        return scaled

    def decode(self, z: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """z (n, C, H / 8, W / 8) -> pictures (n, 3, H, W) near [0, 1]; one after the other, to need less memory.
        size: (W, H), which z tells here."""
        raw = z / self.vae.config.scaling_factor + (self.vae.config.shift_factor or 0.0)
        return torch.cat([self.vae.decode(one).sample for one in raw.split(1)]) / 2 + 0.5
