"""The contract of an engine: batch-first, slots that join and leave between any two steps.

engine = load("vqgan-clip", "mini", ("mini",), Host("cpu", folder, read_image))
slot = engine.open(params)                   # one picture in progress
steps = engine.advance([slot, other])        # one step of each, in one batched forward and backward
state = slot.state_dict(); slot = engine.resume(params, state)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from characters.brief import Brief
from generator.learning.runs import Progress
from generator.params import JobParams


class NotFinite(Brief, RuntimeError):
    """A loss or latent became NaN or infinite: this picture stops, the others of its batch go on."""


@dataclass(frozen=True)
class Step:
    """What one step of one slot made.

    index: steps made so far (0 is the start); total: steps planned.
    image: (3, H, W) float32 in [0, 1] on the CPU, or None where no frame is due at this step.
    score: cosine similarity to the prompts under the guiding CLIP, in [-1, 1]; NaN where there is nothing to score.
    losses: loss terms by name. done: the slot has made its last step.
    error: set when this slot cannot go on (NotFinite); image is then None and the last good one stays.
    result: what a job that makes no picture has found, plain values for JSON; set with its last step.
    progress: of a run that trains, what it has measured; image is then the sheet of its samples, where they were due.
    draft: how the draft it began with came to be, for its film: (F, 3, H, W) as `image`, with the last step.
    """

    index: int
    total: int
    image: torch.Tensor | None
    score: float
    losses: dict[str, float] = field(default_factory=dict)
    done: bool = False
    error: Exception | None = None
    result: dict[str, Any] | None = None
    progress: Progress | None = None
    draft: torch.Tensor | None = None


class Slot(Protocol):
    """One picture in progress: its latent, optimiser moments, random generators and step."""

    params: Any  # of the engine's own class, a JobParams
    index: int
    done: bool

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on elsewhere: tensors and plain values only, on the CPU."""
        ...


class Engine(Protocol):
    """Weights on a device. `name` is the registry's; `micro_batch` is the number of cutouts per CLIP pass.

    exact: whether a picture is the same bytes whoever shares its batch, which costs what a batch saves; None: on CPUs,
    where that is little. Both may be changed between any two steps.
    """

    micro_batch: int | None
    exact: bool | None

    def open(self, params: JobParams) -> Slot: ...

    def resume(self, params: JobParams, state: dict[str, Any]) -> Slot: ...

    def advance(self, slots: Sequence[Slot]) -> list[Step]: ...


def not_finite(slot: Slot, settings: str, advice: str) -> Step:
    """The last Step of a slot whose numbers are no longer finite: it is done, and the others of its batch go on."""
    slot.done, total = True, slot.params.total_steps
    error = NotFinite(
        f"The numbers stopped being finite at step {slot.index} of {total} ({settings}). Try a smaller {advice}."
    )
    return Step(slot.index, total, None, float("nan"), {}, True, error)


def saved_generator(state: dict[str, Any], version: int) -> torch.Generator:
    """The random generator of a saved slot. Raises ValueError for a state of another version."""
    if state.get("version") != version:
        raise ValueError(f"saved state has version {state.get('version')!r}; this engine reads {version}.")
    generator = torch.Generator()
    generator.set_state(state["rng"])
    return generator


def generate(engine: Engine, params: JobParams) -> Iterator[Step]:
    """One picture from start to end; raises the slot's error, if any."""
    slot = engine.open(params)
    while not slot.done:
        step = engine.advance([slot])[0]
        if step.error:
            raise step.error
        yield step


def generate_all(engine: Engine, waiting: Iterable[JobParams], together: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Many pictures, so many of them in progress at once: which one is finished, and its picture (3, H, W).

    Raises a slot's error, if any.
    """
    left = iter(enumerate(waiting))
    running: list[tuple[int, Slot]] = []
    while True:
        while len(running) < together and (following := next(left, None)):
            running.append((following[0], engine.open(following[1])))
        if not running:
            return
        steps = engine.advance([slot for _, slot in running])
        for (number, slot), step in zip(running, steps, strict=True):
            if step.error:
                raise step.error
            if slot.done:
                assert step.image is not None
                yield number, step.image
        running = [(number, slot) for number, slot in running if not slot.done]
