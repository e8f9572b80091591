"""A run's losses, learning rate, speed and samples as events that TensorBoard reads; told what is missing where its
package is."""

from __future__ import annotations

import importlib.util
import io
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import write_folder
from PIL import Image

from executor.run_files import RunFiles
from generator.engines.base import Step
from generator.engines.train import Training
from generator.learning.runs import Progress
from generator.output import tensorboard
from generator.output.learning import COLUMNS, History, Row, read_history
from generator.params.train import TrainParams
from generator.training.__main__ import main as train
from tests.unit.learning.test_run_files import CountingRun
from tests.unit.test_training_command import command

installed = pytest.mark.skipif(importlib.util.find_spec("tensorboardX") is None, reason="tensorboardX is optional")
WANTED = TrainParams(data="dataset:a", name="a", steps=3, tensorboard=True)


def read(data: bytes) -> dict[str, list[tuple[int, Any]]]:
    """Steps and values by tag, out of the records of a file of events."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    found: dict[str, list[tuple[int, Any]]] = {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, check = data[12 : 12 + length], struct.unpack("<I", data[12 + length : 16 + length])[0]
        assert check == masked_crc32c(body)
        event = Event.FromString(body)
        for value in event.summary.value:
            said = value.image.encoded_image_string or value.simple_value
            found.setdefault(value.tag, []).append((event.step, said))
        data = data[16 + length :]
    return found


@installed
def test_a_run_leaves_its_losses_its_learning_rate_its_speed_and_its_samples_as_events(tmp_path: Path) -> None:
    files = RunFiles("train", WANTED, tmp_path, "cpu")
    for step in (1, 2):
        progress = Progress(step, {"train": 1 / step, "validation": 0.5}, torch.rand(2, 3, 8, 8), 4.0, 2**20, 0.25)
        image = torch.rand(3, 8, 16)
        files.on_step(Step(step, 3, image, 0.0, progress.losses, progress=progress))
        files.sheet(step, image)
    made = {file.kind: file for file in files.so_far(lambda event, error: pytest.fail(f"{event}: {error}"), film=True)}
    found = read(made["tensorboard"].data)
    assert found["loss/train"] == [(1, 1.0), (2, 0.5)] and found["loss/validation"] == [(1, 0.5), (2, 0.5)]
    assert found["learning_rate"] == [(1, 0.25), (2, 0.25)] and found["steps_per_s"] == [(1, 4.0), (2, 4.0)]
    assert [step for step, _ in found["samples"]] == [1, 2]
    with Image.open(io.BytesIO(found["samples"][0][1])) as sheet:
        assert sheet.size == (16, 8)


@installed
def test_the_command_writes_events_as_it_learns(tmp_path: Path) -> None:
    write_folder(tmp_path / "data")
    assert train(command(tmp_path, "--tensorboard")) == 0
    (file,) = (tmp_path / "runs" / "colours").glob("events.out.tfevents.*")
    found = read(file.read_bytes())
    assert found["loss/train"][-1][0] == 6 and len(found["samples"]) == 2
    assert all(memory > 50e6 for _, memory in found["memory_bytes"]), "the process itself, on a CPU"


def test_the_missing_package_is_named_before_anything_is_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tensorboard, "PACKAGE", "tensorboardX_that_is_missing")
    with pytest.raises(tensorboard.TensorBoardMissing, match="pip install"):
        Training("train", lambda params: CountingRun([])).open(WANTED)
    write_folder(tmp_path / "data")
    assert train(command(tmp_path, "--tensorboard")) == 2
    assert "pip install" in capsys.readouterr().err and not (tmp_path / "runs" / "colours").exists()


def test_a_run_that_goes_on_where_the_package_is_missing_loses_its_events_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "PACKAGE", "tensorboardX_that_is_missing")
    slot = Training("train", lambda params: CountingRun([])).resume(WANTED, {"version": 1, "run": {"step": 2}})
    assert slot.index == 2
    told: list[str] = []
    files = RunFiles("train", WANTED, tmp_path, "cpu")
    assert [file.kind for file in files.so_far(lambda event, error: told.append(event), film=True)] == ["history"]
    assert told == ["no_tensorboard"]


def test_histories_of_before_are_read_without_a_learning_rate() -> None:
    history = History([Row(1, 2.0, 0.5, None, 4.0, 8, 0.001)])
    assert read_history(history.csv()).rows == history.rows
    older = b"step,seconds,train,validation,steps_per_s,memory\n1,2,0.5,,4,8\n"
    assert read_history(older).rows == [Row(1, 2.0, 0.5, None, 4.0, 8)] and COLUMNS[-1] == "learning_rate"


def test_on_a_cpu_the_memory_of_a_run_is_what_its_process_took() -> None:
    (step,) = (training := Training("train", lambda params: CountingRun([]))).advance([training.open(PLAIN)])
    assert step.progress is not None and step.progress.memory is not None and step.progress.memory > 50e6
    assert step.progress.learning_rate == 0.5


PLAIN = TrainParams(data="dataset:a", name="a", steps=3)
