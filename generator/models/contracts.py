"""What engines ask of networks, whoever made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from characters.brief import Brief

Lpips = Callable[[Tensor, Tensor], Tensor]  # pictures (B, 3, H, W) in [-1, 1], twice -> distances (B,)


class UnknownStyle(Brief, ValueError):
    """A style the embedded models were not trained on."""


class Clip(Protocol):
    """What guidance asks of a CLIP: unit embeddings (N, D) of texts, and of images (N, 3, R, R) in [0, 1]."""

    @property
    def name(self) -> str: ...
    @property
    def resolution(self) -> int: ...
    @property
    def network(self) -> Any: ...
    def encode_text(self, texts: list[str]) -> Tensor: ...
    def encode_image(self, images: Tensor) -> Tensor: ...


class Quantised(Protocol):
    """What the engine asks of a VQGAN; images (B, 3, H, W) in [0, 1], z (B, e_dim, h, w), codes (B, h, w)."""

    @property
    def factor(self) -> int: ...
    @property
    def n_embed(self) -> int: ...
    @property
    def codebook(self) -> Tensor: ...
    @property
    def decoder(self) -> torch.nn.Module: ...
    def encode(self, image: Tensor) -> Tensor: ...
    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor]: ...
    def decode(self, z_q: Tensor) -> Tensor: ...
    def codes_to_z(self, codes: Tensor) -> Tensor: ...


class Denoiser(Protocol):
    """What the engine asks of a diffusion model; x (B, 3, H, W), t and style (B,).

    alphas_cumprod: (T,) alpha^2 at each timestep it was trained on; denoise gives x0, float32, near [-1, 1].
    """

    alphas_cumprod: Tensor

    def style_index(self, style: str | None) -> int: ...
    def denoise(self, x: Tensor, t: Tensor, style: Tensor) -> Tensor: ...
