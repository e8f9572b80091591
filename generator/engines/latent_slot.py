"""One picture whose latent is optimised: all that must be kept to go on with it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from generator.engines.base import Step, not_finite, saved_generator
from generator.engines.optimisers import optimiser
from generator.guidance.targets import Targets
from generator.params import BigganClipParams, VqganClipParams
from generator.starts.masks import Kept
from generator.transfer import begin_to_cpu, to_device

STATE_VERSION = 1
P = TypeVar("P", VqganClipParams, BigganClipParams)
SMOOTHING = 0.8  # of the score that patience watches: random cutouts make single scores jump


@dataclass
class LatentSlot(Generic[P]):
    """One picture in progress.

    index: optimisation steps made on z; z, start, average: (1, ...) float32, average None without EMA, with the shape
    the engine gives its latent, a row for each start while there are several; leading: the row that is shown; best:
    greatest smoothed score so far, stale: steps since then. draft: z of what the prior drew to begin with, if it did.
    kept: what stays of a picture, where a mask says so. coarse: z is of a smaller picture, and is to `grow`.
    """

    params: P
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
    leading: int = 0
    draft: Tensor | None = None
    kept: Kept | None = None
    coarse: bool = False

    @classmethod
    def begin(
        cls,
        params: P,
        targets: Targets,
        generator: torch.Generator,
        z: Tensor,
        start: Tensor,
        draft: Tensor | None = None,
    ) -> LatentSlot[P]:
        """A slot at step 0, with the optimiser its parameters ask for."""
        z = z.clone().requires_grad_()
        moves = optimiser(params.optimiser, z, params.learning_rate)
        average = z.detach().clone() if params.ema > 0 else None
        return cls(params, targets, generator, z, start, average, moves, draft=draft)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on elsewhere; torch.load(weights_only=True) reads it back."""
        state = {
            "version": STATE_VERSION,
            "index": self.index,
            "done": self.done,
            "z": self.z,
            "start": self.start,
            "average": self.average,
            "draft": self.draft,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.generator.get_state(),
            "targets": self.targets.state_dict(),
            "patience": [self.smoothed, self.best, float(self.stale)],
            "kept": self.kept and self.kept.state_dict(),
            "coarse": self.coarse,
        }
        saved: dict[str, Any] = _on_cpu(state)
        return saved

    @property
    def shape(self) -> torch.Size:
        return self.z.shape

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
        out_of_patience = 0 < self.params.patience <= self.stale and not self.coarse
        self.done = self.index >= self.params.total_steps or out_of_patience

    @torch.no_grad()
    def keep_leading(self) -> None:
        """Goes on with one of several starts alone, and with the moments its optimiser has of it."""
        row, state = [self.leading], self.optimiser.state_dict()
        z = self.z[row].requires_grad_()
        moves = optimiser(self.params.optimiser, z, self.params.learning_rate)
        moments = {
            name: value[row] if isinstance(value, Tensor) and value.shape == self.z.shape else value
            for name, value in state["state"].get(0, {}).items()
        }
        moves.load_state_dict({**state, "state": {0: moments} if moments else {}})
        self.z, self.optimiser, self.leading = z, moves, 0
        self.start, self.average = self.start[row], None if self.average is None else self.average[row]

    @torch.no_grad()
    def grow(self, size: tuple[int, int]) -> None:
        """Goes on with z of so many rows and columns, with new moments, and with a patience that begins there."""
        self.start = F.interpolate(self.start, size, mode="bilinear")
        self.average = None if self.average is None else F.interpolate(self.average, size, mode="bilinear")
        self.z = F.interpolate(self.z.detach(), size, mode="bilinear").requires_grad_()
        self.optimiser = optimiser(self.params.optimiser, self.z, self.params.learning_rate)
        self.coarse, self.best, self.stale = False, -2.0, 0

    @torch.no_grad()
    def update(self, low: Tensor, high: Tensor) -> None:
        """One optimiser step on z with the gradient found; z stays between `low` and `high`."""
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.z.copy_(self.z.clamp(low, high))
        if self.kept is not None:
            self.z.copy_(self.kept.hold(self.z, self.start))
        if self.average is not None:
            # Divided by what the weights sum to so far (as Adam's moments are): the start does not linger for long.
            self.average.lerp_(self.z, (1 - self.params.ema) / (1 - self.params.ema ** (self.index + 1)))
        self.index += 1


def resume(params: P, state: dict[str, Any], device: torch.device) -> LatentSlot[P]:
    """A slot that goes on from `state_dict()`, on this device. Raises ValueError for a state of another kind."""
    generator = saved_generator(state, STATE_VERSION)
    targets = Targets.from_state(state["targets"], device)
    slot = LatentSlot.begin(params, targets, generator, state["z"].to(device), state["start"].to(device))
    slot.index, slot.done = state["index"], state["done"]
    slot.optimiser.load_state_dict(state["optimiser"])
    slot.average, slot.draft = (
        None if state.get(name) is None else state[name].to(device, copy=True) for name in ("average", "draft")
    )
    slot.smoothed, slot.best, stale = state["patience"]
    slot.stale = int(stale)
    slot.kept, slot.coarse = Kept.from_state(state.get("kept"), device), state.get("coarse", False)
    return slot


def settled(slots: list[LatentSlot[P]], images: Tensor, scores: Tensor, terms: dict[str, Tensor]) -> list[Step]:
    """The steps of these slots, still without pictures: images (B, 3, H, W), scores and each of the terms (B,).

    A slot whose numbers are no longer finite is done, its Step has error=NotFinite.
    """
    finite = torch.stack([_finite(slot.z, slot.z.grad, image) for slot, image in zip(slots, images, strict=True)])
    table = torch.stack([finite.float(), scores, *terms.values()], dim=1).tolist()  # one wait for the device
    steps = []
    for slot, (whole, score, *values) in zip(slots, table, strict=True):
        if not whole or not all(abs(value) < float("inf") for value in (score, *values)):
            settings = f"learning_rate {slot.params.learning_rate:g}, {slot.params.optimiser}"
            steps.append(not_finite(slot, settings, "learning_rate"))
        else:
            slot.settle(score)
            losses = dict(zip(terms, values, strict=True))
            steps.append(Step(slot.index, slot.params.total_steps, None, score, losses, slot.done))
    return steps


def scored(
    slots: list[LatentSlot[P]],
    images: Tensor,
    scores: Tensor,
    terms: dict[str, Tensor],
    decode: Callable[[list[LatentSlot[P]]], Tensor],
) -> list[Step]:
    """As `settled`, with the pictures that are due, on the CPU; `decode` makes those of the moving averages.

    The pictures are on their way before the scores are waited for, so that the device is waited for once.
    """
    due = [b for b, s in enumerate(slots) if s.index % s.params.save_every == 0 or s.index >= s.params.total_steps]
    shown = _pictures(slots, images, decode, due, begin_to_cpu)
    steps = settled(slots, images, scores, terms)
    out_of_patience = [b for b, step in enumerate(steps) if step.done and not step.error and b not in shown]
    shown |= _pictures(slots, images, decode, out_of_patience, Tensor.cpu)
    for b, picture in shown.items():
        if not steps[b].error:
            steps[b] = replace(steps[b], image=picture.clamp(0, 1).contiguous())
    return steps


@torch.no_grad()
def _pictures(
    slots: list[LatentSlot[P]],
    images: Tensor,
    decode: Callable[[list[LatentSlot[P]]], Tensor],
    due: list[int],
    fetch: Callable[[Tensor], Tensor],
) -> dict[int, Tensor]:
    """Those of the slots that are due, by their numbers, as `fetch` brings them from the device."""
    if not due:
        return {}
    shown = images.detach()
    averages = [b for b in due if slots[b].average is not None]
    if averages:
        shown = shown.clone()
        shown[to_device(averages, images.device)] = decode([slots[b] for b in averages])
    if len(due) < len(slots):
        shown = shown[to_device(due, images.device)]
    return dict(zip(due, fetch(shown), strict=True))


def _finite(*tensors: Tensor | None) -> Tensor:
    return torch.stack([t.detach().isfinite().all() for t in tensors if t is not None]).all()


def _on_cpu(state: Any) -> Any:
    """The same nested lists and dicts with copies of their tensors on the CPU."""
    if isinstance(state, Tensor):
        return state.detach().cpu().clone()
    if isinstance(state, dict):
        return {key: _on_cpu(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_on_cpu(value) for value in state)
    return state
