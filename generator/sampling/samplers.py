"""From one noise level to the next: the moves that turn what a denoiser predicts into a picture.

x = alpha x0 + sigma eps with alpha^2 + sigma^2 = 1. A move takes x at one level, what x0 is thought to be there, and
the next level; at the last level alpha is 1, sigma 0 and x is x0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MIN_RATIO = 0.1  # of two moves, see dpm_solver_2m


def timesteps_between(first: int, steps: int) -> list[int]:
    """`steps` timesteps from `first` down, evenly spaced; the end, no noise at all, is not among them.

    First and last differ from each other by as much as the last from -1, which stands for the end. Of more steps than
    there are timesteps, several are made at one.
    """
    return [max(round((first + 1) * (steps - i) / steps) - 1, 0) for i in range(steps)]


def ddim(
    x: Tensor, x0: Tensor, level: tuple[float, float], following: tuple[float, float], eta: float, noise: Tensor | None
) -> Tensor:
    """DDIM (Song et al. 2021, arXiv:2010.02502, eq. 12 and 16). level, following: (alpha, sigma) before and after.

    eta 0 follows the noise already in x, eta 1 draws as much anew as DDPM does; `noise` is read where eta > 0.
    """
    (alpha, sigma), (alpha_next, sigma_next) = level, following
    eps = (x - alpha * x0) / max(sigma, 1e-8)
    fresh = eta * sigma_next / max(sigma, 1e-8) * max(1 - (alpha / alpha_next) ** 2, 0.0) ** 0.5
    moved: Tensor = alpha_next * x0 + max(sigma_next**2 - fresh**2, 0.0) ** 0.5 * eps
    if noise is not None and fresh != 0:
        moved = moved + fresh * noise
    return moved


def dpm_solver_2m(
    x: Tensor,
    x0: Tensor,
    level: tuple[float, float],
    following: tuple[float, float],
    before: tuple[Tensor, tuple[float, float]] | None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2): second order from the last two x0.

    before: the x0 and the level of the move before, None on the first move, which is first order, as the last is. So is
    a move after one much shorter (MIN_RATIO): two x0 that lie so close say nothing of where a longer way leads. Where
    both levels are one, as at the end of a schedule whose noise has an upper bound, x stays.
    """
    alpha_next, sigma_next = following
    if sigma_next == 0:
        return x0
    h = _half_log_snr(following) - _half_log_snr(level)
    if h == 0:
        return x
    slope = x0
    if before is not None:
        last, level_last = before
        ratio = (_half_log_snr(level) - _half_log_snr(level_last)) / h
        if ratio >= MIN_RATIO:
            slope = (1 + 1 / (2 * ratio)) * x0 - 1 / (2 * ratio) * last
    return sigma_next / level[1] * x - alpha_next * math.expm1(-h) * slope


def linear_multistep(history: Sequence[Tensor]) -> Tensor:
    """PNDM's noise prediction from the last one to four (Liu et al. 2022, arXiv:2202.09778, eq. 12), newest last."""
    weights = {1: (1,), 2: (-1 / 2, 3 / 2), 3: (5 / 12, -16 / 12, 23 / 12), 4: (-9 / 24, 37 / 24, -59 / 24, 55 / 24)}
    recent = history[-4:]
    return torch.stack([w * eps for w, eps in zip(weights[len(recent)], recent, strict=True)]).sum(0)


def _half_log_snr(level: tuple[float, float]) -> float:
    return math.log(level[0] / level[1])
