"""The noise levels a Stable Diffusion picture goes through, for each sampler as diffusers' schedulers choose them.

Which timesteps: the scheduler_config.json beside the weights may say it (Lin et al. 2023, arXiv:2305.08891, table 2);
if not, "leading" for DDIM and PNDM, "linspace" for the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generator.params import BadParams

SPACINGS = ("leading", "linspace", "trailing")
PREDICTIONS = ("epsilon", "v_prediction", "sample")
MIN_ALPHA_SQUARED = 2.0**-24  # squared; a schedule that ends in nothing but noise has 0, one that begins without has 1
MAX_STEPS = 10_000  # of the training


class TooManySteps(BadParams):
    """More steps than the model has noise levels to tell apart; the message says how many it has."""


@dataclass(frozen=True)
class Path:
    """times: where the network is asked, from noise to picture, in 0 .. T - 1, whole or between;
    levels: (alpha, sigma) at each of them, and at the end; start: standard deviation of the first noise."""

    times: tuple[float, ...]
    levels: tuple[tuple[float, float], ...]
    start: float


class Schedule:
    """What scheduler_config.json says. Raises ValueError for a kind of diffusion that is not supported."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        kind = str(config.get("_class_name", ""))
        if "Flow" in kind or "EDM" in kind or "LCM" in kind:
            raise ValueError(f"its scheduler is {kind[:40]}; models for DDIM, DPM-Solver, Euler or PNDM are supported")
        self.prediction = str(config.get("prediction_type", "epsilon"))
        if self.prediction not in PREDICTIONS:
            raise ValueError(
                f"its prediction_type is {self.prediction[:40]!r}; one of {', '.join(PREDICTIONS)} is supported"
            )
        self._spacing = config.get("timestep_spacing")
        if self._spacing not in (None, *SPACINGS):
            raise ValueError(
                f"its timestep_spacing is {str(self._spacing)[:40]!r}; one of {', '.join(SPACINGS)} is supported"
            )
        self._offset = _whole(config, "steps_offset", 0, 0)
        self._alpha_one = bool(config.get("set_alpha_to_one", "PNDM" not in kind))
        self.squared = _alphas_cumprod(config).clamp(MIN_ALPHA_SQUARED, 1 - MIN_ALPHA_SQUARED).numpy()

    def path(self, sampler: str, steps: int, left: int) -> Path:
        """The last `left` of `steps` noise levels. Raises TooManySteps where there are not so many to choose from."""
        total, every = len(self.squared), steps + (sampler == "dpm-solver-2m")
        if every > total and steps > 1:
            raise TooManySteps(
                f"steps = {steps}: this checkpoint was trained on {total} noise levels; with {sampler} at most "
                f"{max(1, total - (every - steps))} steps are allowed."
            )
        spacing = self._spacing or ("leading" if sampler in ("ddim", "pndm") else "linspace")
        if spacing == "trailing":
            times = np.round(np.arange(total, 0, -total / steps)) - 1
        elif spacing == "leading":
            times = np.minimum(np.arange(every)[::-1] * (total // every) + self._offset, total - 1)
        else:
            times = np.linspace(0, total - 1, every)[::-1]
            times = times if sampler.startswith("euler") else times.round()
        times = times[:steps][-left:].astype(np.float64)
        ratio = np.sqrt((1 - self.squared) / self.squared)
        noise = np.interp(times, np.arange(total), ratio)
        alpha = (1 + noise**2) ** -0.5
        ends_at_zero = sampler not in ("ddim", "pndm") or self._alpha_one
        end = (1.0, 0.0) if ends_at_zero else (float(self.squared[0] ** 0.5), float((1 - self.squared[0]) ** 0.5))
        start = float(noise[0] * alpha[0]) if sampler.startswith("euler") and spacing != "leading" else 1.0
        levels = (*zip(alpha.tolist(), (noise * alpha).tolist(), strict=True), end)
        return Path(tuple(times.tolist()), levels, start)


def _alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """(T,) float64 products of 1 - beta."""
    steps = _whole(config, "num_train_timesteps", 1000, 1)
    low, high = _beta(config.get("beta_start", 1e-4)), _beta(config.get("beta_end", 0.02))
    kind, trained = config.get("beta_schedule", "linear"), config.get("trained_betas")
    if trained is not None:
        if not isinstance(trained, list) or not 0 < len(trained) <= MAX_STEPS:
            raise ValueError(f"its trained_betas are {str(trained)[:40]!r}; a list of at most {MAX_STEPS} is read")
        betas = torch.tensor([_beta(beta) for beta in trained], dtype=torch.float64)
    elif kind == "scaled_linear":
        betas = torch.linspace(low**0.5, high**0.5, steps, dtype=torch.float64) ** 2
    elif kind == "linear":
        betas = torch.linspace(low, high, steps, dtype=torch.float64)
    elif kind == "squaredcos_cap_v2":  # Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17
        way = torch.arange(steps + 1, dtype=torch.float64) / steps
        root = torch.cos((way + 0.008) / 1.008 * torch.pi / 2)
        betas = (1 - (root[1:] / root[:-1]) ** 2).clamp(max=0.999)
    else:
        raise ValueError(
            f"its beta_schedule is {str(kind)[:40]!r}; linear, scaled_linear and squaredcos_cap_v2 are supported"
        )
    squared = torch.cumprod(1 - betas, dim=0)
    if not config.get("rescale_betas_zero_snr"):
        return squared
    root = squared.sqrt()  # Lin et al. 2023, algorithm 1
    if not root[0] > root[-1]:
        raise ValueError("its noise does not grow, so that it cannot be rescaled")
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


def _whole(config: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = config.get(key, default)
    if type(value) is not int or not least <= value <= MAX_STEPS:
        raise ValueError(f"its {key} is {str(value)[:40]!r}; a whole number from {least} to {MAX_STEPS} is needed")
    return value


def _beta(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"a share of noise is {str(value)[:40]!r}; a number from 0 to 1 is needed")
    return float(value)
