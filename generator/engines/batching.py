"""One step of slots: which of them share a batch, and how it is taken back where it breaks off.

A product of more rows is summed in another order (another kernel, other blocks), so the last bits of a picture depend
on how many are made with it, and after some steps more than those. Where bytes are promised each picture is made alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch

from generator.engines.base import Step
from generator.precision import repeatable


class Rewindable(Protocol):
    """A slot that can undo a step that broke off."""

    done: bool

    @property
    def shape(self) -> torch.Size:
        """Of its latent; slots of one shape share a batch."""
        ...

    def mark(self) -> tuple[Any, ...]:
        """What a step changes before the latent moves; see `rewind`."""
        ...

    def rewind(self, mark: tuple[Any, ...]) -> None:
        """Undoes a step that broke off before the latent moved."""
        ...


S = TypeVar("S", bound=Rewindable)


def is_exact(exact: bool | None, device: torch.device) -> bool:
    """Whether each picture is made alone, so that it is the same bytes whoever is in progress beside it.

    exact: None for what suits the device: on a CPU a batch saves little, and is not used; on a GPU it saves most.
    """
    return device.type == "cpu" if exact is None else exact


def advance_by_shape(slots: Sequence[S], advance: Callable[[list[S]], list[Step]], alone: bool) -> list[Step]:
    """One step of each slot: `advance` is given those of one shape at a time, or one slot at a time.

    Raises ValueError for a slot that is done. A slot that has not moved when an error breaks the step off is as before.
    """
    if any(slot.done for slot in slots):
        raise ValueError("a slot that is done cannot be advanced.")
    groups: dict[Any, list[int]] = {}
    for i, slot in enumerate(slots):
        groups.setdefault(i if alone else slot.shape, []).append(i)
    steps: dict[int, Step] = {}
    before = [slot.mark() for slot in slots]
    try:
        with repeatable():
            for members in groups.values():
                steps.update(zip(members, advance([slots[i] for i in members]), strict=True))
    except BaseException:
        # Out of memory, say: whoever halves the batch and tries again makes the same picture.
        for slot, mark in zip(slots, before, strict=True):
            slot.rewind(mark)
        raise
    return [steps[i] for i in range(len(slots))]
