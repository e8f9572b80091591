"""How the models compute: bfloat16 products where the device is good at them, and the same result every time."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from taming.modules.diffusionmodules.model import AttnBlock, Decoder, ResnetBlock
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from generator.fused import kernels
from generator.fused.modules import fuse_decoder, fuse_tower, tower_class


@dataclass(frozen=True)
class Precision:
    """Where models compute and with which numbers."""

    device: torch.device
    dtype: torch.dtype

    @classmethod
    def best(cls, device: torch.device, dtype: torch.dtype | None = None) -> Precision:
        """`dtype`; without one bfloat16 where the device multiplies it faster than float32, otherwise float32."""
        if dtype is not None:
            return cls(device, dtype)
        if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            return cls(device, torch.bfloat16)
        if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
            return cls(device, torch.bfloat16)
        return cls(device, torch.float32)

    @property
    def memory_format(self) -> torch.memory_format:
        """channels_last, which convolutions like, except for bfloat16 on a CPU.

        There the backward pass of torch's group norm is 10 to 70 times slower in channels_last (torch 2.13), which
        costs more than the convolutions gain: a decoder at 128 px 177 ms against 67.
        """
        slow = self.device.type == "cpu" and self.dtype == torch.bfloat16
        return torch.contiguous_format if slow else torch.channels_last

    def autocast(self) -> torch.autocast:
        """Products in `dtype`, sums and norms in float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def freeze(self, *models: Any) -> None:
        """Moves models to the device as their convolutions like it, without gradients for their weights."""
        for model in models:
            model.requires_grad_(False).eval().to(self.device, memory_format=self.memory_format)

    def narrow(self, *models: nn.Module) -> None:
        """Keeps the weights that `autocast` would convert before every product in `dtype` for good. On a CPU, VQGAN's
        decoders and CLIP's vision transformers become fused ones, and what has no group norm gets the layout that
        convolutions like (see `memory_format`)."""
        if self.dtype == torch.float32:
            return
        of_convolutions: list[Any] = [
            model for model in models if not any(isinstance(part, nn.GroupNorm) for part in model.modules())
        ]
        for model in of_convolutions:
            model.to(memory_format=torch.channels_last)
        for part in itertools.chain.from_iterable(model.modules() for model in models):
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.to(self.dtype)
            elif isinstance(part, nn.MultiheadAttention):
                for weight in part.parameters(recurse=False):
                    weight.data = weight.data.to(self.dtype)
        if self.device.type != "cpu" or not kernels.available():
            return
        for part in itertools.chain.from_iterable(list(model.modules()) for model in models):
            if type(part) is Decoder:
                fuse_decoder(part)
            elif type(part) is tower_class():
                fuse_tower(part)


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """Kernels whose result is the same every time."""
    # Fused attention adds its gradient in no fixed order on CUDA, and is slow backwards on CPUs.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True), sdpa_kernel(SDPBackend.MATH):
        yield


@contextlib.contextmanager
def repeatable_forward() -> Iterator[None]:
    """As `repeatable`, where no gradient is taken: fused attention is exact forwards, and needs far less memory."""
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        yield


@contextlib.contextmanager
def recomputed(decoder: nn.Module) -> Iterator[None]:
    """While open, the decoder's blocks keep their input only and are computed again backwards."""
    compiled = vars(decoder).pop("forward", None)  # as a whole, nothing of it could be computed again
    blocks = [block for block in decoder.modules() if isinstance(block, ResnetBlock | AttnBlock)]
    for block in blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
        if compiled is not None:
            decoder.forward = compiled
