"""Checkpoints of one's own, by folder or by Hugging Face id: found, drawn with, never trusted; random weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator.checkpoints import store
from generator.checkpoints.__main__ import main
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.inventory import misplaced
from generator.checkpoints.memory import estimate_memory
from generator.checkpoints.own import own_folders
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.engines import loading
from generator.engines.base import generate
from generator.models.openai_unet import ARCHITECTURES, Architecture
from generator.params import BadParams, validate
from generator.registry import hub
from tests.real_formats import (
    BadServer,
    bad_server,
    biggan_config,
    load_named,
    random_biggan,
    random_openai_unet,
    random_vqgan,
    save_lightning,
    save_yaml,
    taming_params,
)
from tests.tiny_diffusers import write

PARAMS = taming_params(64, ch=32, dim=32)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    (tmp_path / "server").mkdir()
    with bad_server(tmp_path / "server") as running:
        yield running


def save_own_vqgan(folder: Path, weights: str = "last.ckpt") -> dict[str, torch.Tensor]:
    folder.mkdir(parents=True)
    model = random_vqgan(PARAMS)
    save_yaml(folder / "2021-04-23-project.yaml", PARAMS)
    if weights.endswith(".ckpt"):
        save_lightning(folder / weights, model.state_dict())
    else:
        save_file(model.state_dict(), folder / weights)
    return model.state_dict()


@pytest.mark.parametrize("weights", ["last.ckpt", "anything.safetensors"])
def test_a_vqgan_one_has_trained_draws_from_its_folder(tmp_path: Path, weights: str) -> None:
    state = save_own_vqgan(tmp_path / "vqgan-f16" / "mine", weights)
    assert own_folders(tmp_path) == ["vqgan-f16/mine"]
    values = {"prompt": "a castle", "checkpoint": "vqgan-f16/mine", "clip": ["mini"], "steps": 1, "cutn": 2}
    params = validate("vqgan-clip", {**values, "width": 40, "height": 32})
    assert params.actual_size == (32, 32) and params.learning_rate == 0.1
    loaded = load_named("vqgan-f16/mine", tmp_path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    engine = loading.load("vqgan-clip", params.checkpoint, params.clip, Host("cpu", tmp_path, _no_picture))
    *_, last = generate(engine, params)
    assert last.image is not None and last.image.shape == (3, 32, 32) and last.done


def _no_picture(reference: str) -> Any:
    raise AssertionError(reference)


def test_a_model_trained_further_is_taken_as_it_is_now(tmp_path: Path) -> None:
    folder = tmp_path / "vqgan-f16" / "mine"
    save_own_vqgan(folder, "model.safetensors")
    load_named("vqgan-f16/mine", tmp_path)
    newer = random_vqgan(PARAMS).state_dict()
    save_file(newer, folder / "model.safetensors")
    loaded = load_named("vqgan-f16/mine", tmp_path).state_dict()
    assert torch.equal(loaded["decoder.conv_in.weight"], newer["decoder.conv_in.weight"])


def test_a_biggan_and_a_guided_diffusion_of_ones_own_load_to_the_last_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "biggan-deep-128" / "mine"
    folder.mkdir(parents=True)
    config = biggan_config(128, 8)
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(random_biggan(config).state_dict(), folder / "pytorch_model.bin")
    assert load_named("biggan-deep-128/mine", tmp_path).resolution == 128
    params = validate("biggan-clip", {"prompt": "a castle", "checkpoint": "biggan-deep-128/mine"})
    assert params.actual_size == (128, 128)
    (folder / "config.json").write_text(json.dumps(config | {"num_classes": 10}))
    with pytest.raises(CheckpointDamaged, match="num_classes is 10; the 1000 classes of ImageNet are needed"):
        load_named("biggan-deep-128/mine", tmp_path)

    small = Architecture((0.5, 1, 1), (2, 4), channels=64, head_channels=16)
    monkeypatch.setitem(ARCHITECTURES, "guided-diffusion-256", small)
    folder = tmp_path / "guided-diffusion-256" / "mine"
    folder.mkdir(parents=True)
    network = random_openai_unet(small)
    torch.save(network.state_dict(), folder / "ema_0.9999_008100.pt")
    loaded: Any = load_named("guided-diffusion-256/mine", tmp_path)
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())
    assert own_folders(tmp_path) == ["biggan-deep-128/mine", "guided-diffusion-256/mine"]


def test_what_is_wrong_with_a_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckpointMissing, match=r"There is no model.yaml in .*Put taming's model.yaml and its weights"):
        load_named("vqgan-f16/mine", tmp_path)
    save_own_vqgan(tmp_path / "vqgan-f8" / "mine")
    with pytest.raises(CheckpointDamaged, match=r"draws 16 px per code, not 8: its folder belongs under vqgan-f16/"):
        load_named("vqgan-f8/mine", tmp_path)
    (tmp_path / "vqgan-f8" / "mine" / "b.ckpt").write_bytes(b"x")
    (tmp_path / "vqgan-f8" / "mine" / "last.ckpt").rename(tmp_path / "vqgan-f8" / "mine" / "a.ckpt")
    with pytest.raises(CheckpointDamaged, match=r"a.ckpt, b.ckpt\); leave one, or call .* model.ckpt"):
        load_named("vqgan-f8/mine", tmp_path)
    assert own_folders(tmp_path) == [] and "a.ckpt, b.ckpt" in misplaced(tmp_path)["vqgan-f8/mine"]
    target = ["--checkpoints-dir", str(tmp_path)]
    assert main(["remove", "vqgan-f8/mine", *target]) == 1
    assert main(["download", "vqgan-f8/mine", *target]) == 1
    said = capsys.readouterr().err
    assert "was not downloaded; remove that folder yourself" in said and "download vqgan-f8/OWNER/MODEL" in said
    assert (tmp_path / "vqgan-f8" / "mine" / "a.ckpt").is_file()


@pytest.mark.parametrize(
    "name", ["vqgan-f16/../mine", "vqgan-f5/mine", "/etc/passwd", "vqgan-f16/a/b/c", "vqgan-f16/.x"]
)
def test_nothing_else_is_a_path(name: str) -> None:
    with pytest.raises(BadParams, match=r"Unknown checkpoint .*, vqgan-f16/NAME"):
        validate("vqgan-clip", {"prompt": "a castle", "checkpoint": name})


def test_a_name_with_other_signs_is_answered_with_those_it_may_have() -> None:
    with pytest.raises(BadParams, match=r"diffusers/NAME, .*\. Names of your own files have letters, digits, _"):
        validate("latent-diffusion", {"prompt": "a castle", "checkpoint": "diffusers/My Model (v1.5).safetensors"})


def test_an_engine_takes_only_its_own_kind() -> None:
    with pytest.raises(BadParams, match="Unknown checkpoint"):
        validate("biggan-clip", {"prompt": "a castle", "checkpoint": "vqgan-f16/mine"})


def publish(server: BadServer, hashed: bool = True) -> dict[str, torch.Tensor]:
    """some/vqgan on the server: its files and, under the path it is asked for, the listing of them."""
    folder = server.folder / "some" / "vqgan" / "resolve" / "main"
    state = save_own_vqgan(folder / "ckpts", "last.ckpt")
    (folder / "configs").mkdir()
    (folder / "ckpts" / "2021-04-23-project.yaml").rename(folder / "configs" / "model.yaml")
    (folder / "README.md").write_text("a card")
    siblings: list[dict[str, Any]] = []
    for path in sorted(folder.rglob("*.*")):
        entry: dict[str, Any] = {"rfilename": path.relative_to(folder).as_posix(), "size": path.stat().st_size}
        if hashed and path.suffix == ".ckpt":
            entry["lfs"] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        siblings.append(entry)
    listing = server.folder / "api" / "models" / "some" / "vqgan?blobs=true"
    listing.parent.mkdir(parents=True)
    listing.write_text(json.dumps({"siblings": siblings}))
    return state


def test_a_vqgan_of_hugging_face_is_fetched_by_its_name_and_checked_by_its_listed_hash(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "HUGGING_FACE", server.url)
    state = publish(server)
    target, name = ["--checkpoints-dir", str(tmp_path / "got")], "vqgan-f16/some/vqgan"
    with pytest.raises(CheckpointMissing, match=r"or get it from Hugging Face with: .* download vqgan-f16/some/vqgan"):
        load_named(name, tmp_path / "got")
    server.drops = [10_000]  # of the listing nothing is lost: it is small
    assert main(["download", name, *target]) == 0, capsys.readouterr().err
    assert "sha256 is the published one" in capsys.readouterr().out
    loaded = load_named(name, tmp_path / "got").state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    assert main(["verify", name, *target]) == 0
    assert main(["list", *target]) == 0 and f"{name}     vqgan-clip" in capsys.readouterr().out
    weights = tmp_path / "got" / name / "last.ckpt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointDamaged, match="its sha256 is"):
        load_named(name, tmp_path / "got")
    assert main(["remove", name, *target]) == 0
    assert own_folders(tmp_path / "got") == [] and not store.installed(
        resolve(name, tmp_path / "got"), tmp_path / "got"
    )


def test_a_repository_that_has_something_else_or_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "HUGGING_FACE", server.url)
    listing = server.folder / "api" / "models" / "some" / "flax?blobs=true"
    listing.parent.mkdir(parents=True)
    listing.write_text(json.dumps({"siblings": [{"rfilename": "flax_model.msgpack", "size": 5}]}))
    server.refuse = {"/api/models/some/gone?blobs=true": 404}
    for name, says in (("flax", "it has flax_model.msgpack, where taming's model.yaml"), ("gone", "404")):
        assert main(["download", f"vqgan-f16/some/{name}", "--checkpoints-dir", str(tmp_path)]) == 1
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(("xl", "table"), [(False, "stable-diffusion-1-5"), (True, "stable-diffusion-xl")])
def test_the_memory_of_a_folder_of_ones_own_is_that_of_its_networks(tmp_path: Path, xl: bool, table: str) -> None:
    texts = {"text_encoder": 123_060_480, "text_encoder_2": 694_659_840} if xl else {"text_encoder": 123_060_480}
    sizes = {**texts, "unet": 2_567_463_684 if xl else 859_520_964, "vae": 83_653_863}
    folder = tmp_path / "diffusers" / "mine"
    kind = "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline"
    write(folder / "model_index.json", {"_class_name": kind})
    write(folder / "scheduler" / "scheduler_config.json", {})
    for name, numbers in sizes.items():
        write(folder / name / "config.json", {})
        if name.startswith("text"):
            write(folder / name.replace("text_encoder", "tokenizer") / "tokenizer_config.json", {"pad_token": "!"})
        header = json.dumps({"__metadata__": {}, "w": {"dtype": "F16", "shape": [numbers], "data_offsets": [0, 0]}})
        stem = "model" if name.startswith("text") else "diffusion_pytorch_model"
        (folder / name / f"{stem}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    for memory in ("full", "low"):
        values = {"prompt": "a heart", "memory": memory, "width": 512, "height": 512}
        mine = validate("latent-diffusion", {**values, "checkpoint": "diffusers/mine"})
        known = estimate_memory(validate("latent-diffusion", {**values, "checkpoint": table}))
        assert estimate_memory(mine, tmp_path) == pytest.approx(known, rel=0.1)
        assert estimate_memory(mine, tmp_path / "elsewhere") == estimate_memory(mine)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\xff" * 64)
    assert estimate_memory(mine, tmp_path) == estimate_memory(mine), "loading it says what is wrong"
