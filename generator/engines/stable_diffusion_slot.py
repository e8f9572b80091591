"""One picture in progress under Stable Diffusion: all that must be kept to go on with it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from generator.engines.base import saved_generator
from generator.engines.loras import Weighed
from generator.guidance.targets import Targets
from generator.params import LatentDiffusionParams

STATE_VERSION = 1
_TENSORS = {  # of a slot, by the keys of a saved state
    **{name: name for name in ("z", "text", "pooled", "held", "noise", "known", "picture", "mask")},
    **{"clean": "denoised", "avoided": "negative", "avoided_pooled": "negative_pooled"},
}


@dataclass
class StableDiffusionSlot:
    """One picture with all its candidates (n), C channels of h x w latents.

    z, noise (the first one), denoised (the last x0): (n, C, h, w) float32; text, negative: (77, W); pooled: (P,).
    history: the last three noise predictions, and held: the z before the last step, both for PNDM.
    known, (1, C, h, w), picture, (3, H, W) uint8, and mask, (1, H, W) in [0, 1]: where only a part is drawn anew.
    loras: those it is drawn with; the job names them, so that a saved state does not hold them.
    score, loss, best: of the last frame, and which candidate it was.
    """

    params: LatentDiffusionParams
    targets: Targets
    generator: torch.Generator
    z: Tensor
    text: Tensor
    pooled: Tensor
    negative: Tensor
    negative_pooled: Tensor
    denoised: Tensor | None = None
    held: Tensor | None = None
    noise: Tensor | None = None
    known: Tensor | None = None
    picture: Tensor | None = None
    mask: Tensor | None = None
    history: list[Tensor] = field(default_factory=list)
    loras: Weighed = ()
    score: float = 0.0
    loss: float = 0.0
    index: int = 0
    done: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        tensors = {key: getattr(self, name) for key, name in _TENSORS.items()}
        return {
            "version": STATE_VERSION,
            "place": {name: getattr(self, name) for name in ("score", "loss", "index", "done")},
            "rng": self.generator.get_state(),
            "targets": self.targets.state_dict(),
            "history": [eps.cpu().clone() for eps in self.history],
            "tensors": {key: None if value is None else value.cpu().clone() for key, value in tensors.items()},
        }

    @classmethod
    def from_state(
        cls, params: LatentDiffusionParams, state: dict[str, Any], device: torch.device, loras: Weighed = ()
    ) -> StableDiffusionSlot:
        """The slot that `state_dict` was taken of, on `device`. Raises ValueError for a state of another version."""
        generator = saved_generator(state, STATE_VERSION)
        tensors: dict[str, Any] = {
            _TENSORS[key]: None if value is None else value.to(device, copy=True)
            for key, value in state["tensors"].items()
        }
        history = [eps.to(device, copy=True) for eps in state["history"]]
        targets = Targets.from_state(state["targets"], device)
        return cls(params, targets, generator, history=history, loras=loras, **tensors, **state["place"])
