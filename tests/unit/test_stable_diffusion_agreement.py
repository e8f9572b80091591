"""Our pictures are those of diffusers' own pipelines, on the same weights, noise, sampler and steps."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generator.engines.base import generate
from generator.engines.stable_diffusion import StableDiffusion
from generator.models.clip import ClipModel
from generator.params import LatentDiffusionParams
from generator.tokens import openai_clip, tokenizer
from tests.original_files import original_tensors, save_folder
from tests.real_formats import load_named
from tests.tiny_diffusers import SCHEDULER, beside_diffusers, save_stable_diffusion, write

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "dpm-solver-2m": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-ancestral": "EulerAncestralDiscreteScheduler",
    "pndm": "PNDMScheduler",
}
VELOCITY = SCHEDULER | {"prediction_type": "v_prediction", "timestep_spacing": "leading"}
TRAILING = SCHEDULER | {"timestep_spacing": "trailing"}
TEXTS = {"prompt": "A red heart, isn't it?", "negative_prompt": "blurry"}


@functools.cache
def tokens(pad: str) -> Any:
    from transformers import CLIPTokenizer

    bpe = tokenizer()
    merges = sorted(bpe.bpe_ranks, key=bpe.bpe_ranks.__getitem__)
    return CLIPTokenizer(vocab=dict(bpe.encoder), merges=merges, pad_token=pad, model_max_length=77)


def text_encoder(folder: Path, *, projection: bool) -> Any:
    import transformers

    kind = transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel
    model = kind(transformers.CLIPTextConfig(**json.loads((folder / "config.json").read_text()))).eval()
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.endswith("position_ids")}
    if not any(key.startswith("text_model.") for key in model.state_dict()):
        weights = {key.removeprefix("text_model."): value for key, value in weights.items()}
    model.load_state_dict(weights, strict=True)
    return model


def pipeline_of(folder: Path, sampler: str, scheduler: dict[str, Any], xl: bool) -> Any:
    """Diffusers' own pipeline of a folder."""
    import diffusers

    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = diffusers.AutoencoderKL.from_pretrained(folder / "vae")
    moves = getattr(diffusers, SCHEDULERS[sampler]).from_config(scheduler)
    texts, pads = [text_encoder(folder / "text_encoder", projection=False)], [tokens("<|endoftext|>")]
    if xl:
        texts, pads = [*texts, text_encoder(folder / "text_encoder_2", projection=True)], [*pads, tokens("!")]
        pipeline = diffusers.StableDiffusionXLPipeline(vae, *texts, *pads, unet, moves, add_watermarker=False)
    else:
        pipeline = diffusers.StableDiffusionPipeline(vae, *texts, *pads, unet, moves, None, None, None, False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def theirs(folder: Path, sampler: str, scheduler: dict[str, Any], xl: bool) -> torch.Tensor:
    """The picture of diffusers' pipeline; the noise is drawn as our slots draw it."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 4, 4, 4, generator=generator)
    made = pipeline_of(folder, sampler, scheduler, xl)(
        **TEXTS, num_inference_steps=6, guidance_scale=7.5, width=32, height=32,
        latents=noise, generator=generator, output_type="pt",
    )  # fmt: skip
    image: torch.Tensor = made.images[0]
    return image


@pytest.fixture(autouse=True)
def quiet() -> Any:
    with beside_diffusers():
        yield


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    save_stable_diffusion(root / "diffusers" / "plain")
    save_stable_diffusion(root / "diffusers" / "xl", xl=True)
    return root


CASES = [
    *((sampler, SCHEDULER, False) for sampler in SCHEDULERS),
    *((sampler, VELOCITY, False) for sampler in ("ddim", "dpm-solver-2m", "euler")),
    *((sampler, TRAILING, False) for sampler in ("dpm-solver-2m", "euler-ancestral")),
    ("euler", SCHEDULER | {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}, True),
]


@pytest.mark.parametrize(("sampler", "scheduler", "xl"), CASES)
def test_the_picture_is_that_of_diffusers_own_pipeline(
    checkpoints: Path, sampler: str, scheduler: dict[str, Any], xl: bool
) -> None:
    name = f"diffusers/{'xl' if xl else 'plain'}"
    write(checkpoints / name / "scheduler" / "scheduler_config.json", scheduler)
    models = load_named(name, checkpoints)
    clip = ClipModel(openai_clip("model").CLIP(16, 32, 1, 64, 16, 77, 49408, 64, 1, 1), "mini")
    engine = StableDiffusion(models, [clip], precision=torch.float32)
    params = LatentDiffusionParams(
        **TEXTS, checkpoint=name, clip=("mini",), seed=3, steps=6, sampler=sampler, width=32, height=32
    )
    image = list(generate(engine, params))[-1].image
    assert image is not None and image.std() > 0.01
    assert (image - theirs(checkpoints / name, sampler, scheduler, xl)).abs().max() < 1e-4


def theirs_of_one_file(folder: Path, file: Path, version: str) -> torch.Tensor:
    """The picture of the pipeline that diffusers itself makes of the file, with the configurations of the folder."""
    import diffusers

    xl, scheduler = version == "XL", json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    texts = {"text_encoder": "CLIPTextModel"} | ({"text_encoder_2": "CLIPTextModelWithProjection"} if xl else {})
    parts = {name: ["transformers", kind] for name, kind in texts.items()}
    parts |= {name.replace("text_encoder", "tokenizer"): ["transformers", "CLIPTokenizer"] for name in texts}
    parts |= {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    index = json.loads((folder / "model_index.json").read_text())
    write(folder / "model_index.json", index | parts | {"scheduler": ["diffusers", scheduler["_class_name"]]})
    given: dict[str, Any] = {"tokenizer": tokens("!" if version == "2" else "<|endoftext|>")}
    given |= {"tokenizer_2": tokens("!"), "add_watermarker": False} if xl else {}
    given |= {} if xl else {"safety_checker": None, "feature_extractor": None}
    kind = diffusers.StableDiffusionXLPipeline if xl else diffusers.StableDiffusionPipeline
    pipeline = kind.from_single_file(str(file), config=str(folder), local_files_only=True, **given)
    pipeline.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(scheduler)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    made = pipeline(
        **TEXTS, num_inference_steps=3, guidance_scale=7.5, width=32, height=32,
        latents=torch.randn(1, 4, 4, 4, generator=generator), generator=generator, output_type="pt",
    )  # fmt: skip
    image: torch.Tensor = made.images[0]
    return image


@pytest.mark.parametrize("version", ["1", "2", "XL"])
def test_the_picture_of_one_file_is_that_of_the_pipeline_diffusers_makes_of_it(tmp_path: Path, version: str) -> None:
    folder = save_folder(tmp_path / "folder", version)
    (tmp_path / "diffusers").mkdir()
    file = tmp_path / "diffusers" / "one.safetensors"
    save_file(original_tensors(folder, version), file)
    clip = ClipModel(openai_clip("model").CLIP(16, 32, 1, 64, 16, 77, 49408, 64, 1, 1), "mini")
    engine = StableDiffusion(load_named("diffusers/one.safetensors", tmp_path), [clip], precision=torch.float32)
    params = LatentDiffusionParams(
        **TEXTS, checkpoint="diffusers/one.safetensors", clip=("mini",), seed=3, steps=3, width=32, height=32
    )
    image = list(generate(engine, params))[-1].image
    assert image is not None and image.std() > 0.01
    assert (image - theirs_of_one_file(folder, file, version)).abs().max() < 1e-4
