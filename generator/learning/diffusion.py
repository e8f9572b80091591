"""Noise on pictures or latents, and the loss of what a network says of it (Ho et al. 2020, arXiv:2006.11239)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.sampling.noise_schedule import Schedule


class Diffusion:
    """The noise levels of a scheduler, and the loss at them. gamma: of min-SNR, 0 for none."""

    def __init__(self, schedule: Schedule, gamma: float) -> None:
        squared = torch.tensor(schedule.squared)
        self.alpha, self.sigma = squared.sqrt().float(), (1 - squared).sqrt().float()
        self._prediction, self._gamma = schedule.prediction, gamma

    def noisy(self, x0: Tensor, noise: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        """x at times (B,), and what the network should say of it: v (arXiv:2202.00512), noise or x0; (B, C, h, w)."""
        alpha, sigma = (level[times].view(-1, 1, 1, 1).to(x0.device) for level in (self.alpha, self.sigma))
        target = {"epsilon": noise, "v_prediction": alpha * noise - sigma * x0, "sample": x0}[self._prediction]
        return alpha * x0 + sigma * noise, target

    def loss(self, answer: Tensor, target: Tensor, times: Tensor) -> Tensor:
        """Mean squared error of each picture (B,), weighed by min-SNR (Hang et al. 2023, arXiv:2303.09556, eq. 8)."""
        each = F.mse_loss(answer.float(), target.float(), reduction="none").flatten(1).mean(1)
        if not self._gamma:
            return each
        snr = (self.alpha[times] / self.sigma[times]).square()
        clamped = snr.clamp(max=self._gamma)
        weight = {"epsilon": clamped / snr, "v_prediction": clamped / (snr + 1), "sample": clamped}[self._prediction]
        return each * weight.to(each.device)
