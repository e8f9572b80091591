"""What every run does around a step of its optimiser: the learning rate, whether it goes well, and what is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from generator.learning.runs import Diverged

SMOOTHING = 0.98
FAR = 4.0  # times the lowest smoothed loss, where the run has diverged
NOTHING_LEARNT = 1.5  # of a loss: more than an answer of zeros has


def rate(step: int, *, steps: int, warmup_steps: int, decay: Literal["constant", "cosine"]) -> float:
    """Share of the learning rate at a step, from 0: a linear warm-up, then level or a cosine down to 2 %."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if decay == "constant":
        return 1.0
    way = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, way)))


@dataclass(frozen=True)
class Trend:
    """The loss, smoothed over the steps, and the lowest it was."""

    smoothed: float = 0.0
    lowest: float = math.inf

    def after(self, loss: float, norm: float, *, step: int, learning_rate: float) -> Trend:
        """With the loss of this step and the norm of its gradients. Raises Diverged."""
        told = f"(learning_rate {learning_rate:g})"
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise Diverged(
                f"The loss is no longer finite at step {step} {told}. Try a smaller learning_rate, or precision fp32."
            )
        smoothed = loss if step == 0 else SMOOTHING * self.smoothed + (1 - SMOOTHING) * loss
        if smoothed > max(NOTHING_LEARNT, FAR * self.lowest):
            raise Diverged(
                f"The loss is {smoothed:.3g} at step {step}, where it was {self.lowest:.3g} before {told}. Try a "
                "smaller learning_rate, or a longer warm-up."
            )
        return Trend(smoothed, min(self.lowest, smoothed))


def copied(state: Any) -> Any:
    """The same nested lists and dicts with copies of their tensors on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: copied(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(copied(value) for value in state)
    return state
