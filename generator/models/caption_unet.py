"""A text-to-image model of one's own: a UNet with cross-attention (Rombach et al. 2022, arXiv:2112.10752) on captions.

In pixels it is whole: UNet and caption encoder. With a base it draws in the latents of that model's VAE, and its text
encoder reads the captions; both are the base's and are not kept with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.models.caption_architecture import Architecture
from generator.models.clip_text import OwnText, TextEncoders
from generator.models.torchvision_operators import declare
from generator.sampling.noise_schedule import Schedule


def build_unet(architecture: Architecture) -> Any:
    """Diffusers' UNet2DConditionModel with random weights. x (B, C, h, w), times (B,), captions (B, L, W) -> as x."""
    declare()
    # The module itself, not the package's front door: half the time to import.
    from diffusers.models.attention_processor import Attention, AttnProcessor
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(architecture.unet)
    if not torch.cuda.is_available():
        for module in unet.modules():
            if isinstance(module, Attention):
                module.set_processor(AttnProcessor())  # plain products: fused attention is slow backwards on a CPU
    return unet


def build_text(architecture: Architecture) -> OwnText:
    """The caption encoder with random weights. At first its states say little but which tokens there are: what is the
    same for every caption (places, biases) is small, so that the UNet tells captions apart from its first steps on."""
    text = OwnText(architecture.merges, architecture.caption_tokens, architecture.text_width, architecture.text_layers)
    for name, std in (("token_embedding", 0.5), ("position_embedding", 0.05)):
        nn.init.normal_(text.embeddings[name].get_parameter("weight"), std=std)
    for name, weight in text.encoder.named_parameters():
        if name.endswith(("proj.bias", "fc1.bias", "fc2.bias")):
            nn.init.zeros_(weight)
        elif name.endswith(("out_proj.weight", "fc2.weight")):
            weight.data /= (2 * architecture.text_layers) ** 0.5
    return text


class Pixels(nn.Module):
    """In the place of a VAE where the UNet draws pixels: between its own size and the size that is asked for."""


@dataclass
class CaptionModels:
    """What the engine of Stable Diffusion draws with, for a model in pixels: see StableDiffusionModels.

    side: px of the pictures it was trained on; pictures of other sizes are scaled from those it draws.
    """

    texts: TextEncoders
    unet: Any
    vae: Pixels
    schedule: Schedule
    side: int
    halvings: int

    @property
    def parts(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        return self.texts, self.unet, self.vae

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(3, h, w) that is drawn for a picture of so many px: its longer side is the model's own."""
        grid = 2**self.halvings
        h, w = (max(grid, round(self.side * px / max(width, height) / grid) * grid) for px in (height, width))
        return 3, h, w

    def encode(self, pictures: Tensor) -> Tensor:
        """Pictures (n, 3, H, W) in [0, 1] -> x (n, 3, h, w) in [-1, 1]."""
        _, h, w = self.latent_shape(pictures.shape[3], pictures.shape[2])
        return _scaled(pictures, h, w) * 2 - 1

    def decode(self, z: Tensor, size: tuple[int, int]) -> Tensor:
        """x (n, 3, h, w) near [-1, 1] -> pictures (n, 3, H, W) near [0, 1]. size: (W, H)."""
        return _scaled(z / 2 + 0.5, size[1], size[0])


def _scaled(pictures: Tensor, height: int, width: int) -> Tensor:
    if pictures.shape[2:] == (height, width):
        return pictures
    return F.interpolate(pictures, (height, width), mode="bicubic", antialias=True)
