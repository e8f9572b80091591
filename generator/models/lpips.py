"""LPIPS: how unlike two pictures look (Zhang et al. 2018, arXiv:1801.03924, equation 1), by the features of VGG16.

The names of the layers are those of the two published files: torchvision's VGG16, of which the convolutions are read,
and the weights of the features that were fitted to what people said, version 0.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Channels of each convolution; the picture is halved before every level but the first.
LEVELS: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet's colours, which here span -1 to 1


class LPIPS(nn.Module):
    """The distance of pictures. `features.N` and `linN.model.1` are the published names."""

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *(width for level in LEVELS for width in level)]
        convolutions = iter([nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths)])
        self.features, number = nn.ModuleDict(), 0
        for level in LEVELS:
            for _ in level:
                self.features[str(number)] = next(convolutions)
                number += 2  # a ReLU stands between
            number += 1  # and the pooling
        for n, level in enumerate(LEVELS):
            head = nn.ModuleDict({"model": nn.ModuleDict({"1": nn.Conv2d(level[-1], 1, 1, bias=False)})})
            self.add_module(f"lin{n}", head)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) float near [-1, 1] -> distances (B,), 0 for the same picture. H and W at least 16."""
        distance = pictures.new_zeros(len(pictures))
        for n, (one, other) in enumerate(zip(self.seen(pictures), self.seen(others), strict=True)):
            weight = self.get_parameter(f"lin{n}.model.1.weight")
            distance = distance + F.conv2d((_unit(one) - _unit(other)).square(), weight).mean((1, 2, 3))
        return distance

    def seen(self, pictures: Tensor) -> list[Tensor]:
        """The features after the last ReLU of every level, (B, C, H / 2^n, W / 2^n)."""
        x, found, layers = (pictures - self.mean) / self.spread, [], iter(self.features.values())
        for n, level in enumerate(LEVELS):
            if n:
                x = F.max_pool2d(x, 2)
            for _ in level:
                x = F.relu(next(layers)(x))
            found.append(x)
        return found


def _unit(features: Tensor) -> Tensor:
    # 1e-20 under the root: where nothing is seen at all the root has no gradient.
    return features / (features.square().sum(1, keepdim=True) + 1e-20).sqrt().add(1e-10)


def tensors_of(vgg: Mapping[str, Tensor], heads: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What LPIPS holds out of the two files: VGG16's classifier is not part of it."""
    return {key: value for key, value in vgg.items() if not key.startswith("classifier.")} | dict(heads)
