"""What a run has measured and drawn as events for TensorBoard, where the package tensorboardX is installed.

A file of events is a row of records with checksums (tensorflow/core/util/event.proto); TensorBoard finds it in a folder
by "tfevents" in its name.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from characters.brief import Brief
from generator.output.learning import History, Row

PACKAGE = "tensorboardX"
# The name in TensorBoard of each column of a history.
TAGS = {
    "train": "loss/train",
    "validation": "loss/validation",
    "learning_rate": "learning_rate",
    "steps_per_s": "steps_per_s",
    "memory": "memory_bytes",
}


class TensorBoardMissing(Brief, RuntimeError):
    """The package that writes events is not installed; one sentence that names it."""


def require_tensorboard() -> None:
    """Raises TensorBoardMissing."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise TensorBoardMissing(
            f"tensorboard = True needs the package {PACKAGE} on the machine that trains (pip install {PACKAGE}); "
            "install it there, or leave the setting out."
        )


class Events:
    """A file of events that is written as a run learns. Raises TensorBoardMissing, OSError."""

    def __init__(self, path: Path, at: float) -> None:
        """at: when the run began, in UTC s."""
        require_tensorboard()
        from tensorboardX.record_writer import RecordWriter

        self._at, self._records = at, RecordWriter(str(path))
        self._write(0.0, file_version="brain.Event:2")

    def add(self, row: Row) -> None:
        """What one stretch of the run has measured."""
        values = [
            {"tag": tag, "simple_value": float(value)}
            for name, tag in TAGS.items()
            if (value := getattr(row, name)) is not None
        ]
        self._write(row.seconds, step=row.step, summary={"value": values})

    def add_samples(self, step: int, seconds: float, png: bytes) -> None:
        """The sheet of samples drawn after a step, so many s of the device after the run began."""
        with Image.open(io.BytesIO(png)) as sheet:
            size = {"width": sheet.width, "height": sheet.height}
        picture = {**size, "colorspace": 3, "encoded_image_string": png}
        self._write(seconds, step=step, summary={"value": [{"tag": "samples", "image": picture}]})

    def flush(self) -> None:
        """TensorBoard sees what was added so far."""
        self._records.flush()

    def close(self) -> None:
        """Nothing more is added."""
        self._records.close()

    def _write(self, seconds: float, **told: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._records.write(Event(wall_time=self._at + seconds, **told).SerializeToString())


def events(path: Path, at: float, history: History, sheets: Iterable[tuple[int, bytes]]) -> bytes:
    """All of a run as one file of events, written at `path` first. Raises as Events.

    at: when it began, in UTC s; sheets: PNGs, each with the step it was drawn at.
    """
    made = Events(path, at)
    try:
        for row in history.rows:
            made.add(row)
        seconds = {row.step: row.seconds for row in history.rows}
        for step, png in sheets:
            made.add_samples(step, seconds.get(step, 0.0), png)
    finally:
        made.close()
    return path.read_bytes()
