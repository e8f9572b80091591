"""One picture in progress under VQGAN + CLIP: all that must be kept to go on with it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.guidance import Targets
from generator.params import VqganClipParams

STATE_VERSION = 1
SMOOTHING = 0.8  # of the score that patience watches: random cutouts make single scores jump


@dataclass
class VqganClipSlot:
    """One picture in progress.

    index: optimisation steps made on z; z, start, average: (1, e_dim, h, w) float32, average None without EMA;
    best: greatest smoothed score so far, stale: steps since then.
    """

    params: VqganClipParams
    targets: Targets
    generator: torch.Generator
    z: Tensor
    start: Tensor
    average: Tensor | None
    optimiser: torch.optim.Optimizer
    index: int = 0
    done: bool = False
    smoothed: float = 0.0
    best: float = -2.0
    stale: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        state = {
            "version": STATE_VERSION,
            "index": self.index,
            "done": self.done,
            "z": self.z,
            "start": self.start,
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.generator.get_state(),
            "targets": self.targets.state_dict(),
            "patience": [self.smoothed, self.best, float(self.stale)],
        }
        return _on_cpu(state)

    def mark(self) -> tuple[Any, ...]:
        """What a step changes before z moves; see `rewind`."""
        return self.index, self.generator.get_state(), self.done, self.smoothed, self.best, self.stale

    def rewind(self, mark: tuple[Any, ...]) -> None:
        """Undoes a step that broke off before z moved."""
        if self.index == mark[0]:
            self.generator.set_state(mark[1])
            self.done, self.smoothed, self.best, self.stale = mark[2:]
            self.optimiser.zero_grad(set_to_none=True)

    def settle(self, score: float) -> None:
        """Takes note of a score, and marks the slot done after its last step or when patience is at an end."""
        self.smoothed = score if self.index == 0 else SMOOTHING * self.smoothed + (1 - SMOOTHING) * score
        self.stale = 0 if self.smoothed > self.best else self.stale + 1
        self.best = max(self.best, self.smoothed)
        out_of_patience = 0 < self.params.patience <= self.stale
        self.done = self.index >= self.params.total_steps or out_of_patience

    @torch.no_grad()
    def update(self, low: Tensor, high: Tensor) -> None:
        """One optimiser step on z with the gradient found; z stays within the codebook's range per channel."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.z.copy_(self.z.clamp(low, high))
        if self.average is not None:
            self.average.lerp_(self.z, 1 - self.params.ema)
        self.index += 1


def _on_cpu(state: Any) -> Any:
    """The same nested lists and dicts with copies of their tensors on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().cpu().clone()
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_on_cpu(value) for value in state)
    return state
