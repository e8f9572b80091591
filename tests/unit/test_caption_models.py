"""A model of one's own in use: drawn with as any checkpoint is, in one file, and in a folder that diffusers loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import Colours
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_caption_run import SMALL
from tiny_diffusers import save_stable_diffusion

from generator import registry
from generator.checkpoints.__main__ import main as checkpoints
from generator.checkpoints.caption_models import ARCHITECTURE, read_card
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.inventory import own_folders
from generator.checkpoints.loading import load_caption_diffusion, load_clip, load_stable_diffusion
from generator.checkpoints.memory import estimate_memory
from generator.checkpoints.model_file import look_at
from generator.checkpoints.resolve import resolve, resolve_clip
from generator.device import Host
from generator.engines.base import generate
from generator.engines.loading import load
from generator.engines.stable_diffusion import StableDiffusion
from generator.images.convert import no_picture
from generator.learning.caption_diffusion.run import CaptionRun
from generator.models.torchvision_operators import declare
from generator.params import LatentDiffusionParams
from generator.params.train import TrainParams
from generator.params.validation import validate
from generator.sampling.noise_schedule import Schedule
from generator.training.__main__ import main as training

NAME = "caption-diffusion/colours"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints with one model that has hardly learnt anything."""
    found = tmp_path_factory.mktemp("checkpoints")
    run = CaptionRun(TrainParams(**(SMALL | {"steps": 2, "sample_every": 2})), Colours(), "cpu", found)
    while not run.done:
        run.advance(1)
    run.export(found / NAME)
    run.close()
    return found


def host(folder: Path, picture: Any = no_picture) -> Host:
    return Host("cpu", folder, picture)


def params(**changed: Any) -> LatentDiffusionParams:
    settings = {"prompt": "a red square", "checkpoint": NAME, "seed": 5, "width": 32, "height": 32, "steps": 3}
    made = validate("latent-diffusion", settings | {"candidates": 2} | changed)
    assert isinstance(made, LatentDiffusionParams)
    return made


def drawn(folder: Path, **changed: Any) -> torch.Tensor:
    engine = load("latent-diffusion", NAME, ("mini",), host(folder))
    image = list(generate(engine, params(**changed)))[-1].image
    assert image is not None
    return image


def test_it_is_found_offered_and_verified_by_its_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert own_folders(folder) == [NAME] and registry.offers("latent-diffusion", NAME)
    assert checkpoints(["verify", NAME, "--checkpoints-dir", str(folder)]) == 0
    assert checkpoints(["list", "--checkpoints-dir", str(folder)]) == 0
    assert NAME in capsys.readouterr().out
    assert estimate_memory(params()) > 0


def test_one_that_was_exported_is_imported_elsewhere_and_draws_the_same(folder: Path, tmp_path: Path) -> None:
    words = ["import", str(folder / NAME / "colours.safetensors"), "--checkpoints-dir", str(tmp_path)]
    assert training(words) == 0 and own_folders(tmp_path) == [NAME]
    there = drawn(tmp_path)
    assert torch.equal(there, drawn(folder)) and there.std() > 0


def test_one_of_before_that_says_nothing_of_the_caption_as_a_whole_draws_and_travels_as_it_did(tmp_path: Path) -> None:
    run = CaptionRun(TrainParams(**(SMALL | {"time_width": 0})), Colours(), "cpu", tmp_path)
    while run.step < 1:
        run.advance(0)
    (file,) = run.export(tmp_path / NAME)
    run.close()
    expected = drawn(tmp_path)
    with safe_open(file, "pt") as opened:
        told = opened.metadata()
    architecture = json.loads(told[ARCHITECTURE])
    assert architecture.pop("time_width") == 0
    save_file(load_file(file), file, metadata=told | {ARCHITECTURE: json.dumps(architecture)})
    assert torch.equal(drawn(tmp_path), expected)
    words = ["import", str(file), "--name", "older", "--checkpoints-dir", str(tmp_path)]
    assert look_at(file).kind == "caption-diffusion" and training(words) == 0


@pytest.mark.parametrize("sampler", ["dpm-solver-2m", "ddim", "euler", "euler-ancestral", "pndm"])
def test_every_sampler_draws_and_shows_its_way(folder: Path, sampler: str) -> None:
    engine = load("latent-diffusion", NAME, ("mini",), host(folder))
    steps = list(generate(engine, params(sampler=sampler, clip_guidance_scale=100.0 if sampler == "ddim" else 0.0)))
    assert [step.index for step in steps] == list(range(1, params(sampler=sampler).total_steps + 1))
    assert all(step.image is not None and step.image.shape == (3, 32, 32) for step in steps)
    assert -1 <= steps[-1].score <= 1


def test_pictures_have_the_size_that_is_asked_for_in_its_proportions(folder: Path) -> None:
    assert drawn(folder, width=48, height=24).shape == (3, 24, 48)
    assert torch.equal(drawn(folder), drawn(folder)) and not torch.equal(drawn(folder), drawn(folder, seed=6))


def test_a_slot_that_is_cut_off_or_shares_its_batch_becomes_the_same_picture(folder: Path) -> None:
    engine = load("latent-diffusion", NAME, ("mini",), host(folder))
    expected = list(generate(engine, params()))[-1].image
    slot, other = engine.open(params()), engine.open(params(prompt="a blue square", negative_prompt="a red square"))
    engine.advance([slot, other])
    slot = engine.resume(params(), slot.state_dict())
    engine.advance([slot])
    (last,) = engine.advance([slot])
    assert last.done and last.image is not None and expected is not None and torch.equal(last.image, expected)


def test_a_start_picture_and_a_mask_keep_what_is_not_to_be_redrawn(folder: Path) -> None:
    start, mask = Image.new("RGB", (32, 32), "blue"), Image.new("L", (32, 32), 0)
    mask.paste(255, (0, 0, 16, 32))
    engine = load("latent-diffusion", NAME, ("mini",), host(folder, lambda name: start if name == "start" else mask))
    image = list(generate(engine, params(init_image="start", mask_image="mask")))[-1].image
    assert image is not None
    assert torch.equal(image[:, :, 16:], torch.tensor([0.0, 0, 1]).view(3, 1, 1).expand(3, 32, 16))


def test_its_card_tells_what_it_learnt_from_and_survives_as_one_file(folder: Path) -> None:
    card = read_card(folder / NAME / "colours.safetensors")
    assert (card["name"], card["step"], card["licence"]) == ("colours", 2, "not stated")


def test_a_folder_of_it_is_drawn_with_by_diffusers_alone_and_comes_back(folder: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "hf", "caption-diffusion/back"
    at = ["--checkpoints-dir", str(folder)]
    assert checkpoints(["export", NAME, str(out), *at]) == 0
    assert checkpoints(["export", NAME, str(out), *at]) == 1  # nothing is written over
    declare()
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    text = pipeline.tokenizer("A red (square), 7 crème!").input_ids
    models = load_caption_diffusion(resolve(NAME, folder), host(folder))
    engine: Any = StableDiffusion(models, [load_clip(resolve_clip("mini"), host(folder))], precision=torch.float32)
    reader = engine.models.texts.networks[0]
    start, end = (reader.bpe.encoder[f"<|{what}oftext|>"] for what in ("start", "end"))
    assert text == [start, *reader.encode("A red (square), 7 crème!"), end]
    noise = torch.randn((1, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    theirs = pipeline(
        "a red square", height=16, width=16, num_inference_steps=4, guidance_scale=3.0, latents=noise, output_type="pt"
    ).images[0]
    slot = engine.open(params(width=16, height=16, steps=4, sampler="ddim", candidates=1, cfg_scale=3.0))
    slot.z = noise.clone()
    ours = [engine.advance([slot])[0] for _ in range(4)][-1].image
    assert (ours - theirs).abs().max() < 1e-3
    assert checkpoints(["import", str(out), back, *at]) == 0
    assert checkpoints(["import", str(out), back, *at]) == 1
    first, second = (load_file(folder / f"{n}/{n.rpartition('/')[2]}.safetensors") for n in (NAME, back))
    assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    (folder / back / "back.safetensors").unlink()


def test_a_model_on_a_base_is_learnt_in_its_latents_and_needs_it_to_draw(tmp_path: Path) -> None:
    save_stable_diffusion(tmp_path / "diffusers" / "tiny")
    settings = SMALL | {"size": 64, "base": "diffusers/tiny", "attention_up_to": 4, "steps": 2, "sample_every": 2}
    run = CaptionRun(TrainParams(**settings), Colours(), "cpu", tmp_path)
    made = []
    while not run.done:
        made.append(run.advance(1))
    samples = made[-1].samples
    assert samples is not None and samples.shape == (2, 3, 64, 64) and "validation" in made[-1].losses
    (file,) = run.export(tmp_path / NAME)
    run.close()
    assert look_at(file).base == "diffusers/tiny"

    def exactly(name: str, models: Any) -> torch.Tensor:
        """In float32: bfloat16 rounds two ways to load the same weights apart."""
        clips = [load_clip(resolve_clip("mini"), host(tmp_path))]
        engine = StableDiffusion(models(resolve(name, tmp_path), host(tmp_path)), clips, precision=torch.float32)
        image = list(generate(engine, params(checkpoint=name, width=64, height=64, cfg_scale=3.0)))[-1].image
        assert image is not None
        return image

    assert drawn(tmp_path, width=64, height=64).shape == (3, 64, 64)
    expected = exactly(NAME, load_caption_diffusion)
    assert checkpoints(["export", NAME, str(tmp_path / "hf"), "--checkpoints-dir", str(tmp_path)]) == 0
    (tmp_path / "hf").rename(tmp_path / "diffusers" / "whole")
    assert (exactly("diffusers/whole", load_stable_diffusion) - expected).abs().max() < 1e-4
    (tmp_path / "diffusers" / "tiny" / "model_index.json").unlink()
    with pytest.raises(CheckpointMissing, match="diffusers/tiny"):
        drawn(tmp_path, width=64, height=64)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"channels": [2_000_000, 8]}, "channels"),
        ({"caption_tokens": 10**9}, "caption_tokens"),
        ({"merges": [["a", "nothing"]]}, "joins what is no token"),
        ({"channels": [16, 16]}, "do not belong to the model"),
        ({"code": "import os"}, "code"),
    ],
)
def test_a_file_that_says_what_cannot_be_is_refused_in_a_sentence(
    folder: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    source, target = folder / NAME / "colours.safetensors", tmp_path / NAME / "colours.safetensors"
    with safe_open(source, "pt") as file:
        told = file.metadata()
    told[ARCHITECTURE] = json.dumps(json.loads(told[ARCHITECTURE]) | changed)
    target.parent.mkdir(parents=True)
    save_file(load_file(source), target, metadata=told)
    with pytest.raises(CheckpointDamaged, match=said):
        load("latent-diffusion", NAME, ("mini",), host(tmp_path))


def test_the_squared_cosine_schedule_is_diffusers_own() -> None:
    declare()
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    for rescaled in (False, True):
        theirs: Any = DDIMScheduler(beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=rescaled)
        ours = torch.tensor(Schedule({**theirs.config}).squared)
        assert torch.allclose(ours, theirs.alphas_cumprod.double(), atol=1e-6)
