"""python -m generator.training.lora: a LoRA from a folder of captioned pictures, drawn with by the other command."""

from __future__ import annotations

from pathlib import Path

import pytest
from captioned_pictures import write_folder
from PIL import Image

from generator.__main__ import main as draw
from generator.training.lora import main as train
from tests.tiny_diffusers import save_stable_diffusion

FLAGS = {
    "checkpoint": "diffusers/tiny", "name": "ink", "trigger": "ohwx", "seed": 1, "resolution": 32, "bucket-step": 8,
    "batch-size": 2, "steps": 4, "sample-every": 2, "sample-steps": 2, "rank": 2, "device": "cpu",
    "caption": "ohwx, red",
}  # fmt: skip


def test_a_lora_is_trained_and_drawn_with_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "data")
    checkpoints = tmp_path / "checkpoints"
    save_stable_diffusion(checkpoints / "diffusers" / "tiny")
    places = ["--output-dir", str(tmp_path / "runs"), "--checkpoints-dir", str(checkpoints)]
    command = [str(tmp_path / "data"), *(text for flag, value in FLAGS.items() for text in (f"--{flag}", str(value)))]
    assert train([*command, *places]) == 0
    assert "--checkpoint diffusers/tiny --lora ink:0.8" in "".join(capsys.readouterr())
    assert (tmp_path / "runs" / "ink" / "samples" / "0000004.png").is_file()
    assert train([*command, *places, "--rank", "3"]) == 2
    assert "rank 2, now 3" in capsys.readouterr().err
    picture = ["ohwx, red", "--engine", "latent-diffusion", "--checkpoint", "diffusers/tiny", "--size", "32", "--seed"]
    options = ["1", "--steps", "2", "--upscale", "1", "--candidates", "1", "--output-dir", str(tmp_path / "out")]
    wanted = [*picture, *options, "--checkpoints-dir", str(checkpoints), "--device", "cpu", "--clip", "mini"]
    assert draw([*wanted, "--lora", "ink:0.8"]) == 0
    (png,) = (tmp_path / "out").glob("*.png")
    with Image.open(png) as image:
        assert '"lora": ["ink:0.8"]' in image.info["text2image"] and '"lora/ink": "' in image.info["text2image"]
    capsys.readouterr()
    assert draw([*wanted, "--lora", "oil"]) == 2
    assert "There is no LoRA 'oil'" in capsys.readouterr().err
    assert train(["nowhere", *command[1:], "--name", "other", *places]) == 2
    assert "There is nothing at nowhere" in capsys.readouterr().err
