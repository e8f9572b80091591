"""The second family: VQGAN, flow and CLIP learn on a tiny set, and what they leave is drawn with as it comes."""

from __future__ import annotations

import json
import random
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator import bundles
from generator.checkpoints import own_clips
from generator.checkpoints.__main__ import main as checkpoints
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.drawing import Machine, generate, rank
from generator.models.clip import load_mini
from generator.models.flow import FlowTransformer, flow_models
from generator.models.lpips import LPIPS
from generator.models.vqgan import VQModel
from generator.params import BadParams
from generator.training import family, flow, offline_bundle, pairs, parts, perception, relations, unit_vqgan
from generator.training.opposites import opposite
from generator.training.run import Budget

TINY = unit_vqgan.Recipe(side=64, ch=32, ch_mult=(1, 1, 1, 1), n_embed=32, batch=2, looks=32, critic_from=0.5)
TINY_FLOW = flow.Recipe(width=32, heads=2, depth=1, bank=64, batch=16, rate=3e-3, sheet_steps=2)
TINY_CLIP = relations.Recipe(side=64, width=64, layers=1, batch=12, rate=2e-3)


@pytest.fixture(scope="module")
def shown(folder: Path) -> pairs.Pairs:
    return pairs.load(folder, "cpu")


@pytest.fixture(scope="module")
def lpips() -> LPIPS:
    torch.manual_seed(0)
    return LPIPS().eval().requires_grad_(False)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def steps(number: int, stop: int | None = None) -> Budget:
    return Budget(steps=number, stop_after=stop)


@pytest.fixture(scope="module")
def trained(shown: pairs.Pairs, lpips: LPIPS, tmp_path_factory: pytest.TempPathFactory) -> tuple[VQModel, Path]:
    """A VQGAN and the folder with its parts."""
    work = tmp_path_factory.mktemp("family")
    return unit_vqgan.run(
        replace(TINY, budget=steps(12)), shown, lpips, folder=work, keep=partial(parts.write_parts, work)
    ), work


def test_the_vqgan_learns_and_goes_on_exactly_where_it_was(
    shown: pairs.Pairs, lpips: LPIPS, trained: tuple[VQModel, Path], tmp_path: Path
) -> None:
    short = unit_vqgan.run(replace(TINY, budget=steps(12, stop=2)), shown, lpips, folder=tmp_path)
    assert same(unit_vqgan.run(replace(TINY, budget=steps(12)), shown, lpips, folder=tmp_path), trained[0])
    before, after = (unit_vqgan.score(model, shown)[0]["psnr"] for model in (short, trained[0]))
    assert after > before + 0.5
    assert torch.allclose(trained[0].codebook.norm(dim=1), torch.ones(32), atol=1e-3)


def test_the_flow_learns_goes_on_exactly_and_is_drawn_with_once_its_parts_are_joined(
    shown: pairs.Pairs, trained: tuple[VQModel, Path], tmp_path: Path
) -> None:
    vqgan, work = trained

    def go(number: int, stop: int | None, folder: Path) -> flow.FlowModels:
        recipe = replace(TINY_FLOW, budget=steps(number, stop))
        return flow.run(recipe, shown, vqgan, load_mini(), folder=folder, keep=partial(parts.write_parts, work))

    whole = go(8, None, tmp_path / "whole")
    go(8, 3, tmp_path / "parts")
    assert same(go(8, None, tmp_path / "parts").unet, whole.unet)
    assert (tmp_path / "whole" / "flow-sheet.png").is_file()

    parts.join(work, tmp_path / "checkpoints" / "flow" / "tiny")
    wanted: dict[str, Any] = {"checkpoint": "flow/tiny", "steps": 2, "candidates": 1, "upscale": 1, "seed": 1}
    machine = Machine("cpu", tmp_path / "checkpoints")
    with pytest.raises(BadParams, match="noto"):
        generate("a cat", "latent-diffusion", machine=machine, **wanted, style="cubism")
    plain, styled = (
        generate("a cat", "latent-diffusion", machine=machine, **wanted, style=style) for style in (None, "twemoji")
    )
    assert plain.image.size == (64, 64) and plain.score != styled.score


def test_compositions_that_were_never_shown_are_scored_however_little_time_there_is(
    shown: pairs.Pairs, trained: tuple[VQModel, Path]
) -> None:
    vqgan, clip = trained[0], load_mini()
    config = flow.configuration(TINY_FLOW, flow.fill(TINY_FLOW, shown, vqgan), shown.styles, clip)
    found = family.scenes_seen(flow_models(FlowTransformer(config).eval(), vqgan, clip), end=0.0)
    assert found["pictures"] == 1 and 0 <= found["relation"] <= found["each"] <= 1


def test_the_clip_learns_and_reads_what_it_has_left(shown: pairs.Pairs, tmp_path: Path) -> None:
    recipe = replace(TINY_CLIP, budget=steps(6))
    clip = relations.run(recipe, shown, load_mini(), folder=tmp_path, keep=partial(parts.write_parts, tmp_path))
    read = relations.load(tmp_path).encode_text(["a red square", "a blue circle"])
    assert (read - clip.encode_text(["a red square", "a blue circle"])).abs().max() < 0.05


def test_the_clip_of_a_family_guides_and_ranks_once_its_parts_are_joined(
    shown: pairs.Pairs, trained: tuple[VQModel, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vqgan, clip, parted = trained[0], load_mini(), tmp_path / "parts"
    made = relations.network_of(TINY_CLIP, clip)
    parts.write_parts(parted, "clip", relations.packed(made.state_dict(), shown), {})
    config = flow.configuration(TINY_FLOW, flow.fill(TINY_FLOW, shown, vqgan), shown.styles, clip)
    parts.write_parts(parted, "flow", FlowTransformer(config).state_dict(), {"config": config})
    parts.write_parts(parted, "vqgan", vqgan.state_dict(), {"config": vqgan.config})
    folder = tmp_path / "checkpoints"
    parts.join(parted, folder / "flow" / "tiny")

    machine = Machine("cpu", folder)
    draw = partial(generate, "a red square", "latent-diffusion", machine=machine, checkpoint="flow/tiny")
    wanted: dict[str, Any] = {"steps": 2, "candidates": 1, "upscale": 1, "seed": 1, "clip": ("clip/tiny",)}
    plain, guided = draw(**wanted), draw(clip_guidance_scale=2000.0, **wanted)
    assert plain.image.tobytes() != guided.image.tobytes()
    assert '"clip/tiny":' in str(guided.image.info), "which weights it was, by their hash"
    assert len(rank([plain, guided], "a red square", ["clip/tiny", "mini"], machine=machine)) == 2
    assert checkpoints(["verify", "clip/tiny", "--checkpoints-dir", str(folder)]) == 0
    checkpoints(["list", "--checkpoints-dir", str(folder)])
    assert "clip/tiny                clip" in capsys.readouterr().out

    file = folder / "clip" / "tiny.safetensors"
    held = load_file(file)
    for wrong, what in (
        ({"token_index": held["token_index"] + 49_408}, "tokens that there are not"),
        ({"token_rows": torch.zeros(1, 10**6, dtype=torch.float16)}, "does not fit"),
        ({"positional_embedding": torch.zeros(70, 256)}, "reads 70 tokens"),
    ):
        save_file(held | wrong, file)
        with pytest.raises(CheckpointDamaged, match=what):
            own_clips.load("clip/tiny", folder)
    file.unlink()
    with pytest.raises(CheckpointMissing, match=r"put its tiny\.safetensors"):
        draw(**wanted)
    with pytest.raises(BadParams, match="Unknown CLIP model"):
        draw(**wanted | {"clip": ("clip/../tiny",)})


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ("a red cat and a blue dog", "a blue cat and a red dog"),
        ("a red cat next to an orange dog", "an orange cat next to a red dog"),
        ("a red cat next to an orange dog, a twemoji", "an orange cat next to a red dog, a twemoji"),
        ("an orange on a blue box", "a blue box on an orange"),
        ("a cat on a box", "a box on a cat"),
        ("a cat on top of a box", "a box on top of a cat"),
        ("a cat on a box", "a cat under a box"),
        ("two apples next to a book", "an apple next to two books"),
        ("a cat wearing a hat in the rain", "a hat wearing a cat in the rain"),
        ("a cat wearing a hat in the rain", "a cat wearing a hat in the fog"),
        ("a red cat in space", "a blue cat in space"),
        ("a cat on a table", "a cat in the city"),
        ("three apples on a purple background", "two apples on a purple background"),
        ("a cat, a twemoji", "a cat, a noto emoji"),
        ("an orange pizza", "a blue pizza"),
        ("a man in a lotus position", "a lotus position in a man"),
    ],
)
def test_the_opposite_of_a_caption_is_of_another_picture(said: str, wrong: str) -> None:
    found = {opposite(said, random.Random(number)) for number in range(120)}
    assert wrong in found and said not in found and None not in found


def test_the_opposite_of_a_caption_is_not_true_as_well() -> None:
    def found(said: str) -> set[str | None]:
        return {opposite(said, random.Random(number)) for number in range(60)}

    assert found("a cat") == {None}
    assert "a dog next to a cat" not in found("a cat next to a dog") and "a cat behind a dog" in found(
        "a cat and a dog"
    )
    assert not found("a duck in the night sky") & {"a duck in the sky", "a duck in space"}
    assert "a yellow crown next to a golden key" not in found("a golden crown next to a yellow key")
    assert "a pig on a skateboard" not in found("a pig riding on a skateboard")


def test_weights_too_large_for_one_file_come_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_BYTES", 3000)
    weights = {f"layer {number}": torch.full((30, 30), float(number)) for number in range(4)}
    parts.write_parts(tmp_path, "flow", weights, {"notes": 1})
    files = list(tmp_path.iterdir())
    assert len(files) == 4 and all(file.stat().st_size < 3000 for file in files)
    found, told = parts.read_parts(tmp_path, "flow")
    assert told == {"notes": 1} and all(torch.equal(found[key], value) for key, value in weights.items())
    files[0].unlink()
    with pytest.raises(FileNotFoundError, match="3 of 4 parts of flow"):
        parts.read_parts(tmp_path, "flow")


def test_the_bundle_holds_all_that_training_needs(
    folder: Path, lpips: LPIPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(perception, "fetch", lambda packages: packages)
    monkeypatch.setattr(perception, "load", lambda path: lpips)
    monkeypatch.setattr(perception, "pack_into", lambda path, model: path.touch())
    monkeypatch.setattr(offline_bundle, "LACKING", bundles.Packages((), ()))
    monkeypatch.setattr(offline_bundle, "WEIGHTS", ())
    offline_bundle.pack(tmp_path / "family.tar", folder / "packages", ["3.12"])
    with tarfile.open(tmp_path / "family.tar") as tar:
        names = set(tar.getnames())
    assert {"lasting.py", "generator/training/family.py", "scripts/unpack_bundle.sh"} <= names
    assert "data/packages/iconify-json-noto/package/icons.json" in names
    assert not any("mini-layout" in name or name.endswith(".pyc") for name in names)


def test_a_recipe_out_of_memory_goes_on_with_half_the_batch_and_one_that_fails_is_passed_over(tmp_path: Path) -> None:
    notes = family.Notes(tmp_path / "scores.json")

    def large(recipe: relations.Recipe) -> int:
        if recipe.batch > 3:
            raise torch.OutOfMemoryError("no room")
        return recipe.batch

    def broken(recipe: relations.Recipe) -> int:
        raise ValueError("it does not fit")

    assert family.guarded("clip", TINY_CLIP, large, notes) == 3
    assert family.guarded("flow", TINY_CLIP, broken, notes) is None
    said = json.loads((tmp_path / "scores.json").read_text())
    assert said["clip_batch"] == 3 and "it does not fit" in said["flow_failed"]
