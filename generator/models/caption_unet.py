"""A text-to-image model of one's own: a UNet with cross-attention (Rombach et al. 2022, arXiv:2112.10752) on captions.

In pixels it is whole: UNet and caption encoder. With a base it draws in the latents of that model's VAE, and its text
encoder reads the captions; both are the base's and are not kept with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from generator.models.clip_text import OwnText, TextEncoders
from generator.models.torchvision_operators import declare
from generator.sampling.noise_schedule import Schedule

MAX_MERGES = 49_408 - 514
Width = Annotated[int, Field(ge=8, le=2048, multiple_of=8)]


class Architecture(BaseModel):
    """What a model is built from, as its file says it; bounded, since files come from anywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=16, le=1024, multiple_of=8)  # px
    channels: tuple[Width, ...] = Field(min_length=2, max_length=6)
    layers_per_block: int = Field(ge=1, le=4)
    attention_up_to: int = Field(ge=1, le=128)
    head_width: int = Field(ge=8, le=256)
    dropout: float = Field(ge=0, lt=1)
    text_width: int = Field(ge=32, le=2048, multiple_of=32)
    text_layers: int = Field(ge=0, le=24)
    time_width: int = Field(0, ge=0, le=2048, multiple_of=8)  # 0: the caption is read by cross-attention alone
    caption_tokens: int = Field(ge=4, le=77)
    merges: tuple[tuple[str, str], ...] = Field((), max_length=MAX_MERGES)
    base: str = Field("", max_length=140)
    prediction: Literal["v", "epsilon"]
    timesteps: int = Field(ge=10, le=4000)
    schedule: Literal["squaredcos_cap_v2", "scaled_linear", "linear"]
    zero_terminal_snr: bool

    @property
    def factor(self) -> int:
        """px per position of what the UNet sees."""
        return 8 if self.base else 1

    @property
    def scheduler(self) -> dict[str, Any]:
        """The noise levels as a scheduler_config.json of diffusers says them."""
        return {
            "_class_name": "DDIMScheduler",
            "num_train_timesteps": self.timesteps,
            "beta_schedule": self.schedule,
            "beta_start": 0.00085 if self.schedule == "scaled_linear" else 1e-4,
            "beta_end": 0.012 if self.schedule == "scaled_linear" else 0.02,
            "prediction_type": {"v": "v_prediction", "epsilon": "epsilon"}[self.prediction],
            "rescale_betas_zero_snr": self.zero_terminal_snr,
            "timestep_spacing": "trailing",
            "clip_sample": False,
            "set_alpha_to_one": True,
            "steps_offset": 1,  # diffusers asks for it; trailing steps have none
        }

    @property
    def unet(self) -> dict[str, Any]:
        """The UNet as diffusers' UNet2DConditionModel is configured."""
        positions, places = self.size // self.factor, 4 if self.base else 3
        reads = [positions // 2**level <= self.attention_up_to for level in range(len(self.channels))]
        return {
            "sample_size": positions,
            "in_channels": places,
            "out_channels": places,
            "block_out_channels": list(self.channels),
            "layers_per_block": self.layers_per_block,
            "down_block_types": ["CrossAttnDownBlock2D" if has else "DownBlock2D" for has in reads],
            "up_block_types": ["CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(reads)],
            # By this name diffusers means how many heads there are.
            "attention_head_dim": [_heads(channels, self.head_width) for channels in self.channels],
            "cross_attention_dim": self.text_width,
            "norm_num_groups": 8,
            "resnet_time_scale_shift": "scale_shift",
            "dropout": self.dropout,
            **self._pooled,
        }

    @property
    def _pooled(self) -> dict[str, Any]:
        """The caption as a whole, next to the noise level: in noise alone it is what a picture is made of, and
        cross-attention learns that many times more slowly."""
        if not self.time_width:
            return {}
        return {
            "time_embedding_dim": self.time_width,
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": self.text_width // 32,
        }


def _heads(channels: int, width: int) -> int:
    """As many heads of about that width as divide the channels."""
    return next(heads for heads in range(max(1, channels // width), 0, -1) if channels % heads == 0)


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
