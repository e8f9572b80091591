"""What is learnt: the networks and their average, and what is drawn at random for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from generator.learning.caption_diffusion.words import keep_words
from generator.models.caption_architecture import Architecture
from generator.models.caption_unet import build_text, build_unet
from generator.params.train import TrainParams

Pair = tuple[str, str]


def architecture_of(params: TrainParams, merges: Sequence[Pair] = (), text_width: int | None = None) -> Architecture:
    """What the settings ask for. text_width: of the base's text encoder, where it has one."""
    shared = Architecture.model_fields.keys() & type(params).model_fields.keys()
    values = {name: getattr(params, name) for name in shared}
    if params.base:
        values |= {"text_width": text_width, "text_layers": 0}
    return Architecture(**values, merges=tuple(merges))


class Networks(nn.Module):
    """The UNet, and the caption encoder that learns with it; None where that is the base's."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.unet: Any = build_unet(architecture)
        self.text: Any = None if architecture.base else build_text(architecture)
        if self.text is not None and architecture.time_width:
            keep_words(self.unet.add_embedding, self.text)

    def forward(self, x: Tensor, times: Tensor, captions: Tensor) -> Tensor:
        """x (B, C, h, w) at times (B,), captions (B, L) tokens or (B, L, W) as the base read them -> v or noise."""
        hidden = captions if self.text is None else self.text.states(captions)[0]
        answer: Tensor = self.unet(x, times, hidden, return_dict=False)[0]
        return answer


@dataclass(frozen=True)
class Noise:
    """What is drawn at random for a batch: times (B,), noise (B, C, h, w), and which captions are kept back (B,)."""

    times: Tensor
    noise: Tensor
    kept_back: Tensor


def draw_noise(
    levels: int, shape: Sequence[int], dropout: float, generator: torch.Generator, shift: float = 1.0
) -> Noise:
    """Of that many levels, on the CPU, so that every device draws the same. dropout: share of captions kept back.

    A batch's levels are spread evenly, each drawn within its own share, and shifted towards noise (Esser et al. 2024,
    arXiv:2403.03206, eq. 23)."""
    count = shape[0]
    even = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
    times = (levels * shift * even / (1 + (shift - 1) * even)).long().clamp(max=levels - 1)
    noise = torch.randn(tuple(shape), generator=generator)
    return Noise(times, noise, torch.rand(shape[0], generator=generator) < dropout)


def leave_out(unet: nn.Module, share: float) -> None:
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): while training, a residual block is left out of a
    picture's pass so often, and nothing but its shortcut is left."""
    from diffusers.models.resnet import ResnetBlock2D

    def skip(block: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        if not block.training:
            return output
        x = inputs[0] if block.conv_shortcut is None else block.conv_shortcut(inputs[0])
        kept = torch.rand(len(output), 1, 1, 1, device=output.device) >= share
        return torch.where(kept, x + (output - x) / (1 - share), x)

    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            module.register_forward_hook(skip)


class Average:
    """Exponential moving average of networks' weights, its horizon growing at the start: what draws."""

    def __init__(self, networks: Networks, architecture: Architecture, decay: float) -> None:
        self.networks, self._decay, self.count = Networks(architecture), decay, 0
        self.networks.load_state_dict(networks.state_dict())
        self.networks.requires_grad_(False).eval().to(next(networks.parameters()).device)

    @torch.no_grad()
    def update(self, networks: Networks) -> None:
        """One step."""
        self.count += 1
        decay = min(self._decay, (1 + self.count) / (10 + self.count)) if self._decay else 0.0
        ours, theirs = ([p.detach() for p in each.parameters()] for each in (self.networks, networks))
        torch._foreach_lerp_(ours, theirs, 1 - decay)
