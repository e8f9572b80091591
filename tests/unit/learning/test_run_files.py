"""What a run leaves behind, and what its engine does where memory or the data run out."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from db.artefacts import Store
from executor.models import _unpack, packed
from executor.states import RunStates
from generator.checkpoints.errors import CheckpointDamaged
from generator.engines.train import TooLargeToTrain, Training
from generator.learning.runs import Diverged, Progress
from generator.learning.sheet import GAP, sheet
from generator.learning.stream.samples import DataProblem
from generator.output.learning import MAX_ROWS, History, Row, card_in_words, curves, read_history
from generator.output.samples import Samples, captioned
from generator.params.train import TrainParams


class CountingRun:
    """A run whose every step adds one to a number; raises what it is given, once each."""

    def __init__(self, troubles: list[Exception], micro: int = 4) -> None:
        self.step, self.total_steps, self.done, self.captions = 0, 3, False, ("a cat",)
        self.learning_rate = 0.5
        self.troubles, self.micro, self.closed = troubles, micro, False

    def advance(self, seconds: float) -> Progress:
        if self.troubles:
            raise self.troubles.pop(0)
        self.step += 1
        self.done = self.step >= self.total_steps
        return Progress(self.step, {"train": 1 / self.step}, torch.rand(3, 3, 8, 8) if self.step == 2 else None)

    def smaller(self) -> bool:
        self.micro //= 2
        return self.micro >= 1

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]

    def export(self, folder: Path, card: Mapping[str, Any] | None = None) -> list[Path]:
        return [folder / "model.safetensors"]

    def close(self) -> None:
        self.closed = True


def engine(*troubles: Exception, micro: int = 4) -> tuple[Training, CountingRun]:
    run = CountingRun(list(troubles), micro)
    return Training("train", lambda params: run), run


PARAMS = TrainParams(data="dataset:a", name="a", steps=3)


def test_a_run_out_of_memory_goes_on_with_smaller_passes_and_loses_no_step() -> None:
    training, run = engine(torch.OutOfMemoryError("out of memory"), MemoryError())
    slot = training.open(PARAMS)
    steps = []
    while not slot.done:
        steps += training.advance([slot])
    assert [step.index for step in steps] == [0, 0, 1, 2, 3] and run.micro == 1
    assert all(step.error is None for step in steps)
    assert steps[3].image is not None and steps[3].losses == {"train": 0.5}


def test_a_run_that_needs_too_much_for_one_picture_says_what_to_change() -> None:
    training, _ = engine(RuntimeError("DefaultCPUAllocator: can't allocate memory"), micro=1)
    (step,) = training.advance([training.open(PARAMS)])
    assert isinstance(step.error, TooLargeToTrain) and "smaller model" in str(step.error) and step.done


@pytest.mark.parametrize("trouble", [Diverged("The loss is nan."), DataProblem("The server is gone.")])
def test_a_run_that_cannot_go_on_stops_where_it_was(trouble: Exception) -> None:
    training, run = engine(trouble)
    (step,) = training.advance([training.open(PARAMS)])
    assert step.error is trouble and step.done and run.step == 0
    broken, _ = engine(ZeroDivisionError("a mistake"))
    with pytest.raises(ZeroDivisionError):
        broken.advance([broken.open(PARAMS)])


def test_a_state_of_another_version_is_refused_and_its_data_are_closed() -> None:
    training, run = engine()
    with pytest.raises(ValueError, match="version 7"):
        training.resume(PARAMS, {"version": 7})
    slot = training.open(PARAMS)
    training.advance([slot])
    assert training.resume(PARAMS, slot.state_dict()).index == 1
    assert not run.closed


def test_samples_lie_side_by_side_in_their_order() -> None:
    samples = torch.stack([torch.full((3, 8, 6), n / 10) for n in range(5)])
    made = sheet(samples)
    assert made.shape == (3, 2 * (8 + GAP) + GAP, 3 * (6 + GAP) + GAP)
    assert made[0, GAP, GAP] == 0 and made[0, GAP, GAP + 6 + GAP] == pytest.approx(0.1)
    assert made[0, GAP + 8 + GAP, GAP] == pytest.approx(0.3) and made[0, -1, -1] == 1


def test_the_history_is_read_back_stays_bounded_and_forgets_what_is_learnt_again() -> None:
    history = History()
    for step in range(1, 2 * MAX_ROWS):
        history.add(Row(step, step / 2, 1 / step, 0.5 if step % 1000 == 0 else None, 2.0, 1 << 20))
    assert len(history.rows) <= MAX_ROWS
    assert [row.step for row in history.rows if row.validation is not None] == list(range(1000, 2 * MAX_ROWS, 1000))
    history.add(Row(500, 1.0, 0.1))
    assert history.rows[-1].step == 500 and all(row.step <= 500 for row in history.rows)
    again = read_history(history.csv())
    assert [row.step for row in again.rows] == [row.step for row in history.rows] and again.csv() == history.csv()
    assert History.of(history.plain()).csv() == history.csv()
    with pytest.raises(ValueError):
        read_history(b"a,b\n1,2\n")


@pytest.mark.parametrize("rows", [[], [Row(1, 1.0)], [Row(1, 1.0, 0.5)], [Row(1, 1.0, 0.5, 0.4), Row(9, 2.0, 0.1)]])
def test_curves_are_drawn_of_whatever_was_measured(rows: list[Row]) -> None:
    Image.open(io.BytesIO(curves(History(rows)))).verify()


def test_a_card_shows_texts_as_they_are() -> None:
    words = card_in_words({"name": "a/b", "licence": "[click](http://evil) <b>", "scores": {"loss": 1.5, "x": None}})
    assert "\\[click\\](http://evil) \\<b\\>" in words.decode() and "- loss: 1.5" in words.decode()


def test_every_sample_stands_above_its_caption_however_long() -> None:
    samples = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    made = captioned(samples, ["a cat " * 2000, "a dog", "\N{GRINNING FACE}"])
    assert made.width < 2200 and made.height < 2200 and made.getpixel((20, 20)) == (255, 0, 0)


def test_sheets_go_on_on_another_machine_and_strange_archives_are_refused(tmp_path: Path) -> None:
    ours, theirs = Samples(tmp_path / "a", 2), Samples(tmp_path / "b", 2)
    for step in (2, 4, 6):
        ours.add(step, Image.new("RGB", (8, 8), (step, 0, 0)))
    theirs.restore(ours.archive(), before=4)
    assert theirs.steps() == [2, 4], "what came after the state is drawn again"
    theirs.add(6, Image.new("RGB", (8, 8), (6, 0, 0)))
    assert theirs.archive() == ours.archive()
    assert theirs.film(lambda kind, error: None, mp4=False).keys() == {"gif", "webp"}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as hostile:
        hostile.writestr("../000001.png", b"x")
    theirs.restore(file.getvalue(), before=9)
    assert theirs.steps() == [2, 4, 6] and not (tmp_path / "000001.png").exists()
    with pytest.raises(ValueError):
        theirs.restore(b"no zip", before=9)


def test_a_model_in_several_files_travels_as_one_and_brings_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    (folder / "unet" / "weights.safetensors").write_bytes(b"w")
    archive = packed([folder / "model_index.json", folder / "unet" / "weights.safetensors"], folder)
    _unpack(archive, tmp_path / "there")
    assert (tmp_path / "there/unet/weights.safetensors").read_bytes() == b"w"
    for name in ("../evil", "/evil", "a/../../evil"):
        with zipfile.ZipFile(tmp_path / "hostile.zip", "w") as hostile:
            hostile.writestr(name, b"x")
        with pytest.raises(CheckpointDamaged):
            _unpack(tmp_path / "hostile.zip", tmp_path / "there2")
    assert not (tmp_path / "evil").exists() and not (tmp_path / "there2").exists()


def test_large_states_are_kept_in_parts_the_last_two_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from executor import states

    monkeypatch.setattr(states, "PART", 10_000)

    class There:
        store = Store(f"file://{tmp_path}/store")

        def __init__(self) -> None:
            self.said: list[str] = []

        def event(self, event: str, *_: Any, **__: Any) -> None:
            self.said.append(event)

    class Attempt:
        token, folder = "abc", tmp_path / "work" / "job" / "abc"

    there: Any = There()
    attempt: Any = Attempt()
    kept = RunStates(there, "0a1b", attempt)
    for step in (1, 2, 3):
        document = {"step": step, "weights": torch.full((10_000,), float(step))}
        kept.put(kept.write(document, step), step)
    assert not list(attempt.folder.rglob("*.pt")), "what is in the store need not lie here"
    parts = [key for key in there.store.under("jobs/0a1b") if key.endswith(".bin")]
    assert {key.split("/")[3] for key in parts} == {"state-2", "state-3"} and len(parts) >= 8
    assert [step for step, _ in kept.read()] == [3, 2]
    there.store.put(next(key for key in parts if "state-3" in key), b"damaged")
    assert [(step, float(found["weights"][0])) for step, found in kept.read()] == [(2, 2.0)]
    assert there.said == ["state_unusable"]
    kept.write({"step": 4}, 4)  # the store is away: it lies here
    assert [step for step, _ in kept.read()] == [4, 2]
