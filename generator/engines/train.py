"""Training as a job: a slot is a run, a step of it is a second of optimiser steps, its result is a checkpoint.

So a run waits, gives way, is saved, cancelled and goes on like a drawing. Its engine has no weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from characters.brief import Brief
from generator import registry
from generator.device import Host, peak_memory
from generator.engines.base import Step
from generator.learning.runs import Diverged, Progress, Run
from generator.learning.sheet import sheet
from generator.learning.stream.samples import CaptionStream, DataProblem
from generator.output.tensorboard import require_tensorboard
from generator.params.learning import LearningParams
from generator.registry.rows import Checkpoint

SECONDS = 1.0  # of optimiser steps at a time: cancel, drawings and signals wait for so long
VERSION = 1  # of a saved run
_OPEN_STREAM = "generator.learning.stream.opening:open_stream"
_RUNS = {
    "train": "generator.learning.caption_diffusion.run:CaptionRun",
    "train-lora": "generator.learning.lora.run:LoraRun",
}


class TooLargeToTrain(Brief, RuntimeError):
    """One picture at a time needs more memory than the device has."""


@dataclass
class RunSlot:
    """One run in progress; index: optimiser steps made."""

    params: LearningParams
    run: Run
    done: bool = False

    @property
    def index(self) -> int:
        return self.run.step

    @property
    def captions(self) -> tuple[str, ...]:
        """What its samples are drawn from, in order."""
        return self.run.captions

    def state_dict(self) -> dict[str, Any]:
        """All of the run; see Run.state_dict."""
        return {"version": VERSION, "run": self.run.state_dict()}

    def export(self, folder: Path, card: Mapping[str, Any]) -> list[Path]:
        """Write the model as it is now; its files, the first of which is the model. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        return self.run.export(folder, card)

    def close(self) -> None:
        """Let go of the data."""
        self.run.close()


Begin = Callable[[LearningParams], Run]


class Training:
    """The engine: runs side by side share nothing but the device, so they take turns within a step. No score.

    begin: makes the run of these parameters, at its first step.
    """

    def __init__(self, name: str, begin: Begin, device: str = "cpu") -> None:
        self.name, self._begin, self._device = name, begin, device
        self.micro_batch: int | None = None
        self.exact: bool | None = None

    @classmethod
    def load(cls, name: str, host: Host) -> Training:
        """The engine of this name in the registry; data are opened by what the host gives."""

        def begin(params: LearningParams) -> Run:
            opened = host.open_data(params.data)
            stream: CaptionStream = registry.imported(_OPEN_STREAM)(opened, validation_share=params.validation_share)
            try:
                run: Run = registry.imported(_RUNS[name])(params, stream, host.device, host.checkpoints_dir)
            except BaseException:
                stream.close()
                raise
            return run

        return cls(name, begin, host.device)

    def open(self, params: LearningParams) -> RunSlot:
        """A run at its first step. Raises DataProblem, TensorBoardMissing, and what `host.open_data` raises."""
        if params.tensorboard:
            require_tensorboard()
        return RunSlot(params, self._begin(params))

    def resume(self, params: LearningParams, state: dict[str, Any]) -> RunSlot:
        """A run that goes on with the losses it would have had uninterrupted. Raises ValueError for a state of another
        recipe."""
        if state.get("version") != VERSION:
            raise ValueError(f"saved state has version {state.get('version')!r}; this engine reads {VERSION}.")
        slot = RunSlot(params, self._begin(params))
        try:
            slot.run.load_state_dict(state["run"])
        except BaseException:
            slot.close()
            raise
        slot.done = slot.run.done
        return slot

    def advance(self, slots: Sequence[RunSlot]) -> list[Step]:
        """About a second of optimiser steps, all slots together. A run that cannot go on gets a Step with Diverged,
        DataProblem or TooLargeToTrain and stays as it was before. Raises ValueError for a slot that is done."""
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        return [self._step(slot, SECONDS / len(slots)) for slot in slots]

    def _step(self, slot: RunSlot, seconds: float) -> Step:
        trouble: Exception | None = None
        progress = Progress(slot.index)
        try:
            progress = measured(slot.run, slot.run.advance(seconds), self._device)
        except (Diverged, DataProblem) as error:
            trouble = error
        except (MemoryError, RuntimeError) as error:
            if not _no_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the tensors of the step that failed
            if not slot.run.smaller():
                trouble = TooLargeToTrain(
                    f"There is too little memory even for one picture at a time at step {slot.index:,}; take a smaller "
                    "model or smaller pictures, or another machine."
                )
        if trouble is not None:
            slot.done = True
            return Step(slot.index, slot.run.total_steps, None, float("nan"), {}, True, trouble)
        slot.done = slot.run.done
        image = None if progress.samples is None or not len(progress.samples) else sheet(progress.samples)
        total, losses = slot.run.total_steps, dict(progress.losses)
        return Step(slot.index, total, image, float("nan"), losses, slot.done, progress=progress)


def measured(run: Run, progress: Progress, device: str) -> Progress:
    """What a stretch has done, with the memory it took and the learning rate it ended with."""
    return replace(progress, memory=peak_memory(device), learning_rate=run.learning_rate)


def _no_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "out of memory" in text or "defaultcpuallocator" in text
    )


class Train:
    """Models of one's own from noise: `TrainParams`."""

    @classmethod
    def load(cls, checkpoint: Checkpoint | None, clips: Sequence[Checkpoint], host: Host) -> Training:
        return Training.load("train", host)


class TrainLora:
    """LoRAs of Stable Diffusion: `TrainLoraParams`."""

    @classmethod
    def load(cls, checkpoint: Checkpoint | None, clips: Sequence[Checkpoint], host: Host) -> Training:
        return Training.load("train-lora", host)
