"""EfficientNet-lite (Tan and Le 2019, arXiv:1905.11946; the lite variants without squeeze-and-excitation) as the image
tower of a CLIP. Every batch norm is folded into the convolution before it, so that a batch changes no picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn as nn
import torch.nn.functional as F

# repeats, kernel, stride, expansion, channels of EfficientNet-B0's stages
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280
VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # width and depth factors
EPS = 1e-3
TEXTURES = (0, 3, 6, 10)  # blocks whose channels tell styles apart
# pictures come normalised as CLIP's are; these weights expect (x - 127) / 128 of 0 to 255
SCALE = tuple(std * 255 / 128 for std in (0.26862954, 0.26130258, 0.27577711))
SHIFT = tuple((mean * 255 - 127) / 128 for mean in (0.48145466, 0.4578275, 0.40821073))


def channels(count: int, factor: float) -> int:
    """A stage's channels, scaled and rounded to a multiple of 8 as in the reference."""
    scaled = max(8, int(count * factor + 4) // 8 * 8)
    return scaled + 8 if scaled < 0.9 * count * factor else scaled


def same(conv: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """A convolution padded as TensorFlow pads, which adds an odd pixel at the end."""
    (size, _), (stride, _) = conv.kernel_size, conv.stride
    down, across = (max((math.ceil(n / stride) - 1) * stride + size - n, 0) for n in x.shape[2:])
    padded = F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
    if stride > 1 and conv.groups > 1 and x.device.type == "cpu":
        # In bfloat16 the gradient of a strided depthwise convolution takes oneDNN 15 times as long as in float32
        # (torch 2.13: 7.2 ms forward and back for 8 x 96 x 49 x 49, 0.4 in float32).
        with torch.autocast("cpu", enabled=False):
            weight, bias = conv.weight.float(), None if conv.bias is None else conv.bias.float()
            return F.conv2d(padded.float(), weight, bias, conv.stride, groups=conv.groups).to(x.dtype)
    result: torch.Tensor = conv(padded)
    return result


class MBConv(nn.Module):
    """Inverted residual block: widen, filter each channel, narrow."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.expand = nn.Conv2d(inner, wide, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, outer, 1)
        self.skips = stride == 1 and inner == outer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(same(self.depthwise, y)))
        result: torch.Tensor = x + y if self.skips else y
        return result


class EfficientNet(nn.Module):
    """Pictures (B, 3, R, R), normalised as CLIP's -> vectors (B, embed_dim), not normalised."""

    def __init__(self, variant: str, resolution: int, embed_dim: int) -> None:
        super().__init__()
        self.variant, self.input_resolution = variant, resolution
        width, depth = VARIANTS[variant]
        self.stem = nn.Conv2d(3, STEM, 3, 2)
        self.blocks = nn.ModuleList()
        inner = STEM
        for number, (repeats, kernel, stride, expansion, count) in enumerate(STAGES):
            outer = channels(count, width)
            # the lite variants do not deepen the first and the last stage
            repeats = repeats if number in (0, len(STAGES) - 1) else math.ceil(repeats * depth)
            for repeat in range(repeats):
                self.blocks.append(MBConv(inner, outer, kernel, stride if repeat == 0 else 1, expansion))
                inner = outer
        self.head = nn.Conv2d(inner, HEAD, 1)
        self.project = nn.Linear(HEAD, embed_dim)
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1), persistent=False)
        self.scale: torch.Tensor
        self.shift: torch.Tensor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.project(self.features(self.early(images, len(self.blocks)), len(self.blocks)))
        return vectors

    def early(self, images: torch.Tensor, blocks: int) -> torch.Tensor:
        """The first so many blocks."""
        x = F.relu6(same(self.stem, images * self.scale + self.shift))
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def textures(self, images: torch.Tensor) -> torch.Tensor:
        """Mean, spread and peak of every channel after the blocks TEXTURES, (B, 3 * channels): how a picture is drawn
        rather than what it shows."""
        x, found = F.relu6(same(self.stem, images * self.scale + self.shift)), []
        for number, block in enumerate(self.blocks[: TEXTURES[-1] + 1]):
            x = block(x)
            if number in TEXTURES:
                seen = x.float()
                found += [seen.mean(dim=(2, 3)), seen.std(dim=(2, 3)), seen.amax(dim=(2, 3))]
        return torch.cat(found, dim=1)

    def features(self, x: torch.Tensor, blocks: int) -> torch.Tensor:
        """What follows them, before the projection: (B, HEAD)."""
        for block in self.blocks[blocks:]:
            x = block(x)
        pooled: torch.Tensor = F.relu6(self.head(x)).mean(dim=(2, 3))
        return pooled


def fold(published: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keys and weights of the published networks' PyTorch port -> ours: batch norms folded, classifier left out."""

    def pair(conv: str, norm: str) -> tuple[torch.Tensor, torch.Tensor]:
        gain = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + EPS).sqrt()
        bias = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * gain
        return published[f"{conv}.weight"] * gain.view(-1, 1, 1, 1), bias

    pairs = {"stem": pair("_conv_stem", "_bn0"), "head": pair("_conv_head", "_bn1")}
    for number in sorted({int(key.split(".")[1]) for key in published if key.startswith("_blocks.")}):
        block = f"_blocks.{number}"
        if f"{block}._expand_conv.weight" in published:
            pairs[f"blocks.{number}.expand"] = pair(f"{block}._expand_conv", f"{block}._bn0")
        pairs[f"blocks.{number}.depthwise"] = pair(f"{block}._depthwise_conv", f"{block}._bn1")
        pairs[f"blocks.{number}.project"] = pair(f"{block}._project_conv", f"{block}._bn2")
    folded: dict[str, torch.Tensor] = {}
    for name, (weight, bias) in pairs.items():
        folded |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return folded
