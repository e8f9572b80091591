"""Upscaling as a job: the engine whose every step upscales one tile of each picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from characters.brief import Brief
from generator.device import Host
from generator.engines.base import NotFinite, Step
from generator.images.convert import to_tensor
from generator.params import UpscaleParams
from generator.precision import repeatable
from generator.registry.rows import Checkpoint
from generator.upscaler.model import Progress, Upscaler, load_upscaler


class OtherSize(Brief, ValueError):
    """The picture is not as large as the job says."""


@dataclass
class UpscaleSlot:
    """One picture in progress; index: tiles done."""

    params: UpscaleParams
    tiles: Iterator[Progress]
    index: int = 0
    done: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Nothing: a tile takes seconds at most and half a large picture is hundreds of MB, so it starts again."""
        return {}


class Upscale:
    """The engine: one upscaler on a device.

    The pictures of a batch may differ in size, so their tiles are upscaled one after the other within a step.
    The last Step of a slot, and only that, has the picture. There is no score.
    """

    name = "upscale"

    def __init__(self, checkpoint: Checkpoint, clips: Sequence[Checkpoint], host: Host) -> None:
        """Raises UnsupportedUpscaler, CheckpointMissing, CheckpointDamaged."""
        self._upscaler = self.upscaler_of(checkpoint, host)
        self._read_image = host.read_image
        self.micro_batch: int | None = None
        self.exact: bool | None = None

    @staticmethod
    def upscaler_of(checkpoint: Checkpoint, host: Host) -> Upscaler:
        """The model of a checkpoint. Raises as the engine does."""
        return load_upscaler(checkpoint.name, host.device, host.checkpoints_dir)

    def open(self, params: UpscaleParams) -> UpscaleSlot:
        """Reads the picture. Raises OtherSize, and what `read_image` raises."""
        image = self._read_image(params.picture)
        if image.size != (params.width, params.height):
            raise OtherSize(
                f"The picture has {image.width} x {image.height} px, not {params.width} x {params.height} px "
                "as this job was told; start it again from the picture."
            )
        return UpscaleSlot(params, self._upscaler.steps(to_tensor(image)[None], params.tile))

    def resume(self, params: UpscaleParams, state: dict[str, Any]) -> UpscaleSlot:
        """A slot at its first tile; see `UpscaleSlot.state_dict`."""
        return self.open(params)

    def advance(self, slots: Sequence[UpscaleSlot]) -> list[Step]:
        """One tile of each slot. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        with repeatable():
            return [self._step(slot) for slot in slots]

    def _step(self, slot: UpscaleSlot) -> Step:
        progress = next(slot.tiles)
        slot.index, slot.done = progress.done, progress.pictures is not None
        image = None if progress.pictures is None else progress.pictures[0].float().cpu()
        if image is not None and not torch.isfinite(image).all():
            error = NotFinite("The upscaler's numbers stopped being finite; try another model.")
            return Step(slot.index, progress.total, None, float("nan"), {}, True, error)
        return Step(slot.index, progress.total, image, float("nan"), {}, slot.done)
