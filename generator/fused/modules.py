"""taming's encoder and decoder and openai-clip's vision transformer on the fused kernels.

A module becomes one of these by its class: weights, names and hooks stay what they are. A decoder keeps its pictures
with channels last, and a tower computes in bfloat16 throughout.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from taming.modules.diffusionmodules.model import AttnBlock, Decoder, Encoder, ResnetBlock
from torch import Tensor, nn

from generator.fused.kernels import group_norm, quick_gelu
from generator.tokens import openai_clip


class FusedGroupNorm(nn.GroupNorm):
    """Without what follows it."""

    def forward(self, x: Tensor) -> Tensor:
        return group_norm(x.bfloat16(), self, swish=False)


class FusedResnetBlock(ResnetBlock):  # type: ignore[misc]
    """Norm and swish are one."""

    def forward(self, x: Tensor, temb: None) -> Tensor:
        hidden = self.conv1(group_norm(x, self.norm1, swish=True))
        hidden = self.conv2(group_norm(hidden, self.norm2, swish=True))
        if self.in_channels != self.out_channels:
            x = self.conv_shortcut(x) if self.use_conv_shortcut else self.nin_shortcut(x)
        result: Tensor = x + hidden
        return result


class FusedDecoder(Decoder):  # type: ignore[misc]
    """z (B, C, h, w) -> picture (B, 3, H, W) in [-1, 1], bfloat16."""

    def forward(self, z: Tensor) -> Tensor:
        hidden = super().forward(z.bfloat16().contiguous(memory_format=torch.channels_last))
        result: Tensor = self.conv_out(group_norm(hidden, self.norm_out, swish=True))
        return result


def fuse_decoder(decoder: Decoder) -> None:
    """Of weights in bfloat16 but for those of its norms, or of float32 ones under autocast, where they are learnt."""
    decoder.give_pre_end = True
    decoder.__class__ = FusedDecoder
    _fuse_blocks(decoder)


def fuse_encoder(encoder: Encoder) -> None:
    """Of float32 weights, under autocast to bfloat16, where they are learnt."""
    encoder.norm_out.__class__ = FusedGroupNorm
    _fuse_blocks(encoder)


def _fuse_blocks(network: nn.Module) -> None:
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for part in network.modules():
        if isinstance(part, ResnetBlock):
            part.__class__ = FusedResnetBlock
        elif isinstance(part, AttnBlock):
            part.norm.__class__ = FusedGroupNorm


@functools.cache
def tower_class() -> type[nn.Module]:
    """openai-clip's VisionTransformer, of which `FusedTower` is one."""
    found: type[nn.Module] = openai_clip("model").VisionTransformer
    return found


def fuse_tower(tower: nn.Module) -> None:
    """A vision transformer; all its weights become bfloat16."""
    tower.to(torch.bfloat16)
    tower.__class__ = _fused_tower()


@functools.cache
def _fused_tower() -> type[nn.Module]:
    class FusedTower(tower_class()):  # type: ignore[misc]
        """Pictures (B, 3, side, side), normalised -> (B, width) bfloat16; rows of patches, never turned about."""

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, enabled=False):
                x = torch.cat([self.class_embedding.expand(len(x), 1, -1), self._patches(x.bfloat16())], dim=1)
                x = _layer_norm(self.ln_pre, x + self.positional_embedding)
                for block in self.transformer.resblocks:
                    x = x + _attention(block.attn, _layer_norm(block.ln_1, x))
                    hidden = quick_gelu(block.mlp.c_fc(_layer_norm(block.ln_2, x)))
                    x = x + block.mlp.c_proj(hidden)
                result: Tensor = _layer_norm(self.ln_post, x[:, 0])
                return result if self.proj is None else result @ self.proj

        def _patches(self, x: Tensor) -> Tensor:
            """(B, 3, side, side) -> (B, patches, width). As one product, whose gradient is many times faster than that
            of the convolution which it is."""
            batch, colours, height, width = x.shape
            side: int = self.conv1.kernel_size[0]
            cut = x.view(batch, colours, height // side, side, width // side, side).permute(0, 2, 4, 1, 3, 5)
            return F.linear(cut.reshape(batch, -1, colours * side * side), self.conv1.weight.flatten(1))

    return FusedTower


def _layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _attention(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """x (B, L, width) -> the same."""
    batch, length, width = x.shape
    heads = attention.num_heads
    rows = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = rows.view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = (q * (width // heads) ** -0.5) @ k.transpose(2, 3)
    seen = scores.softmax(dim=3) @ v
    made: Tensor = attention.out_proj(seen.transpose(1, 2).reshape(batch, length, width))
    return made
