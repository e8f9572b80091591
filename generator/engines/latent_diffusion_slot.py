"""One picture in progress under latent diffusion: all that must be kept to go on with it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from generator.engines.base import saved_generator
from generator.guidance.targets import Targets
from generator.models.latent_unet import TRAIN_STEPS
from generator.params import LatentDiffusionParams
from generator.sampling.samplers import timesteps_between
from generator.starts.masks import Kept

STATE_VERSION = 1
TENSORS = ("z", "denoised", "draft", "blank", "text", "negative", "style", "known", "noise")  # of a slot
SAVED_AS = {"denoised": "clean", "negative": "avoided"}  # in a saved state, where that is another name


@dataclass
class LatentDiffusionSlot:
    """One picture in progress, with all its candidates (n).

    z, denoised, draft, blank: (n, C, g, g) float32, denoised the last step's x0; text: (n, W) unit vectors turned a
    little by the seed; negative: (n, W) or None; style: (n,) their numbers; index: steps made.
    kept, known, (1, C, g, g), and noise, (n, C, g, g): what stays of a picture, its z and the first noise.
    """

    params: LatentDiffusionParams
    targets: Targets
    generator: torch.Generator
    z: Tensor
    denoised: Tensor
    draft: Tensor
    blank: Tensor
    text: Tensor
    negative: Tensor | None
    style: Tensor
    index: int = 0
    done: bool = False
    kept: Kept | None = None
    known: Tensor | None = None
    noise: Tensor | None = None

    def hold(self, level: tuple[float, float]) -> None:
        """Puts what is kept back into z, noised to that level: (alpha, sigma)."""
        if self.kept is not None and self.known is not None and self.noise is not None:
            self.z = self.kept.hold(self.z, level[0] * self.known + level[1] * self.noise)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        tensors = {SAVED_AS.get(name, name): getattr(self, name) for name in TENSORS}
        return {
            "version": STATE_VERSION,
            "index": self.index,
            "done": self.done,
            "rng": self.generator.get_state(),
            "targets": self.targets.state_dict(),
            "kept": self.kept and self.kept.state_dict(),
            **{key: None if value is None else value.detach().cpu().clone() for key, value in tensors.items()},
        }

    @property
    def times(self) -> list[int]:
        """The timesteps (999 .. 0) at which the steps are made."""
        return timesteps_between(TRAIN_STEPS - 1, self.params.steps)[-self.total :]

    @property
    def total(self) -> int:
        return self.params.total_steps

    @classmethod
    def from_state(
        cls, params: LatentDiffusionParams, state: dict[str, Any], device: torch.device
    ) -> LatentDiffusionSlot:
        """The slot that `state_dict` was taken of, on `device`. Raises ValueError for a state of another version."""
        generator = saved_generator(state, STATE_VERSION)
        targets = Targets.from_state(state["targets"], device)
        saved = {name: state.get(SAVED_AS.get(name, name)) for name in TENSORS}
        tensors: Any = {name: None if value is None else value.to(device) for name, value in saved.items()}
        place = {name: state[name] for name in ("index", "done")}
        kept = Kept.from_state(state.get("kept"), device)
        return cls(params, targets, generator, **tensors, **place, kept=kept)
