"""python -m generator.training: a model from a folder of captioned pictures, drawn with by the other command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from captioned_pictures import write_folder
from PIL import Image

from generator.__main__ import main as draw
from generator.output.learning import read_history
from generator.training.__main__ import main as train

FLAGS = {
    "name": "colours", "seed": 1, "size": 16, "channels": "8,16", "batch-size": 4, "steps": 6, "sample-every": 3,
    "sample-steps": 2, "vocabulary": 600, "text-width": 32, "text-layers": 1, "device": "cpu", "caption": "blue, no",
}  # fmt: skip


def command(folder: Path, *more: str) -> list[str]:
    places = ["--output-dir", str(folder / "runs"), "--checkpoints-dir", str(folder / "checkpoints")]
    flags = [text for name, value in FLAGS.items() for text in (f"--{name}", str(value))]
    return [str(folder / "data"), *flags, "--caption", "red", *places, *more]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_stopped_run_goes_on_and_its_model_draws_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "data")
    from generator.learning.caption_diffusion.run import CaptionRun

    advance = CaptionRun.advance

    def stopped(run: CaptionRun, seconds: float) -> object:
        if run.step == 3 and not run._due:
            raise KeyboardInterrupt
        return advance(run, 0)

    with monkeypatch.context() as patch:
        patch.setattr(CaptionRun, "advance", stopped)
        assert train(command(tmp_path)) == 130
    folder = tmp_path / "runs" / "colours"
    assert (folder / "state.pt").is_file() and (folder / "samples" / "0000003.png").is_file()
    assert train(command(tmp_path, "--learning-rate", "0.01")) == 2
    assert "learning_rate" in capsys.readouterr().err
    assert train(command(tmp_path)) == 0
    rows = read_history((folder / "history.csv").read_bytes()).rows
    assert [row.step for row in rows] == sorted({row.step for row in rows}) and rows[-1].step == 6
    assert all((row.train or 1) > 0 for row in rows)
    assert [row.seconds for row in rows] == sorted(row.seconds for row in rows)
    assert size_of(folder / "curves.png") == (1000, 560)
    assert size_of(folder / "samples" / "0000006.png") == (32, 16)
    picture = [
        "a red square",
        "--engine",
        "latent-diffusion",
        "--checkpoint",
        "caption-diffusion/colours",
        "--steps",
        "2",
    ]
    at = ["--checkpoints-dir", str(tmp_path / "checkpoints"), "--output-dir", str(tmp_path / "out")]
    assert draw([*picture, "--size", "64", "--device", "cpu", *at]) == 0
    assert size_of(next((tmp_path / "out").glob("*.png"))) == (64, 64)


def test_a_state_that_cannot_be_gone_on_from_is_a_sentence_and_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path / "data")
    assert train(command(tmp_path)) == 0
    state = tmp_path / "runs" / "colours" / "state.pt"
    kept = torch.load(state, weights_only=True)
    del kept["architecture"]["time_width"]  # of before there was one
    torch.save(kept, state)
    for damaged in (state.read_bytes(), b"", b"nothing of the kind"):
        state.write_bytes(damaged)
        assert train(command(tmp_path)) == 2
        said = capsys.readouterr().err
        assert "state.pt cannot be gone on from" in said and "Traceback" not in said
        assert state.read_bytes() == damaged


def test_a_model_of_the_same_name_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "data")
    model = tmp_path / "checkpoints" / "caption-diffusion" / "colours" / "colours.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"imported")
    assert train(command(tmp_path)) == 2
    assert "caption-diffusion/colours is there already" in capsys.readouterr().err
    assert model.read_bytes() == b"imported" and not (tmp_path / "runs" / "colours").exists()


def test_the_help_says_what_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "at most 64 of them. [must be given]" in said and "Undefined" not in said


def test_bad_data_and_bad_settings_are_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    assert train(command(tmp_path)) == 2
    assert "data" in capsys.readouterr().err
    assert train(command(tmp_path, "--channels", "8,20")) == 2
    assert "multiple of 8" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
