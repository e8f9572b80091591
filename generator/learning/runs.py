"""The contract of a run: what an engine that trains drives, a second or two at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from characters.brief import Brief


class Diverged(Brief, RuntimeError):
    """The loss is no longer finite, or far above where it was: the run stops, its last good model is kept."""


@dataclass(frozen=True)
class Progress:
    """What a stretch of a run has done.

    step: optimiser steps made so far. losses: means over the stretch, by name ("train", and "validation" where it was
    measured). samples: (N, 3, H, W) float32 in [0, 1] on the CPU, of the run's fixed captions, where they were due.
    steps_per_s: of this stretch. memory: bytes at its peak on the device, or of this process where that is the CPU;
    None where that is not known. learning_rate: of the last step.
    """

    step: int
    losses: dict[str, float] = field(default_factory=dict)
    samples: torch.Tensor | None = None
    steps_per_s: float | None = None
    memory: int | None = None
    learning_rate: float | None = None


class Run(Protocol):
    """One model being trained: weights, averages, optimiser, random generators and the position in its data.

    step, total_steps: optimiser steps. done: the last one is made. captions: what its samples are drawn from, in order.
    learning_rate: of its last step, None before the first.
    """

    step: int
    total_steps: int
    done: bool

    @property
    def captions(self) -> tuple[str, ...]: ...

    @property
    def learning_rate(self) -> float | None: ...

    def advance(self, seconds: float) -> Progress:
        """Optimiser steps for about so long, at least one (of accumulated micro-batches, at least one of them).

        Raises Diverged, DataProblem, torch.OutOfMemoryError: the run is then as it was before the step.
        """
        ...

    def smaller(self) -> bool:
        """Halve the micro-batch and accumulate twice as many, with the same steps; False where it is one already."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on with the same losses as uninterrupted: tensors and plain values, on the CPU."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there. Raises ValueError for the state of another recipe."""
        ...

    def export(self, folder: Path, card: Mapping[str, Any] | None = None) -> list[Path]:
        """Write the averaged model as a checkpoint of its kind into the folder, and return its files, the first of
        which is the model. card: what is to be said of it inside, plain values."""
        ...

    def close(self) -> None:
        """Let go of the data."""
        ...
