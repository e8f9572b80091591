"""Stable Diffusion in one file, as model sites publish it: the pictures of its folder, and nothing misread."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator.checkpoints import store
from generator.checkpoints.__main__ import main
from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.download import FolderProblem
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.inventory import misplaced
from generator.checkpoints.memory import estimate_memory
from generator.checkpoints.original import recognise
from generator.checkpoints.own import own_folders
from generator.checkpoints.single_file import vae_names
from generator.checkpoints.stable_diffusion import build
from generator.engines.base import generate
from generator.engines.stable_diffusion import StableDiffusion
from generator.models.clip import ClipModel, openai_clip
from generator.models.torchvision_operators import declare
from generator.params import LatentDiffusionParams, validate_job
from generator.registry import hub
from tests.original_files import UNET, VAE, original_names, original_tensors, save_folder, with_averages
from tests.real_formats import BadServer, bad_server, load_named, save_lightning
from tests.tiny_diffusers import REAL_TEXT, REAL_TEXT_2, REAL_UNET, REAL_UNET_XL, REAL_VAE, SCHEDULER

VERSIONS = ("1", "2", "XL")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """diffusers/VERSION as folders, and as diffusers/VERSION-one.safetensors."""
    root = tmp_path_factory.mktemp("made")
    for version in VERSIONS:
        folder = save_folder(root / "diffusers" / version, version)
        save_file(original_tensors(folder, version), root / "diffusers" / f"{version}-one.safetensors")
    return root


def tensors(made: Path, version: str = "1") -> dict[str, torch.Tensor]:
    return load_file(made / "diffusers" / f"{version}-one.safetensors")


def put(root: Path, held: dict[str, torch.Tensor], name: str = "one.safetensors") -> Path:
    path = root / "diffusers" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in held.items()}, path)
    return path


def drawn(name: str, root: Path) -> torch.Tensor:
    models = load_named(name, root)
    clip = ClipModel(openai_clip("model").CLIP(16, 32, 1, 64, 16, 77, 49408, 64, 1, 1), "mini")
    params = LatentDiffusionParams(
        prompt="a red heart", negative_prompt="blurry", checkpoint=name, clip=("mini",), seed=3, steps=3, width=32,
        height=32,
    )  # fmt: skip
    image = list(generate(StableDiffusion(models, [clip], precision=torch.float32), params))[-1].image
    assert image is not None
    return image


def same(one: Any, other: Any) -> bool:
    """Whether two models have the same numbers under the same names."""
    for mine, theirs in zip(one.parts, other.parts, strict=True):
        held, wanted = mine.state_dict(), theirs.state_dict()
        if held.keys() != wanted.keys() or not all(torch.equal(held[key], wanted[key]) for key in wanted):
            return False
    return True


@pytest.mark.parametrize("version", VERSIONS)
def test_one_file_draws_to_the_last_byte_what_its_folder_draws(made: Path, version: str) -> None:
    from_folder = drawn(f"diffusers/{version}", made)
    assert from_folder.std() > 0.01
    assert torch.equal(drawn(f"diffusers/{version}-one.safetensors", made), from_folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_diffusers_itself_reads_the_same_numbers_out_of_the_file(made: Path, version: str) -> None:
    """Its own conversion is asked, which knows nothing of ours."""
    declare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers.loaders import single_file_utils as theirs
    ours = load_named(f"diffusers/{version}-one", made)
    held = tensors(made, version)
    unet = theirs.convert_ldm_unet_checkpoint(dict(held), dict(ours.unet.config))
    vae = theirs.convert_ldm_vae_checkpoint(dict(held), dict(ours.vae.config))
    for network, wanted in ((ours.unet, unet), (ours.vae, vae)):
        state = network.state_dict()
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[key], value) for key, value in wanted.items())
    if version != "2":
        prefix = "conditioner.embedders.0.transformer.text_model." if version == "XL" else None
        text = theirs.convert_ldm_clip_checkpoint(held, prefix)
        state = ours.texts.networks[0].state_dict()
        assert all(torch.equal(value, text[f"text_model.{key}"]) for key, value in state.items())
    if version != "1":
        prefix = "conditioner.embedders.1.model." if version == "XL" else "cond_stage_model.model."
        network = ours.texts.networks[-1]
        model = SimpleNamespace(config=SimpleNamespace(hidden_size=64))
        # Their size of a query is that of the projection, which is as wide as the network in published models.
        square = held | {f"{prefix}text_projection": torch.zeros(64, 64)}
        text = {
            k.removeprefix("text_model."): v
            for k, v in theirs.convert_open_clip_checkpoint(model, square, prefix).items()
        }
        state = {key: value for key, value in network.state_dict().items() if not key.startswith("text_projection")}
        assert all(torch.equal(value, text[key]) for key, value in state.items())


REAL_TEXT_H = REAL_TEXT_2 | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "projection_dim": 1024,
}
REAL_UNET_2 = REAL_UNET | {
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}


@pytest.mark.parametrize(
    ("version", "texts", "unet"),
    [
        ("1", (REAL_TEXT,), REAL_UNET),
        ("2", (REAL_TEXT_H,), REAL_UNET_2),
        ("XL", (REAL_TEXT, REAL_TEXT_2), REAL_UNET_XL),
    ],
)
def test_the_published_models_are_told_by_their_shapes_with_the_configurations_they_were_published_with(
    version: str, texts: tuple[dict[str, Any], ...], unet: dict[str, Any]
) -> None:
    pads = ("<|endoftext|>" if version != "2" else "!", "!")
    folder = DiffusersFolder(
        tuple(Network(text, (), pad) for text, pad in zip(texts, pads, strict=False)),
        Network(unet, ()),
        Network(REAL_VAE, ()),
        SCHEDULER,
        zeros_for_nothing=version == "XL",
    )
    wanted = build(folder)
    held = [network.state_dict() for network in wanted.texts.networks]
    whole = original_names(wanted.unet.state_dict(), wanted.vae.state_dict(), held, version, per_level=3)
    shapes = {name: tuple(value.shape) for name, value in whole.items()}
    found = recognise(shapes, vae_names(shapes))
    assert found.version == version
    heads = unet["attention_head_dim"]
    assert found.networks.unet.config["attention_head_dim"] == (heads if isinstance(heads, list) else [heads] * 4)
    for ours, theirs in zip(found.networks.texts, folder.texts, strict=True):
        assert ours.pad == theirs.pad
        assert all(ours.config[key] == theirs.config[key] for key in ours.config if key != "projection_dim")
    for mine, theirs in zip(build(found.networks).parts, wanted.parts, strict=True):
        state = {name: value.shape for name, value in mine.state_dict().items()}
        assert state == {name: value.shape for name, value in theirs.state_dict().items()}
    assert found.networks.vae.config["scaling_factor"] == (0.13025 if version == "XL" else 0.18215)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_files_of_less_than_fp32_are_taken(made: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    halved = {key: value.to(dtype) for key, value in tensors(made).items()}
    put(tmp_path, halved)
    unet = load_named("diffusers/one", tmp_path).unet.state_dict()
    assert torch.equal(unet["conv_in.weight"], halved[f"{UNET}input_blocks.0.0.weight"].float())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_ckpt_of_a_training_is_taken_with_all_that_lies_in_it(made: Path, tmp_path: Path, prefix: str) -> None:
    """Callbacks, optimisers and classes stay what they are: notes of which nothing is made."""
    (tmp_path / "diffusers").mkdir()
    held = {f"{prefix}{key}": value for key, value in tensors(made).items()}
    if prefix:
        torch.save({"state_dict": held, "epoch": 3}, tmp_path / "diffusers" / "one.ckpt")
    else:
        save_lightning(tmp_path / "diffusers" / "one.ckpt", held, moments=True)
    assert own_folders(tmp_path) == ["diffusers/one.ckpt"] and not misplaced(tmp_path)
    assert same(load_named("diffusers/one.ckpt", tmp_path), load_named("diffusers/1", made))


def test_the_averages_of_a_training_are_drawn_with_where_they_are_whole(made: Path, tmp_path: Path) -> None:
    wanted, said = load_named("diffusers/1", made), list[str]()
    held = with_averages(tensors(made), 0.5)
    put(tmp_path, held)
    assert same(load_named("diffusers/one", tmp_path, said.append), wanted)
    assert "averages of its weights (EMA) are drawn with" in said[-1]
    del held["model_ema.diffusion_modelout2bias"]
    put(tmp_path, held)
    loaded = load_named("diffusers/one", tmp_path, said.append).unet.state_dict()
    assert "are not whole, so the weights themselves" in said[-1]
    assert torch.equal(loaded["conv_in.weight"], held[f"{UNET}input_blocks.0.0.weight"])


def test_a_vae_beside_the_file_takes_the_place_of_its_own_and_one_must_be_there(made: Path, tmp_path: Path) -> None:
    held = tensors(made)
    path = put(tmp_path, {key: value for key, value in held.items() if not key.startswith(VAE)})
    with pytest.raises(CheckpointDamaged, match=r"it has no VAE: put one beside it .* NAME\.vae\.safetensors"):
        load_named("diffusers/one", tmp_path)
    beside = {key.removeprefix(VAE): value + 1 for key, value in held.items() if key.startswith(VAE)}
    torch.save({"state_dict": beside | {"loss.logvar": torch.zeros(1)}}, path.with_name("one.vae.pt"))
    put(tmp_path, held)
    vae = load_named("diffusers/one", tmp_path).vae.state_dict()
    assert torch.equal(vae["encoder.conv_in.weight"], beside["encoder.conv_in.weight"])
    assert own_folders(tmp_path) == ["diffusers/one.safetensors"], "the VAE is no model of its own"


YAML = "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    {}\n"


def test_what_version_2_predicts_is_told_by_a_yaml_or_a_mark_and_else_by_its_weights(
    made: Path, tmp_path: Path
) -> None:
    held, said = tensors(made, "2"), list[str]()
    path = put(tmp_path, held)

    def predicted() -> str:
        loaded: str = load_named("diffusers/one", tmp_path, said.append).schedule.prediction
        return loaded

    assert predicted() == "epsilon" and "does not say what it predicts; epsilon" in said[-1]
    path.with_suffix(".yaml").write_text(YAML.format("parameterization: v"))
    assert predicted() == "v_prediction"
    path.with_suffix(".yaml").write_text(YAML.format("parameterization: w"))
    with pytest.raises(CheckpointDamaged, match=r"one\.yaml has the parameterization 'w'; eps, v, x0 are known"):
        predicted()
    path.with_suffix(".yaml").unlink()
    put(tmp_path, held | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)})
    assert predicted() == "v_prediction"
    spread = torch.linspace(-1, 1, 64)
    put(tmp_path, held | {f"{UNET}output_blocks.3.1.transformer_blocks.0.norm1.bias": spread})
    assert predicted() == "v_prediction"
    put(tmp_path, tensors(made, "XL") | {"v_pred": torch.zeros(0)})
    assert predicted() == "v_prediction"


def test_a_v_model_draws_what_its_folder_draws(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "diffusers" / "folder", "2", prediction="v_prediction")
    inside = put(tmp_path, original_tensors(folder, "2"), "mine/768-v-ema.safetensors").parent
    (inside / "v2-inference-v.yaml").write_text(YAML.format("parameterization: v"))
    assert own_folders(tmp_path) == ["diffusers/folder", "diffusers/mine"]
    assert torch.equal(drawn("diffusers/mine", tmp_path), drawn("diffusers/folder", tmp_path))


def test_files_are_listed_by_their_names_and_what_is_none_is_told_why(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path, tensors(made), "one.safetensors")
    put(tmp_path, tensors(made), "Some Model (1).safetensors")
    put(tmp_path, {"lora_unet_down_blocks_0.lora_up.weight": torch.ones(2)}, "style.safetensors")
    put(tmp_path, tensors(made), "../dreams.safetensors")
    target = ["--checkpoints-dir", str(tmp_path)]
    assert own_folders(tmp_path) == ["diffusers/one.safetensors"]
    assert main(["list", *target]) == 0
    said = capsys.readouterr().out
    assert "diffusers/one.safetensors" in said and "your own file" in said
    assert "Some Model (1).safetensors: Its name has signs other than letters, digits, _, . and -" in said
    assert "style.safetensors: It cannot be used: it is a LoRA" in said
    assert "dreams.safetensors: It cannot be used: it is Stable Diffusion in one file: put it under diffusers/" in said
    assert main(["verify", "diffusers/one", *target]) == 0
    assert main(["verify", "diffusers/style.safetensors", *target]) == 1
    assert main(["remove", "diffusers/one.safetensors", *target]) == 1
    assert main(["verify", "diffusers/other.safetensors", *target]) == 2
    said = capsys.readouterr().err
    assert "merge_lora.py" in said and "was not downloaded" in said
    assert "There is no file" in said and "safetensors.safetensors" not in said
    assert main(["verify", "diffusers/other", *target]) == 2
    assert "nor a model in one file (other.safetensors or .ckpt)" in capsys.readouterr().err
    assert main(["verify", "diffusers/Some Model (1).safetensors", *target]) == 2
    assert "rename it" in capsys.readouterr().err


def test_a_folder_that_another_program_keeps_its_models_in_can_be_linked(made: Path, tmp_path: Path) -> None:
    for name in ("one.safetensors", "two.safetensors"):
        put(tmp_path / "webui", tensors(made), name)
    (tmp_path / "diffusers").mkdir()
    (tmp_path / "diffusers" / "webui").symlink_to(tmp_path / "webui" / "diffusers")
    assert own_folders(tmp_path) == ["diffusers/webui/one.safetensors", "diffusers/webui/two.safetensors"]
    assert same(load_named("diffusers/webui/two.safetensors", tmp_path), load_named("diffusers/1", made))
    with pytest.raises(FolderProblem, match="was not downloaded; remove that file yourself"):
        store.remove("diffusers/webui/two.safetensors", tmp_path)
    with pytest.raises(CheckpointDamaged, match=r"several files that could be the model \(one.safetensors, two"):
        load_named("diffusers/webui", tmp_path)


def test_what_it_needs_is_reckoned_from_its_names_and_shapes(made: Path, tmp_path: Path) -> None:
    def needed(name: str, root: Path) -> int:
        given = {"prompt": "x", "checkpoint": name, "clip": ("mini",)}
        return estimate_memory(validate_job("latent-diffusion", given), root)

    held = {k: v for k, v in tensors(made).items() if k.startswith((UNET, VAE, "cond_stage_model"))}
    put(tmp_path, held)
    torch.save({"state_dict": held}, tmp_path / "diffusers" / "two.ckpt")
    folder = needed("diffusers/1", made)
    assert needed("diffusers/one", tmp_path) == needed("diffusers/two", tmp_path) == folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    (tmp_path / "server").mkdir()
    with bad_server(tmp_path / "server") as running:
        yield running


def test_a_repository_that_holds_one_file_is_fetched_by_its_name(
    monkeypatch: pytest.MonkeyPatch, made: Path, server: BadServer, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub, "HUGGING_FACE", server.url)
    source = server.folder / "some" / "dreams" / "resolve" / "main"
    source.mkdir(parents=True)
    shutil.copy(made / "diffusers" / "1-one.safetensors", source / "dreams_8.safetensors")
    server.refuse = {"/some/dreams/resolve/main/model_index.json": 404}
    listing = server.folder / "api" / "models" / "some"
    listing.mkdir(parents=True)
    (listing / "dreams?blobs=true").write_text(
        '{"siblings": [{"rfilename": "README.md"}, {"rfilename": "dreams_8.safetensors"}]}'
    )
    store.download("diffusers/some/dreams", tmp_path / "got", pause=0.001)
    assert own_folders(tmp_path / "got") == ["diffusers/some/dreams"]
    assert same(load_named("diffusers/some/dreams", tmp_path / "got"), load_named("diffusers/1", made))
    file = tmp_path / "got" / "diffusers" / "some" / "dreams" / "dreams_8.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(CheckpointDamaged, match="its sha256 is"):
        load_named("diffusers/some/dreams", tmp_path / "got")
    assert store.remove("diffusers/some/dreams", tmp_path / "got") and own_folders(tmp_path / "got") == []
    with pytest.raises(CheckpointMissing, match="download diffusers/some/dreams"):
        load_named("diffusers/some/dreams", tmp_path / "got")
