"""What a run that trains leaves behind: history, curves, samples per interval, their film, the model and its card."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from executor.outputs import File, Files, Say, json_document
from generator.images.encode import encode, encode_thumbnail, to_image
from generator.output.learning import History, Row, card_in_words, curves
from generator.output.samples import Samples, captioned
from generator.output.sources import NONE
from generator.output.tensorboard import TensorBoardMissing, events
from generator.params.learning import LearningParams
from generator.version import NAME, VERSION

if TYPE_CHECKING:
    import torch

    from generator.engines.base import Step

FILMED_SHARE = 20  # making the film of what is learnt so far takes at most so small a part of the time


class RunFiles(Files):
    """What one run has made so far: as Files, of another kind. `history` is the main loop's, the rest the writer's."""

    def __init__(self, engine: str, params: LearningParams, folder: Path, device: str) -> None:
        super().__init__(engine, params, NONE, folder, lambda _: b"")
        self.run, self.device, self.history = params, device, History()
        self.captions: tuple[str, ...] = params.captions
        self.spent_s, self.model, self.stopped = 0.0, list[Path](), ""
        self.pictures: list[Image.Image] = []  # the newest samples, one by one
        self.samples = Samples(folder, params.sample_every)

    def on_step(self, step: Step) -> None:
        progress = step.progress
        if progress is None:
            return
        losses = progress.losses
        train, validation = losses.get("train"), losses.get("validation")
        if progress.samples is not None:
            self.pictures = [to_image(np.asarray(one)) for one in progress.samples]
        if losses:
            told = progress.steps_per_s, progress.memory, progress.learning_rate
            self.history.add(Row(step.index, round(self.spent_s, 3), train, validation, *told))

    def shows(self, step: Step) -> bool:
        return True

    def sheet(self, index: int, image: torch.Tensor) -> None:
        """Keep the sheet of samples drawn after a step. Raises OSError."""
        self.samples.add(index, to_image(image))

    def so_far(self, say: Say, *, film: bool) -> Iterator[File]:
        """What others may watch while it learns."""
        yield File("history", self.history.csv())
        if self.samples.steps():
            yield File("samples", self.samples.archive())
            if film and (webp := self.samples.film(_telling(say), mp4=False).get("webp")):
                yield File("webp", webp)
        if film:
            yield from self._events(say)

    def _events(self, say: Say) -> Iterator[File]:
        """For TensorBoard, where that is wanted; an executor without its package leaves them out."""
        if not self.run.tensorboard:
            return
        try:
            began = time.time() - self.spent_s
            data = events(self.folder / "events.tfevents", began, self.history, self.samples.sheets())
        except (TensorBoardMissing, OSError) as error:
            return say("no_tensorboard", error)
        yield File("tensorboard", data)

    def finished(self, score: float | None, final: Image.Image | None, say: Say) -> Iterator[File]:
        """The model first. Raises ValueError where there is none."""
        if not self.model:
            raise ValueError("The run has ended without a model.")
        yield File("model", b"", path=self.model[0])
        yield from self._told(say)

    def unfinished(self, score: float | None) -> Iterator[File]:
        """Of a run that cannot go on: what it has learnt so far, where anything is."""
        if self.model:
            yield File("model", b"", path=self.model[0])
        if self.history.rows:
            yield from self._told(lambda event, error: None)

    def _told(self, say: Say) -> Iterator[File]:
        yield from self._shown(say)
        card = self.card()
        yield File("card", card_in_words(card))
        yield File("json", json_document({**self._settings(), "card": card}))

    def _shown(self, say: Say) -> Iterator[File]:
        yield from self.so_far(say, film=False)
        yield from self._events(say)
        yield File("curves", curves(self.history))
        if self.pictures:
            grid = captioned(self.pictures, self.captions)
            yield File("picture", encode(grid, "PNG", compress_level=6), grid.size)
            yield File("thumbnail", encode_thumbnail(grid), grid.size)
        for kind, data in self.samples.film(_telling(say)).items():
            yield File(kind, data)

    def card(self) -> dict[str, Any]:
        """What the model was made from and how, plain values."""
        best, last = self.history.best("validation"), self.history.rows[-1:]
        train = [row.train for row in last if row.train is not None]
        params = self.run
        return {
            "name": params.makes,
            "data": params.data,
            "licence_of_the_data": params.licence,
            "steps": last[0].step if last else 0,
            "stopped": self.stopped or None,
            "scores": {
                "train_loss": round(train[0], 6) if train else None,
                "best_validation_loss": None if best is None else round(float(best.validation or 0), 6),
                "best_validation_step": None if best is None else best.step,
            },
            "minutes": round(self.spent_s / 60, 2),
            "hardware": _hardware(self.device),
            "captions": list(self.captions),
            "recipe": {
                "engine": self.engine,
                **params.model_dump(mode="json", exclude={"captions", "data", "licence"}),
            },
            "made_with": f"{NAME} {VERSION}",
        }


def _telling(say: Say) -> Callable[[str, Exception], None]:
    return lambda kind, error: say(f"no_{kind}", error)


def _hardware(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device}: {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
