"""Stable Diffusion's files: fetched, never trusted, loaded to the last key; tiny models in the published layout."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator.checkpoints import store
from generator.checkpoints.__main__ import main
from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.loading import verify
from generator.checkpoints.memory import estimate_memory
from generator.checkpoints.own import own_folders
from generator.checkpoints.resolve import resolve
from generator.checkpoints.stable_diffusion import build
from generator.device import Host
from generator.engines import loading
from generator.images.convert import no_picture
from generator.params import validate_job
from generator.registry import PUBLISHED, hub
from tests.real_formats import BadServer, bad_server, load_named
from tests.tiny_diffusers import (
    REAL_TEXT,
    REAL_TEXT_2,
    REAL_UNET,
    REAL_UNET_XL,
    REAL_VAE,
    SCHEDULER,
    rename_vae_as_published,
    save_stable_diffusion,
    write,
)

PAD = "<|endoftext|>"
OLD_UNET = "unet/diffusion_pytorch_model.safetensors"
OLD_BIN = "unet/diffusion_pytorch_model.bin"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    (tmp_path / "server").mkdir()
    with bad_server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return save_stable_diffusion(tmp_path / "diffusers" / "mine")


def test_the_real_architectures_have_the_keys_and_sizes_that_are_published() -> None:
    one = build(
        DiffusersFolder((Network(REAL_TEXT, (), PAD),), Network(REAL_UNET, ()), Network(REAL_VAE, ()), SCHEDULER, False)
    )
    counted = [(len(p.state_dict()), round(sum(w.numel() for w in p.parameters()) / 1e6, 1)) for p in one.parts]
    assert counted == [(196, 123.1), (686, 859.5), (248, 83.7)]
    texts = (Network(REAL_TEXT, (), PAD), Network(REAL_TEXT_2, (), "!"))
    xl = build(DiffusersFolder(texts, Network(REAL_UNET_XL, ()), Network(REAL_VAE, ()), SCHEDULER, True))
    counted = [(len(p.state_dict()), round(sum(w.numel() for w in p.parameters()) / 1e6, 1)) for p in xl.parts]
    assert counted == [(196 + 517, 817.7), (1680, 2567.5), (248, 83.7)]
    for name, models in (("stable-diffusion-1-5", one), ("stable-diffusion-1-4", one), ("stable-diffusion-xl", xl)):
        keys = models.unet.state_dict()
        assert all(tuple(keys[key].shape) == shape for key, shape in PUBLISHED[name].shapes.items())


def test_stable_diffusion_arrives_whole_over_a_bad_line_and_loads_as_it_was_published(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_stable_diffusion(server.folder / "stable-diffusion-1-5")
    named = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    rename_vae_as_published(folder / "vae" / "diffusion_pytorch_model.safetensors")
    row = PUBLISHED["stable-diffusion-1-5"]
    files = tuple(dataclasses.replace(file, urls=(f"{server.url}/{file.name}",)) for file in row.files)
    monkeypatch.setitem(PUBLISHED, "stable-diffusion-1-5", dataclasses.replace(row, files=files, shapes={}))
    server.drops, server.corrupt = [100_000, 5, 70_000], 0
    target = ["--checkpoints-dir", str(tmp_path / "got")]
    with pytest.raises(CheckpointMissing, match=r"\(4265 MB\) with: .* download stable-diffusion-1-5$"):
        load_named("stable-diffusion-1-5", tmp_path / "got")
    assert main(["download", "stable-diffusion-1-5", *target]) == 0
    assert main(["verify", "stable-diffusion-1-5", *target]) == 0
    assert "hashes, keys and shapes are right" in capsys.readouterr().out
    models = load_named("stable-diffusion-1-5", tmp_path / "got")
    assert all(torch.equal(value, named[key]) for key, value in models.vae.state_dict().items())
    unet = load_file(folder / OLD_UNET)
    assert all(torch.equal(value, unet[key]) for key, value in models.unet.state_dict().items())
    weights = tmp_path / "got" / "stable-diffusion-1-5" / OLD_UNET
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointDamaged, match="its sha256 is"):
        load_named("stable-diffusion-1-5", tmp_path / "got")
    assert main(["remove", "stable-diffusion-1-5", *target]) == 0
    assert not store.installed(resolve("stable-diffusion-1-5", tmp_path / "got"), tmp_path / "got")


def test_a_model_of_hugging_face_is_fetched_by_its_name_with_all_that_its_index_asks_for(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "HUGGING_FACE", server.url)
    source = save_stable_diffusion(server.folder / "some" / "xl-model" / "resolve" / "main", xl=True)
    (source / OLD_UNET).rename(source / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    server.refuse = {f"/some/xl-model/resolve/main/{OLD_UNET}": 404}
    with pytest.raises(CheckpointMissing, match="download diffusers/some/xl-model"):
        load_named("diffusers/some/xl-model", tmp_path)
    store.download("diffusers/some/xl-model", tmp_path, pause=0.001)
    models = load_named("diffusers/some/xl-model", tmp_path)
    assert len(models.texts.networks) == 2
    assert own_folders(tmp_path) == ["diffusers/some/xl-model"]
    verify("diffusers/some/xl-model", tmp_path)
    assert store.remove("diffusers/some/xl-model", tmp_path) and own_folders(tmp_path) == []


def test_one_command_is_named_for_all_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointMissing, match=r"4619 MB.* download stable-diffusion-1-5 ViT-B/32$"):
        loading.load("latent-diffusion", "stable-diffusion-1-5", ("ViT-B/32",), Host("cpu", tmp_path, no_picture))


def test_a_folder_of_ones_own_is_found_and_one_that_is_not_there_is_explained(mine: Path, tmp_path: Path) -> None:
    assert own_folders(tmp_path) == ["diffusers/mine"]
    with pytest.raises(CheckpointMissing, match=r"There is no diffusers folder at .*yours \(model_index.json"):
        load_named("diffusers/yours", tmp_path)


def test_the_older_format_is_taken_without_running_any_of_it_and_others_are_refused(mine: Path, tmp_path: Path) -> None:
    before = estimate_memory(
        validate_job("latent-diffusion", {"prompt": "x", "checkpoint": "diffusers/mine"}), tmp_path
    )
    for part, stem, old in (
        ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("text_encoder", "model", "pytorch_model"),
    ):
        weights = load_file(mine / part / f"{stem}.safetensors")
        torch.save(weights, mine / part / f"{old}.bin", _use_new_zipfile_serialization=part == "unet")
        (mine / part / f"{stem}.safetensors").unlink()
    models = load_named("diffusers/mine", tmp_path)
    unet = models.unet.state_dict()
    assert all(torch.equal(value, unet[key]) for key, value in torch.load(mine / OLD_BIN).items())
    after = estimate_memory(validate_job("latent-diffusion", {"prompt": "x", "checkpoint": "diffusers/mine"}), tmp_path)
    assert after == before
    (mine / OLD_BIN).rename(mine / "unet" / "flax_model.msgpack")
    with pytest.raises(
        CheckpointDamaged, match=r"weights as flax_model.msgpack, which is not read.*safe_serialization"
    ):
        load_named("diffusers/mine", tmp_path)


def test_a_tensor_that_is_missing_or_too_many_is_named(mine: Path, tmp_path: Path) -> None:
    weights = load_file(mine / OLD_UNET)
    save_file({k: v for k, v in weights.items() if k != "conv_in.bias"}, mine / OLD_UNET)
    with pytest.raises(CheckpointDamaged, match=r"1 of .* tensors are missing, the first is conv_in.bias"):
        load_named("diffusers/mine", tmp_path)
    save_file(weights | {"lora.weight": torch.zeros(1)}, mine / OLD_UNET)
    with pytest.raises(CheckpointDamaged, match=r"1 tensors do not belong to the model, the first is lora.weight"):
        load_named("diffusers/mine", tmp_path)


def test_weights_in_several_files_are_put_together_and_files_elsewhere_are_left_alone(
    mine: Path, tmp_path: Path
) -> None:
    weights = load_file(mine / OLD_UNET)
    (mine / OLD_UNET).unlink()
    half = dict(list(weights.items())[::2])
    save_file(half, mine / "unet" / "one.safetensors")
    save_file({k: v for k, v in weights.items() if k not in half}, mine / "unet" / "two.safetensors")
    where = {key: "one.safetensors" if key in half else "../unet/two.safetensors" for key in weights}
    write(mine / f"{OLD_UNET}.index.json", {"weight_map": where})
    models = load_named("diffusers/mine", tmp_path)
    assert all(torch.equal(value, weights[key]) for key, value in models.unet.state_dict().items())


@pytest.mark.parametrize(
    ("file", "changes", "says"),
    [
        (
            "model_index.json",
            {"_class_name": "FluxPipeline"},
            "names the pipeline FluxPipeline; StableDiffusionPipeline",
        ),
        ("unet/config.json", {"in_channels": 9}, "reads 9 channels where the VAE has 4: a model made for inpainting"),
        ("unet/config.json", {"block_out_channels": "many"}, "unet|block_out_channels|many"),
        ("text_encoder/config.json", {"vocab_size": 5000}, "5000 tokens"),
        (
            "scheduler/scheduler_config.json",
            {"_class_name": "FlowMatchEulerDiscreteScheduler"},
            "scheduler is FlowMatch",
        ),
        ("scheduler/scheduler_config.json", {"prediction_type": "noise"}, "prediction_type is 'noise'"),
    ],
)
def test_models_of_another_kind_are_refused_in_a_sentence(
    mine: Path, tmp_path: Path, file: str, changes: dict[str, object], says: str
) -> None:
    write(mine / file, json.loads((mine / file).read_text()) | changes)
    with pytest.raises(CheckpointDamaged, match=says):
        load_named("diffusers/mine", tmp_path)
