"""A model that somebody brings along as one file: what is taken, what is refused, and the command that takes it."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.inventory import own_folders, own_loras
from generator.checkpoints.model_file import check_weights, look_at, suggested_name
from generator.training.__main__ import main as training
from tests.brought_models import CARD, caption_model, lora, with_header, with_metadata


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return caption_model(tmp_path_factory.mktemp("models") / "discs.safetensors")


def command(tmp_path: Path, *words: str) -> int:
    return training(["import", *words, "--checkpoints-dir", str(tmp_path / "checkpoints")])


def test_a_models_card_comes_along_with_it(model: Path) -> None:
    found = look_at(model)
    assert (found.kind, found.licence, found.base) == ("caption-diffusion", "CC0", "")
    assert found.card == CARD | {"imported": True}


@pytest.mark.parametrize("built", [{"time_width": 64}, {"time_width": 0}, {"base": "diffusers/mine", "size": 64}])
def test_models_are_taken_however_they_were_built(tmp_path: Path, built: dict[str, Any]) -> None:
    path = caption_model(tmp_path / "model.safetensors", **built)
    found = look_at(path)
    check_weights(path, found)
    assert found.base == built.get("base", "")


@pytest.mark.parametrize("base", ["stable-diffusion-xl", "vqgan-mini", "caption-diffusion/discs", "nothing"])
def test_a_model_in_latents_that_none_is_made_in_is_refused(tmp_path: Path, base: str) -> None:
    with pytest.raises(CheckpointDamaged, match="it draws in the latents of"):
        look_at(caption_model(tmp_path / "model.safetensors", base=base, size=64))


def test_what_other_tools_say_of_a_lora_becomes_its_card(tmp_path: Path) -> None:
    found = look_at(lora(tmp_path / "ink.safetensors"))
    assert (found.kind, found.licence) == ("lora", "CC-BY-4.0")
    assert (found.card["made_for"], found.card["rank"]) == ("sd_v1", "2")
    assert look_at(lora(tmp_path / "plain.safetensors", metadata={})).licence == "not stated"


def test_a_file_is_judged_without_torch(model: Path) -> None:
    code = "import sys; from pathlib import Path; from generator.checkpoints.model_file import look_at; "
    code += f"look_at(Path({str(model)!r})); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"#!/bin/sh")


def bomb(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 90 << 20) + b"{" + b" " * 100)


def huge(path: Path) -> None:
    with_header(path, {"w": {"dtype": "F32", "shape": [1 << 30], "data_offsets": [0, 4 << 30]}}, bytes(16))


def deep(path: Path) -> None:
    with_header(path, b'{"a":' * 100_000)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": [1.0]}))


def saved_by_torch(path: Path) -> None:
    torch.save({"w": torch.ones(2)}, path)


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("model.safetensors", b"")


def holes(path: Path) -> None:
    one = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    with_header(path, {"w": one}, bytes(8))


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        (cut, "it is cut short"),
        (longer, "9 bytes behind its numbers belong to no tensor"),
        (bomb, "it would have 94 MB, far more than any does"),
        (huge, "it is cut short: 16 of its 4,294,967,296 bytes"),
        (deep, "nested far too deep"),
        (pickled, "it is a pickle"),
        (saved_by_torch, "it is a pickle"),
        (zipped, "it is a zip archive"),
        (holes, "do not begin where those before them end"),
        (lambda path: path.write_bytes(b""), "it is empty"),
        (lambda path: path.write_bytes(b"<html>no such file"), "it is a web page, not weights"),
        (lambda path: path.unlink(), "No such file"),
    ],
)
def test_whatever_is_no_model_is_refused_in_one_sentence(
    tmp_path: Path, spoilt: Callable[[Path], object], says: str
) -> None:
    path = lora(tmp_path / "model.safetensors")
    spoilt(path)
    with pytest.raises(CheckpointDamaged) as refused:
        look_at(path)
    assert says in str(refused.value) and str(refused.value).startswith("This file cannot be imported: ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


def test_models_of_other_kinds_are_called_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    for name, says in (
        ("cond_stage_model.x", "it is Stable Diffusion in one file"),
        ("control_model.x", "it is a ControlNet"),
        ("a.hada_w1_a", "it is a LoHa"),
        ("something.else", "it does not say what it is built from"),
        ("lora_unet_x.lora_up.weight", "a matrix is missing"),
        ("lora_unet_x.lora_nowhere.lora_up.weight.more", "has a name that no known tool gives"),
    ):
        with_header(path, {name: one}, bytes(4))
        with pytest.raises(CheckpointDamaged, match=says):
            look_at(path)
    lora(path, up=3)
    with pytest.raises(CheckpointDamaged, match="which is no rank"):
        look_at(path)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"size": 1 << 20}, "size: Input should be less than or equal to 1024"),
        ({"channels": [8, 24]}, None),
        ({"channels": [16, 16]}, "unet.conv_in.weight is (8, 3, 3, 3) instead of (16, 3, 3, 3)"),
        ({"base": "../../etc/passwd"}, "no checkpoint is called so"),
        ({"run": "rm"}, "run: Extra inputs are not permitted"),
    ],
)
def test_what_a_model_says_it_is_built_from_has_to_be_true(
    tmp_path: Path, model: Path, told: dict[str, object], says: str | None
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    header = json.loads(path.read_bytes()[8 : 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]])
    architecture = json.loads(header["__metadata__"]["text2image.architecture"])
    with_metadata(path, text2image_architecture=json.dumps(architecture | told))
    if says is not None:
        with pytest.raises(CheckpointDamaged) as refused:
            look_at(path)
        assert says in str(refused.value)
    assert command(tmp_path, str(path)) == 2, "the command looks at every tensor"
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ('{"loss": NaN}', "holds NaN, which is no number"),
        ('{"loss": 1e999}', "holds the number inf"),
        (f'{{"steps": 1{"0" * 5000}}}', "a number of 5,001 digits"),
        ('{"a": ' * 50 + "1" + "}" * 50, "nested far too deep"),
        ('{"a": "' + "x" * 300_000 + '"}', "300,009 characters"),
        ("[1, 2]", "its card is no table"),
    ],
)
def test_a_card_that_no_database_would_keep_is_refused(tmp_path: Path, model: Path, card: str, says: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    with pytest.raises(CheckpointDamaged, match=says):
        look_at(with_metadata(path, text2image_card=card))


def test_a_card_is_kept_as_text_that_can_be_shown(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    card = '{"data": "a\\u0000b\\ud800c\\u001b[2J", "captions": ["<b>x</b>"], "licence": "x"}'
    found = look_at(with_metadata(path, text2image_card=card))
    assert found.card["data"] == "a b c [2J" and found.card["captions"] == ["<b>x</b>"] and found.licence == "x"


def test_the_command_takes_both_kinds_under_a_name(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, str(model), "--name", "birds") == 0
    assert "--checkpoint caption-diffusion/birds" in capsys.readouterr().out
    assert command(tmp_path, str(lora(tmp_path / "ink 2.safetensors"))) == 0
    assert "--lora ink-2:0.8" in capsys.readouterr().out
    assert own_folders(tmp_path / "checkpoints") == ["caption-diffusion/birds"]
    assert own_loras(tmp_path / "checkpoints") == ["ink-2"]
    kept = tmp_path / "checkpoints" / "caption-diffusion" / "birds" / "birds.safetensors"
    assert kept.read_bytes() == model.read_bytes()
    assert command(tmp_path, str(model), "--name", "birds") == 2
    assert "is there already" in capsys.readouterr().err
    assert command(tmp_path, str(model), "--name", "../birds") == 2
    assert "is no name for a model" in capsys.readouterr().err


def test_a_disk_that_is_full_leaves_nothing_behind(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"a part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    assert command(tmp_path, str(model), "--name", "birds") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()] == []
    assert own_folders(tmp_path / "checkpoints") == []


def test_of_two_commands_at_once_one_keeps_its_model_whole(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    other, copy = caption_model(tmp_path / "other.safetensors", card={"licence": "mine"}), shutil.copyfile

    def slow(source: Path, target: Path) -> None:
        copy(source, target)
        monkeypatch.setattr(shutil, "copyfile", copy)
        assert command(tmp_path, str(other), "--name", "birds") == 0, "the other one comes in between"

    monkeypatch.setattr(shutil, "copyfile", slow)
    assert command(tmp_path, str(model), "--name", "birds") == 2
    assert "is there already" in capsys.readouterr().err
    (kept,) = [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()]
    assert kept.read_bytes() == other.read_bytes()


def test_names_of_files_become_names_of_models() -> None:
    assert suggested_name("My birds (v1.2).safetensors") == "My-birds-v1-2"
    assert suggested_name("....safetensors") == "" and len(suggested_name("x" * 300)) == 64
