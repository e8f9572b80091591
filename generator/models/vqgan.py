"""VQGAN (Esser et al. 2021, arXiv:2012.09841) from taming's own Encoder and Decoder, under its own key names."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file

WEIGHTS = Path(__file__).parent.parent / "weights"


class _Clamp(torch.autograd.Function):
    """Clamp to [0, 1] that lets a gradient through where following it leads back into the range."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (image,) = ctx.saved_tensors
        result: torch.Tensor = gradient * (gradient * (image - image.clamp(0, 1)) >= 0)
        return result


class VQModel(nn.Module):
    """Pictures to codes and back; `config` is `model.params` of a taming yaml plus `gumbel: bool`.

    `attention: False` leaves attention out, as latent-diffusion's attn_type "none". `norm_groups` replaces taming's 32
    groups: with 32 channels each would be a group of its own, and lose its mean. `unit: True` looks codes up by their
    direction alone, as ViT-VQGAN does (Yu et al. 2022, arXiv:2110.04627): z and the codes have unit length.
    Holds the keys of a real checkpoint without its `loss.*`: encoder, decoder, quantize, quant_conv, post_quant_conv.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        from taming.modules.diffusionmodules.model import AttnBlock, Decoder, Encoder

        details = dict(config["ddconfig"])
        self.config = config
        self.gumbel, self.unit = bool(config.get("gumbel", False)), bool(config.get("unit", False))
        self.n_embed: int = config["n_embed"]
        self.e_dim: int = config["embed_dim"]
        self.factor: int = 2 ** (len(details["ch_mult"]) - 1)
        with contextlib.redirect_stdout(io.StringIO()):  # Decoder prints its z shape
            self.encoder = Encoder(**details)
            self.decoder = Decoder(**details)
        if not config.get("attention", True):
            for name, module in list(self.named_modules()):
                if isinstance(module, AttnBlock):
                    self.set_submodule(name, nn.Identity())
        for module in self.modules():
            if isinstance(module, nn.GroupNorm):
                module.num_groups = config.get("norm_groups", module.num_groups)
        self.quantize = nn.Module()
        if self.gumbel:
            self.quantize.proj = nn.Conv2d(details["z_channels"], self.n_embed, 1)
            self.quantize.embed = nn.Embedding(self.n_embed, self.e_dim)
        else:
            self.quantize.embedding = nn.Embedding(self.n_embed, self.e_dim)
        self.quant_conv = nn.Conv2d(details["z_channels"], self.e_dim, 1)
        self.post_quant_conv = nn.Conv2d(self.e_dim, details["z_channels"], 1)

    @property
    def codebook(self) -> torch.Tensor:
        """(n_embed, e_dim)."""
        table = self.quantize.embed if self.gumbel else self.quantize.embedding
        assert isinstance(table, nn.Embedding)
        return table.weight

    def encode(self, image: torch.Tensor) -> torch.Tensor:
        """image (B, 3, H, W) in [0, 1], sides divisible by `factor` -> z (B, e_dim, H / factor, W / factor)."""
        z: torch.Tensor = self.quant_conv(self.encoder(image * 2 - 1))
        if self.unit:
            return F.normalize(z, dim=1)
        if not self.gumbel:
            return z
        logits = self.quantize.proj(z)  # type: ignore[operator]
        return self.codes_to_z(logits.argmax(dim=1))

    def quantise(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """z (B, e_dim, h, w) -> nearest codebook rows with a straight-through gradient, and codes (B, h, w) int64."""
        book = self.codebook.float()
        flat = z.detach().float().permute(0, 2, 3, 1).reshape(-1, self.e_dim)
        distance = book.square().sum(1) - 2 * flat @ book.T  # |z|^2 is the same for every code
        codes = distance.argmin(dim=1).view(z.shape[0], z.shape[2], z.shape[3])
        nearest = self.codes_to_z(codes).to(z.dtype)
        return z + (nearest - z).detach(), codes

    def codes_to_z(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (B, h, w) -> z (B, e_dim, h, w)."""
        return F.embedding(codes, self.codebook).permute(0, 3, 1, 2).contiguous()

    def decode(self, z_q: torch.Tensor) -> torch.Tensor:
        """z_q (B, e_dim, h, w) -> image (B, 3, h * factor, w * factor) in [0, 1]."""
        image: torch.Tensor = self.decoder(self.post_quant_conv(z_q))
        clamp: Callable[[torch.Tensor], torch.Tensor] = _Clamp.apply
        return clamp((image + 1) / 2)


def load_mini(device: torch.device | str = "cpu", folder: Path = WEIGHTS) -> VQModel:
    """The embedded VQGAN, fp32, in eval mode, without gradients for its weights."""
    model = VQModel(json.loads((folder / "mini-vqgan.json").read_text()))
    weights = {key: value.float() for key, value in load_file(folder / "mini-vqgan.safetensors").items()}
    model.load_state_dict(weights, strict=True)
    return model.to(device).eval().requires_grad_(False)
