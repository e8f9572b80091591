"""What lies beside weights is as foreign as they are: a configuration that asks for too much is one sentence."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from generator.checkpoints import diffusers_folder, loading, store
from generator.checkpoints.__main__ import main
from generator.checkpoints.download import DownloadFailed
from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.loading import verify
from generator.checkpoints.taming_config import read_config
from generator.device import Host
from generator.images.convert import no_picture
from generator.models.biggan import read_config as read_biggan_config
from generator.registry import CLIP_MODELS, PUBLISHED, hub
from generator.sampling.noise_schedule import Schedule
from generator.upscaler.model import UnsupportedUpscaler, load_upscaler
from tests.hostile_files import safetensors_file
from tests.real_formats import BadServer, bad_server, biggan_config, save_yaml, taming_params
from tests.tiny_diffusers import save_stable_diffusion

UNET_WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints of one's own, sound where the tests read."""
    checkpoints = tmp_path_factory.mktemp("checkpoints")
    for weights in ("vqgan-f16/mine/last.ckpt", "biggan-deep-128/mine/pytorch_model.bin"):
        (checkpoints / weights).parent.mkdir(parents=True)
        torch.save({"w": torch.ones(1)}, checkpoints / weights)
    save_yaml(checkpoints / "vqgan-f16" / "mine" / "model.yaml", taming_params(64, ch=32, dim=32))
    (checkpoints / "biggan-deep-128" / "mine" / "config.json").write_text(json.dumps(biggan_config(128, 8)))
    save_stable_diffusion(checkpoints / "diffusers" / "mine")
    return checkpoints


@pytest.fixture
def checkpoints(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "checkpoints"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    (tmp_path / "server").mkdir()
    with bad_server(tmp_path / "server") as running:
        yield running


# What replaces the file, or, as a table, what changes in it.
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "vqgan-f16/mine/model.yaml": {
        "a program": "model: !!python/object/apply:os.system ['touch owned']",
        "a program by its whole name": "model: !<tag:yaml.org,2002:python/name:os.system> x",
        "anchors": "a: &a [x]\nb: [*a, *a]",
        "anchors with signs": "a: &-a0 [x]\nb: [*-a0, *-a0]",
        "anchors behind quotes": '{"a":&a [1],"b":*a}',
        "nested without end": "[" * 100_000,
        "nested as far as there is room": "[" * 60_000,
        "blocks within blocks": "- " * 30_000,
        "layers without end": taming_params(64, ch=32, dim=32),
        "levels without end": taming_params(64, ch=32, dim=32),
    },
    "biggan-deep-128/mine/config.json": {
        "nested without end": "[" * 100_000,
        "no numbers": '{"layers": null}',
        "too long": '{"x": "' + "y" * 2_000_000 + '"}',
        "a command for the terminal": {"eps": "\x1b[2J\nx"},
        "half a letter": {"output_dim": "\ud800"},
    },
    "diffusers/mine/unet/config.json": {
        "nested without end": "[" * 100_000,
        "layers without end": '{"layers_per_block": 1000000000}',
        "layers in lists": {"layers_per_block": [[1000000000], 1]},
        "layers of layers": {"layers_per_block": [16, 16], "transformer_layers_per_block": [32, 32]},
        "layers of layers in lists": {"layers_per_block": 16, "transformer_layers_per_block": [[[9] * 16] * 2] * 2},
        "layers on the way up": {"reverse_transformer_layers_per_block": [[1000000000] * 2] * 2},
        "blocks without end": json.dumps({"block_out_channels": [32] * 100_000}),
        "blocks by the dozen": {
            "block_out_channels": [32] * 12,
            "down_block_types": ["DownBlock2D"] * 12,
            "up_block_types": ["UpBlock2D"] * 12,
        },
        "too long": '{"x": "' + "y" * 2_000_000 + '"}',
        "no activation": {"act_fn": 0},
        "groups of nothing": {"norm_num_groups": 0},
        "no blocks": {"block_out_channels": [], "down_block_types": [], "up_block_types": []},
        "a block with a command for the terminal": {"down_block_types": ["\x1b[2J\n" * 9] * 2},
        "channels with a command for the terminal": {"in_channels": "\x1b[2J\n" * 999},
    },
    "diffusers/mine/vae/config.json": {
        "no activation": {"act_fn": 0},
        "groups of nothing": {"norm_num_groups": 0},
        "no blocks": {"block_out_channels": [], "down_block_types": [], "up_block_types": []},
        "layers without end": {"layers_per_block": 17},
    },
    "diffusers/mine/text_encoder/config.json": {
        "layers without end": '{"num_hidden_layers": 1000000000}',
        "more layers than there are": {"num_hidden_layers": 65},
    },
    "diffusers/mine/tokenizer/tokenizer_config.json": {
        "a word without end": {"pad_token": "a" * 1000},
        "a number": {"pad_token": 5},
    },
    "diffusers/mine/scheduler/scheduler_config.json": {
        "steps without end": {"num_train_timesteps": 10**8},
        "no steps": {"num_train_timesteps": 0},
        "steps in a text": {"num_train_timesteps": "1000"},
        "infinite steps": '{"num_train_timesteps": Infinity}',
        "betas without end": {"trained_betas": [0.1] * 20_000},
        "betas in lists": {"trained_betas": [[0.1]]},
        "an infinite beta": '{"beta_end": Infinity}',
        "a beta of hundreds of digits": {"beta_end": 10**400},
        "an offset of hundreds of digits": {"steps_offset": 10**400},
        "nothing to rescale": {"rescale_betas_zero_snr": True, "beta_start": 0.0, "beta_end": 0.0},
        "a schedule with a command for the terminal": {"beta_schedule": "\x1b[2J\n" * 999},
    },
    "diffusers/mine/model_index.json": {
        "nested without end": "[" * 100_000,
        "a pipeline of its own": '{"_class_name": "X"}',
        "a list for a pipeline": '{"_class_name": []}',
        "a pipeline of many lines": {"_class_name": "x\n" * 50_000},
    },
    f"diffusers/mine/unet/{UNET_WEIGHTS}.index.json": {
        "a list": '{"weight_map": ["a"]}',
        "nothing": '{"weight_map": {}}',
        "numbers": '{"weight_map": {"a": 1}}',
        "no files": '{"weight_map": {"a": "b.safetensors", "c": "\\ud800.safetensors", "d": "\\u0000.safetensors"}}',
        "the folder itself": '{"weight_map": {"a": ".."}}',
        "files without end": json.dumps({"weight_map": {str(n): f"{n}.safetensors" for n in range(10_000)}}),
    },
}


@pytest.mark.parametrize("where", CONFIGURATIONS)
def test_a_configuration_that_asks_for_too_much_is_one_sentence(
    checkpoints: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, name = checkpoints / where, "/".join(where.split("/")[:2])
    target = ["--checkpoints-dir", str(checkpoints)]
    if path.name.endswith(".index.json"):
        (path.parent / UNET_WEIGHTS).unlink()
    before = path.read_text() if path.exists() else ""
    for what, content in CONFIGURATIONS[where].items():
        if path.suffix == ".yaml" and isinstance(content, dict):
            content["ddconfig"] |= {"num_res_blocks": 60_000} if what.startswith("layers") else {"ch_mult": [1] * 3_000}
            save_yaml(path, content)
        else:
            path.write_text(json.dumps(json.loads(before) | content) if isinstance(content, dict) else content)
        assert main(["verify", name, *target]) == 1, what
        said = capsys.readouterr().err.strip()
        assert said and said.isprintable() and len(said) < 900, (what, said)
        assert "memory" not in said, what
        assert main(["list", *target]) == 0, what
        capsys.readouterr()


def test_yaml_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    for text, says in {
        "a: &-a0 [x]\nb: [*-a0]": "it has anchors",
        '{"a":&a [1],"b":*a}': "it has anchors",
        "a: !!python/name:os.system x": "it has tags",
        "a: !x 1": "it has tags",
        "%TAG ! tag:yaml.org,2002:\n---\na: !x 1": "it has tags",
        "[" * 60_000: "nested far deeper",
    }.items():
        path.write_text(text)
        with pytest.raises(ValueError, match=says):
            read_config(path)
    path.write_text("model:\n  target: x.VQModel\n  params: {a: 'b & *c', d: x*y}\n")
    with pytest.raises(ValueError, match="its embed_dim is"):
        read_config(path)


def test_a_network_is_built_without_what_diffusers_notes_for_itself(checkpoints: Path) -> None:
    config = checkpoints / "diffusers" / "mine" / "unet" / "config.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps(told | {"_use_default_values": ["block_out_channels"], "_name_or_path": "x"}))
    verify("diffusers/mine", checkpoints)


def test_memory_is_not_reckoned_from_a_header_that_lies(checkpoints: Path) -> None:
    folder = checkpoints / "diffusers" / "mine"
    assert diffusers_folder.weight_bytes(folder)
    for shape in ([[0], 10**9], ["a", 10**9], [1 << 48], [-1], [True], 5, [1] * 100_000, [1 << 40, 1 << 40]):
        tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        (folder / "unet" / UNET_WEIGHTS).write_bytes(safetensors_file({"w": tensor}))
        assert diffusers_folder.weight_bytes(folder) is None, shape


def test_a_schedule_and_a_biggan_are_as_they_were_published() -> None:
    assert len(Schedule({"trained_betas": [0.1, 0.2], "num_train_timesteps": 2}).squared) == 2
    assert len(Schedule({"num_train_timesteps": 1}).squared) == 1
    assert read_biggan_config(json.dumps(biggan_config(128, 8)), 128)["output_dim"] == 128


def test_a_configuration_is_checked_as_it_arrives(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    row = PUBLISHED["biggan-deep-128"]
    file = next(file for file in row.files if file.name.endswith(".json"))
    ours = dataclasses.replace(file, urls=(f"{server.url}/{file.name}",), sha256=None, size=None, about=2_000_000)
    monkeypatch.setitem(PUBLISHED, row.name, dataclasses.replace(row, files=(ours,)))
    for content in ("[" * 90_000, '{"x": "' + "y" * 2_000_000 + '"}', "{\x1b[2J"):
        (server.folder / file.name).write_text(content)
        with pytest.raises(DownloadFailed, match="wrong or damaged file") as raised:
            store.download(row.name, tmp_path, pause=0.001)
        assert str(raised.value).isprintable()


def test_a_file_with_a_name_of_no_file_is_not_fetched(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub, "HUGGING_FACE", server.url)
    listing = server.folder / "api" / "models" / "some" / "vqgan?blobs=true"
    listing.parent.mkdir(parents=True)
    for bad in ("\x1b[2Jlast.ckpt", "la\nst.ckpt", "last?x.ckpt", "last:x.ckpt", "..\\last.ckpt"):
        listing.write_text(json.dumps({"siblings": [{"rfilename": name, "lfs": []} for name in ("model.yaml", bad)]}))
        assert main(["download", "vqgan-f16/some/vqgan", "--checkpoints-dir", str(tmp_path)]) == 1
        said = capsys.readouterr().err.strip()
        assert "cannot be used: its file" in said and said.isprintable(), said
        assert not (tmp_path / "vqgan-f16").exists()


def _clip(**changes: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of ViT-B/32 from which sizes are read."""
    zeros = torch.zeros
    return {
        "visual.conv1.weight": zeros(768, 3, 32, 32),
        "visual.positional_embedding": zeros(50, 768),
        "visual.proj": zeros(768, 512),
        "text_projection": zeros(512, 512),
        "positional_embedding": zeros(77, 512),
        "token_embedding.weight": zeros(1, 512),
        "ln_final.weight": zeros(512),
        **changes,
    }


def test_a_clip_as_large_as_it_claims_is_never_built(tmp_path: Path) -> None:
    row, path = CLIP_MODELS["ViT-B/32"], tmp_path / "ViT-B-32.safetensors"
    for what, changes in {
        "reads 15000 tokens": {"positional_embedding": torch.zeros(15_000, 0)},
        "reads 14000 tokens": {"positional_embedding": torch.zeros(14_000, 1)},
        "holds no numbers": {"positional_embedding": torch.zeros(77, 0)},
        "far more parameters": {"token_embedding.weight": torch.zeros(500_000, 1)},
        "does not fit together": {"ln_final.weight": torch.tensor(1.0)},
    }.items():
        save_file(_clip(**changes), path)
        path.with_name(f"{path.name}.sha256").unlink(missing_ok=True)
        with pytest.raises(CheckpointDamaged, match=what):
            loading.load_clip(row, Host("cpu", tmp_path, no_picture))


def test_what_only_looks_like_a_published_upscaler_is_one_sentence(tmp_path: Path) -> None:
    row = PUBLISHED["swinir-l"]
    path = tmp_path / f"{Path(row.files[0].name).stem}.safetensors"
    save_file({key: torch.zeros(shape) for key, shape in row.shapes.items()}, path)
    with pytest.raises(UnsupportedUpscaler, match="swinir-l holds no upscaler that spandrel knows"):
        load_upscaler("swinir-l", checkpoints_dir=tmp_path)
    save_file({key: torch.zeros(shape).to(torch.float8_e4m3fn) for key, shape in row.shapes.items()}, path)
    path.with_name(f"{path.name}.sha256").unlink()
    with pytest.raises(CheckpointDamaged, match="swinir-l cannot be used"):
        load_upscaler("swinir-l", checkpoints_dir=tmp_path)
