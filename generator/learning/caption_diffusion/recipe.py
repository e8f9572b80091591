"""What is learnt: the networks, the noise put on pictures, and the loss (Ho et al. 2020, arXiv:2006.11239)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generator.models.caption_unet import Architecture, build_text, build_unet
from generator.params.train import TrainParams
from generator.sampling.noise_schedule import Schedule

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


class Diffusion:
    """The noise levels, and the loss at them."""

    def __init__(self, architecture: Architecture, gamma: float) -> None:
        squared = torch.tensor(Schedule(architecture.scheduler).squared)
        self.alpha, self.sigma = squared.sqrt().float(), (1 - squared).sqrt().float()
        self._v, self._gamma = architecture.prediction == "v", gamma

    def draw(self, shape: Sequence[int], dropout: float, generator: torch.Generator) -> Noise:
        """On the CPU, so that every device draws the same. dropout: share of captions that are kept back."""
        times = torch.randint(len(self.alpha), (shape[0],), generator=generator)
        noise = torch.randn(tuple(shape), generator=generator)
        return Noise(times, noise, torch.rand(shape[0], generator=generator) < dropout)

    def noisy(self, x0: Tensor, drawn: Noise) -> tuple[Tensor, Tensor]:
        """x at its level, and what the network should say of it: (B, C, h, w), on the device of x0."""
        alpha, sigma = (level[drawn.times].view(-1, 1, 1, 1).to(x0.device) for level in (self.alpha, self.sigma))
        noise = drawn.noise.to(x0.device)
        return alpha * x0 + sigma * noise, alpha * noise - sigma * x0 if self._v else noise

    def loss(self, answer: Tensor, target: Tensor, times: Tensor) -> Tensor:
        """Mean squared error of each picture (B,), weighed by min-SNR where the settings say so."""
        each = F.mse_loss(answer.float(), target, reduction="none").flatten(1).mean(1)
        if not self._gamma:
            return each
        snr = (self.alpha[times] / self.sigma[times]).square()
        weight = snr.clamp(max=self._gamma) / (snr + 1 if self._v else snr)
        return each * weight.to(each.device)


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


def learning_rate(params: TrainParams, step: int, plateaus: int) -> float:
    """Of a step, counted from 0: a linear warm-up, then level or a cosine down to 2 %; a tenth after each plateau."""
    rate = params.learning_rate * 0.1**plateaus
    if step < params.warmup_steps:
        return rate * (step + 1) / params.warmup_steps
    if params.decay == "constant":
        return rate
    way = (step - params.warmup_steps) / max(1, params.steps - params.warmup_steps)
    return rate * (0.02 + 0.98 * 0.5 * (1 + cos(pi * min(1.0, way))))


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
