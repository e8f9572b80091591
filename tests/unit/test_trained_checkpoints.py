"""Checkpoints as trainings leave them: log folders, averages, wrapped and renamed weights; random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.inventory import misplaced
from generator.checkpoints.own import own_folders
from generator.checkpoints.resolve import resolve
from generator.checkpoints.state_dict import read_state_dict
from generator.models.openai_unet import ARCHITECTURES, Architecture
from tests.real_formats import (
    load_named,
    random_openai_unet,
    random_vqgan,
    save_lightning,
    save_yaml,
    taming_params,
)

PARAMS = taming_params(64, ch=32, dim=32)
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return random_vqgan(PARAMS).state_dict()


def yaml(path: Path, target: str, params: dict[str, Any] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model: dict[str, Any] = {"base_learning_rate": 4.5e-6, "target": target, "params": params or PARAMS}
    OmegaConf.save({"model": model, "data": {"target": "main.DataModuleFromConfig"}}, path)


def log_folder(folder: Path, state: State) -> Path:
    """What taming's main.py leaves of a run that was taken up again."""
    for part in ("checkpoints", "configs", "images/train", "testtube/version_0"):
        (folder / part).mkdir(parents=True)
    save_yaml(folder / "configs" / "2024-01-01T00-00-00-project.yaml", PARAMS | {"n_embed": 16})
    save_yaml(folder / "configs" / "2024-01-03T10-20-30-project.yaml", PARAMS)
    for day in ("01T00-00-00", "03T10-20-30"):
        (folder / "configs" / f"2024-01-{day}-lightning.yaml").write_text("lightning:\n  trainer:\n    gpus: 0,\n")
    older = {key: value + 1 for key, value in state.items()}
    save_lightning(folder / "checkpoints" / "epoch=000012.ckpt", older)
    save_lightning(folder / "checkpoints" / "last.ckpt", state, moments=True)
    (folder / "testtube" / "version_0" / "metrics.csv").write_text("epoch,loss\n")
    return folder


def same(root: Path, name: str, state: State) -> bool:
    loaded = load_named(name, root).state_dict()
    return loaded.keys() == state.keys() and all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_the_folder_of_a_taming_training_is_taken_as_it_is(tmp_path: Path, state: State) -> None:
    logs = log_folder(tmp_path / "logs" / "2024-01-01T00-00-00_custom_vqgan", state)
    (tmp_path / "vqgan-f16").mkdir()
    (tmp_path / "vqgan-f16" / "linked").symlink_to(logs)
    shutil.copytree(logs, tmp_path / "vqgan-f16" / logs.name)
    assert own_folders(tmp_path) == [f"vqgan-f16/{logs.name}", "vqgan-f16/linked"]
    assert same(tmp_path, "vqgan-f16/linked", state) and same(tmp_path, f"vqgan-f16/{logs.name}", state)
    (logs / "checkpoints" / "last.ckpt").unlink()
    save_lightning(logs / "checkpoints" / "epoch=000003.ckpt", state)
    chosen = [file.name for file in resolve("vqgan-f16/linked", tmp_path).files]
    assert chosen[0].endswith("configs/2024-01-03T10-20-30-project.yaml")
    assert chosen[1].endswith("checkpoints/epoch=000012.ckpt"), "the last, where none is called so"
    save_lightning(logs / "checkpoints" / "last-v1.ckpt", state)
    save_lightning(logs / "checkpoints" / "last.ckpt", state)
    assert resolve("vqgan-f16/linked", tmp_path).files[1].name.endswith("/last-v1.ckpt"), "Lightning's later one"


def test_weights_with_their_yaml_beside_them_need_no_folder(tmp_path: Path, state: State) -> None:
    (tmp_path / "vqgan-f16").mkdir()
    save_lightning(tmp_path / "vqgan-f16" / "birds.ckpt", state)
    assert own_folders(tmp_path) == []
    assert "its configuration birds.yaml is not beside it" in misplaced(tmp_path)["vqgan-f16/birds.ckpt"]
    save_yaml(tmp_path / "vqgan-f16" / "birds.yaml", PARAMS)
    (tmp_path / "vqgan-f16" / "._birds.ckpt").write_bytes(b"of a Macintosh")
    assert own_folders(tmp_path) == ["vqgan-f16/birds.ckpt"] and not misplaced(tmp_path)
    assert same(tmp_path, "vqgan-f16/birds.ckpt", state)


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("ldm.models.autoencoder.VQModelInterface", {}),
        ("taming.models.vqgan.VQNoDiscModel", {}),
        ("taming.models.vqgan.EMAVQ", {"quantize.embedding.cluster_size": 64, "quantize.embedding.embed_avg": 64}),
        ("taming.models.vqgan.VQModel", {"quantize.used": 64, "colorize": 3, "discriminator.main.0.bias": 4}),
    ],
)
def test_the_other_classes_of_vqgans_are_taken(tmp_path: Path, state: State, target: str, more: dict[str, int]) -> None:
    yaml(tmp_path / "vqgan-f16" / "mine" / "model.yaml", target)
    save_lightning(tmp_path / "vqgan-f16" / "mine" / "last.ckpt", state | {k: torch.ones(n) for k, n in more.items()})
    assert same(tmp_path, "vqgan-f16/mine", state)


def test_a_vqgan_of_latent_diffusion_without_attention_is_taken_out_of_the_whole_model(tmp_path: Path) -> None:
    details = PARAMS["ddconfig"] | {"attn_type": "none", "attn_resolutions": [], "ch_mult": [1, 2, 2]}
    params = PARAMS | {"ddconfig": details, "embed_dim": 3, "n_embed": 64}
    params["ddconfig"]["z_channels"] = 3
    wanted = random_vqgan({**params, "attention": False}).state_dict()
    assert not any("attn" in key for key in wanted)
    stage = {"target": "ldm.models.autoencoder.VQModelInterface", "params": params}
    path = tmp_path / "vqgan-f4" / "mine" / "model.yaml"
    yaml(path, "ldm.models.diffusion.ddpm.LatentDiffusion", {"timesteps": 1000, "first_stage_config": stage})
    whole = {f"first_stage_model.{key}": value for key, value in wanted.items()}
    whole |= {"model.diffusion_model.out.2.bias": torch.ones(3), "model_ema.diffusion_modelout2bias": torch.zeros(3)}
    save_lightning(path.with_name("last.ckpt"), whole)
    assert same(tmp_path, "vqgan-f4/mine", wanted)
    image = load_named("vqgan-f4/mine", tmp_path).decode(torch.zeros(1, 3, 4, 4))
    assert image.shape == (1, 3, 16, 16)


def test_averages_are_drawn_with_where_they_are_whole(tmp_path: Path, state: State) -> None:
    said: list[str] = []
    path = tmp_path / "vqgan-f16" / "mine" / "last.ckpt"
    yaml(path.with_name("model.yaml"), "ldm.models.autoencoder.VQModel")
    averages = {"model_ema." + key.replace(".", ""): value for key, value in state.items()}
    averages |= {"model_ema.decay": torch.tensor(0.999), "model_ema.lossdiscriminatormain0bias": torch.ones(2)}
    trained = {key: value + 1 for key, value in state.items()}
    save_lightning(path, trained | averages)
    load_named("vqgan-f16/mine", tmp_path, said.append)
    assert same(tmp_path, "vqgan-f16/mine", state) and "averages of its weights (EMA) are drawn with" in said[0]
    del averages["model_ema.decoderconv_outbias"]
    save_lightning(path, trained | averages)
    load_named("vqgan-f16/mine", tmp_path, said.append)
    assert same(tmp_path, "vqgan-f16/mine", trained) and "are not whole" in said[1]


@pytest.mark.parametrize(
    ("target", "changes", "says"),
    [
        ("taming.models.vqgan.VQSegmentationModel", {}, "it draws label maps, not pictures; a VQModel of pictures"),
        ("ldm.models.autoencoder.AutoencoderKL", {}, "it is a VAE, which has no codes to choose from"),
        ("my.own.Model", {}, "its model is Model; VQModel, VQModelInterface, VQNoDiscModel, EMAVQ, GumbelVQ can be"),
        ("ldm.models.autoencoder.VQModel", {"attn_type": "linear"}, "its attn_type is 'linear'; vanilla, "),
        ("taming.models.vqgan.VQModel", {"in_channels": 182}, "its in_channels and out_ch are 182 and 3; 3 and 3"),
    ],
)
def test_a_vqgan_that_draws_no_pictures_is_refused_with_the_reason(
    tmp_path: Path, target: str, changes: dict[str, Any], says: str
) -> None:
    yaml(tmp_path / "vqgan-f16" / "mine" / "model.yaml", target, PARAMS | {"ddconfig": PARAMS["ddconfig"] | changes})
    save_file({"w": torch.ones(1)}, tmp_path / "vqgan-f16" / "mine" / "model.safetensors")
    with pytest.raises(CheckpointDamaged) as refused:
        load_named("vqgan-f16/mine", tmp_path)
    assert says in str(refused.value)


def test_of_guided_diffusions_training_the_newest_averages_are_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = Architecture((0.5, 1, 1), (2, 4), channels=64, head_channels=16)
    monkeypatch.setitem(ARCHITECTURES, "guided-diffusion-256", small)
    held = random_openai_unet(small).state_dict()
    folder = tmp_path / "guided-diffusion-256" / "openai-2024-01-01-00-00-00"
    folder.mkdir(parents=True)
    for name in ("ema_0.9999_010000.pt", "ema_0.9999_020000.pt", "model020000.pt", "model030000.pt"):
        torch.save({key: value + (name != "ema_0.9999_020000.pt") for key, value in held.items()}, folder / name)
    torch.save({"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}, folder / "opt020000.pt")
    for name in ("progress.csv", "log.txt", "progress.json"):
        (folder / name).write_text("")
    assert own_folders(tmp_path) == [f"guided-diffusion-256/{folder.name}"]
    assert same(tmp_path, own_folders(tmp_path)[0], held)
    wrapped = {f"module._orig_mod.{key}": value for key, value in held.items()}
    torch.save({"model": {}, "ema": wrapped, "step": 3}, folder.parent / "mine.pt")
    assert same(tmp_path, "guided-diffusion-256/mine.pt", held), "DataParallel, torch.compile, a file without a folder"
    torch.save(torch.load(folder / "opt020000.pt"), folder.parent / "mine.pt")
    with pytest.raises(CheckpointDamaged, match="it is the state of an optimiser"):
        load_named("guided-diffusion-256/mine.pt", tmp_path)


def test_averages_come_before_the_weights_they_are_of_and_wrappers_may_lie_in_each_other(tmp_path: Path) -> None:
    one, other = {"w": torch.ones(1)}, {"w": torch.zeros(1)}
    for saved in (
        {"model": one, "ema": other},
        {"model": one, "model_ema": other},
        {"state_dict": {"model": other}},
        {"module": {"state_dict": other}, "epoch": 1},
        {"params": one, "params_ema": other},
        {"ema": {"decay": 0.9}, "model": other},
    ):
        torch.save(saved, tmp_path / "x.pt")
        assert read_state_dict(tmp_path / "x.pt")["w"].item() == 0, saved.keys()


def test_lightnings_own_classes_and_settings_are_read_over(tmp_path: Path, state: State) -> None:
    """As Lightning 2 writes: its settings as OmegaConf's objects, scores as numpy's, callbacks under their names."""
    import numpy as np

    saved = {
        "hyper_parameters": OmegaConf.create({"model": {"lr": 4.5e-6, "levels": [1, 2]}}),
        "callbacks": {"ModelCheckpoint{'monitor': 'val/rec_loss'}": {"best_model_score": np.float64(0.5)}},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"betas": (0.5, 0.9)}]}],
        "MixedPrecision": {"scale": 65536.0, "_growth_tracker": 12},
        "datamodule_hyper_parameters": {Path("x"): {1, 2}},
        "random": (np.arange(4), torch.get_rng_state(), slice(0, 1)),
        "state_dict": state,
    }
    torch.save(saved, tmp_path / "last.ckpt")
    read = read_state_dict(tmp_path / "last.ckpt")
    assert read.keys() == state.keys() and all(torch.equal(read[key], state[key]) for key in state)
