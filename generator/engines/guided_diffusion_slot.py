"""One picture in progress under guided diffusion: all that must be kept to go on with it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.engines.base import saved_generator
from generator.guidance.targets import Targets
from generator.params import GuidedDiffusionParams
from generator.starts.masks import Kept

STATE_VERSION = 1


@dataclass
class GuidedDiffusionSlot:
    """One picture in progress.

    x: (1, 3, H, W) float32, the noisy picture at its present level; start: the picture begun with, in [-1, 1], or None;
    last: the guided x0 of the step before, (1, 3, H, W), which DPM-Solver++(2M) reads; index: steps made.
    draft: z of the draft that the prior drew to begin with, if it did. kept, noise: what stays of a picture and the
    first noise, (1, 3, H, W), where a mask says so.
    stages: the targets that hold from a step on, skipped steps counted; the first begins at 0.
    """

    params: GuidedDiffusionParams
    stages: list[tuple[int, Targets]]
    generator: torch.Generator
    x: Tensor
    start: Tensor | None
    last: Tensor | None = None
    index: int = 0
    done: bool = False
    draft: Tensor | None = None
    kept: Kept | None = None
    noise: Tensor | None = None

    @property
    def targets(self) -> Targets:
        """What the picture is to become at this step."""
        step = self.index + self.params.skipped
        return [targets for begins, targets in self.stages if begins <= step][-1]

    @property
    def moves(self) -> bool:
        """Whether there is noise left to take off."""
        return self.index < self.params.total_steps

    def hold(self, level: tuple[float, float]) -> None:
        """Puts what is kept back into x, noised to that level: (alpha, sigma)."""
        if self.kept is not None and self.noise is not None:
            self.x = self.kept.hold(self.x, level[0] * (self.kept.image[None] * 2 - 1) + level[1] * self.noise)

    @property
    def shape(self) -> torch.Size:
        return self.x.shape

    def mark(self) -> tuple[Any, ...]:
        """What a step changes before x moves; see `rewind`."""
        return self.index, self.generator.get_state(), self.done

    def rewind(self, mark: tuple[Any, ...]) -> None:
        """Undoes a step that broke off before x moved."""
        if self.index == mark[0]:
            self.generator.set_state(mark[1])
            self.done = mark[2]

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        tensors = {name: getattr(self, name) for name in ("x", "start", "last", "draft", "noise")}
        return {
            "version": STATE_VERSION,
            "index": self.index,
            "done": self.done,
            **{key: None if value is None else value.detach().cpu().clone() for key, value in tensors.items()},
            "kept": self.kept and self.kept.state_dict(),
            "rng": self.generator.get_state(),
            "targets": self.stages[0][1].state_dict(),
            "later": [(begins, targets.state_dict()) for begins, targets in self.stages[1:]],
        }

    @classmethod
    def from_state(
        cls, params: GuidedDiffusionParams, state: dict[str, Any], device: torch.device
    ) -> GuidedDiffusionSlot:
        """The slot that `state_dict` was taken of, on `device`. Raises ValueError for a state of another version."""
        generator = saved_generator(state, STATE_VERSION)
        tensors: dict[str, Any] = {
            key: None if state.get(key) is None else state[key].to(device, copy=True)
            for key in ("x", "start", "last", "draft", "noise")
        }
        kept = Kept.from_state(state.get("kept"), device)
        stages = [(0, state["targets"]), *state.get("later", [])]
        targets = [(begins, Targets.from_state(saved, device)) for begins, saved in stages]
        return cls(params, targets, generator, **tensors, index=state["index"], done=state["done"], kept=kept)
