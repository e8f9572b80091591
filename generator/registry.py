"""What engines, checkpoints and styles there are: literal tables, and the one function that loads an engine.

Importing this module does not import torch; `load` does.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL import Image

    from generator.engine import Engine
    from generator.params import JobParams, Params

MIB = 1 << 20
NO_CHECKPOINT = "none"  # of an engine that needs none


class UnknownName(ValueError):
    """An engine, checkpoint, CLIP model or style that is not in the tables; the message lists the valid ones."""

    def __init__(self, kind: str, name: str, valid: list[str]) -> None:
        super().__init__(f"Unknown {kind} {name!r}. Choose one of: {', '.join(valid)}.")
        self.kind, self.name, self.valid = kind, name, valid


@dataclass(frozen=True)
class EngineSpec:
    """One engine: where its classes live (imported lazily) and what to call it on a page."""

    title: str
    summary: str
    params: str  # "module:class" of its frozen Pydantic parameters
    engine: str  # "module:class" of its batch-first engine
    checkpoints: tuple[str, ...]
    # drawing: a picture that forms step by step, from a prompt, and its film; the form and the command line offer it.
    # picture: one picture made from another. result: a JSON document.
    makes: Literal["drawing", "picture", "result"] = "drawing"


@dataclass(frozen=True)
class CheckpointSpec:
    """What the parameters of a checkpoint start from, before anyone changes them."""

    title: str
    factor: int  # px per code: width and height are floored to a multiple of it
    max_side: int  # px
    activation_bytes_per_px: int  # decoder activations kept for the backward pass, fp32
    weight_bytes: int
    defaults: Mapping[str, Any]
    styled: bool = False  # whether `style` names one of STYLES
    only_side: int | None = None  # px, where the model draws one size
    embedded: bool = False  # whether its weights come with the project
    scale: int = 1  # of an upscaler: how many times wider and higher it makes a picture
    engine: str | None = None  # "module:class" where the engine has another class for this kind of model
    unused: tuple[str, ...] = ()  # settings of its engine that it does not read
    least_weight_bytes: int | None = None  # with memory=low: the largest network alone
    guided_bytes_per_px: int = 0  # more activations where CLIP guides what need not be guided


STYLES: dict[str, str] = {
    "noto": "Noto",
    "twemoji": "Twemoji",
    "fluent": "Fluent",
    "3d": "Fluent 3D",
    "silhouette": "Silhouette",
    "blob": "Blob",
    "fx": "Fx",
}

ENGINES: dict[str, EngineSpec] = {
    "vqgan-clip": EngineSpec(
        title="VQGAN + CLIP",
        summary="Optimises the codes of a VQGAN until CLIP sees the prompt in the picture.",
        params="generator.params.vqgan_clip:VqganClipParams",
        engine="generator.vqgan_clip:VqganClip",
        checkpoints=(
            "mini",
            "imagenet-f16-1024",
            "imagenet-f16-16384",
            "wikiart-f16-1024",
            "wikiart-f16-16384",
            "openimages-f8-8192",
        ),
    ),
    "guided-diffusion": EngineSpec(
        title="CLIP-guided diffusion",
        summary="Takes the noise off a picture step by step and bends every step towards what CLIP sees in the prompt.",
        params="generator.params.guided_diffusion:GuidedDiffusionParams",
        engine="generator.guided_diffusion:GuidedDiffusion",
        checkpoints=("mini-diffusion", "guided-diffusion-256", "guided-diffusion-512"),
    ),
    "latent-diffusion": EngineSpec(
        title="Latent diffusion",
        summary="Takes the noise off a few drafts at once, guided by the text; CLIP picks the best.",
        params="generator.params.latent_diffusion:LatentDiffusionParams",
        engine="generator.latent_diffusion:LatentDiffusion",
        checkpoints=("mini-latent-diffusion", "stable-diffusion-1-5", "stable-diffusion-1-4", "stable-diffusion-xl"),
    ),
    "biggan-clip": EngineSpec(
        title="BigGAN + CLIP",
        summary="Optimises the z and the classes of a BigGAN until CLIP sees the prompt in the picture.",
        params="generator.params.biggan_clip:BigganClipParams",
        engine="generator.biggan_clip:BigganClip",
        checkpoints=("mini-biggan", "biggan-deep-128", "biggan-deep-256", "biggan-deep-512"),
    ),
    "upscale": EngineSpec(
        title="Upscaling",
        summary="Makes a finished picture larger, tile by tile.",
        params="generator.params.upscale:UpscaleParams",
        engine="generator.upscale_engine:Upscale",
        checkpoints=("mini-upscaler", "swinir-l"),
        makes="picture",
    ),
    "rank": EngineSpec(
        title="Ranking",
        summary="Puts finished pictures in the order in which CLIP sees the prompt in them.",
        params="generator.params.rank:RankParams",
        engine="generator.rank_engine:Rank",
        checkpoints=(NO_CHECKPOINT,),
        makes="result",
    ),
    "download": EngineSpec(
        title="Download",
        summary="Fetches the files of a checkpoint to the executor's machine, where the host allows it.",
        params="generator.params.download:DownloadParams",
        engine="generator.download_engine:Download",
        checkpoints=(NO_CHECKPOINT,),
        makes="result",
    ),
}

_REAL_DEFAULTS: dict[str, Any] = {
    "clip": ("ViT-B/32",),
    "init": "random",
    "width": 304,
    "height": 304,
    "steps": 500,
    "learning_rate": 0.1,
    "cutn": 32,
    "init_weight": 0.0,
    "upscale": 1,
}
# Big Sleep's: 128 plain cutouts, a loss of 100 cosines beside one of z and one of the classes, all divided by 100 here.
_BIG_SLEEP: dict[str, Any] = {
    "clip": ("ViT-B/32",),
    "init": "random",
    "steps": 500,
    "learning_rate": 0.07,
    "latents": "per-layer",
    "max_classes": 0,
    "class_topk": "successive",
    "class_temperature": 2.0,
    "truncation": 1.0,
    "ema": 0.99,
    "loss": "cosine",
    "latent_weight": 0.01,
    "class_weight": 0.01,
    "init_weight": 0.0,
    "candidates": 1,
    "cutn": 128,
    "cut_sizes": "normal",
    "augment": False,
    "noise": 0.0,
    "upscale": 1,
}


def _biggan_deep(side: int, weight_bytes: int, activation_bytes_per_px: int) -> CheckpointSpec:
    return CheckpointSpec(
        f"BigGAN-deep {side} px (ImageNet)",
        factor=side,
        max_side=side,
        only_side=side,
        activation_bytes_per_px=activation_bytes_per_px,
        weight_bytes=weight_bytes,
        defaults={**_BIG_SLEEP, "width": side, "height": side},
    )


_F16: dict[str, Any] = {"factor": 16, "max_side": 1600, "activation_bytes_per_px": 24_000, "weight_bytes": 306 * MIB}

_STABLE_DEFAULTS: dict[str, Any] = {
    "clip": ("ViT-B/32",),
    "width": 512,
    "height": 512,
    "steps": 25,
    "cfg_scale": 7.5,
    "candidates": 1,
    "variety": 0.0,
    "save_every": 5,
    "upscale": 1,
}
# Weights as they lie on a GPU: the UNet in bfloat16, text encoder and VAE in fp32.
_STABLE: dict[str, Any] = {
    "factor": 8,
    "max_side": 2048,
    "activation_bytes_per_px": 12_000,
    "weight_bytes": 2450 * MIB,
    "least_weight_bytes": 1640 * MIB,
    "guided_bytes_per_px": 24_000,
    "engine": "generator.stable_diffusion:StableDiffusion",
    "unused": ("variety",),
}
_STABLE_XL: dict[str, Any] = _STABLE | {"weight_bytes": 8500 * MIB, "least_weight_bytes": 4900 * MIB}

CHECKPOINTS: dict[str, CheckpointSpec] = {
    "mini": CheckpointSpec(
        title="Mini (embedded, emoji and clip art)",
        factor=4,
        max_side=256,
        activation_bytes_per_px=16_000,
        weight_bytes=10 * MIB,
        defaults={
            "clip": ("mini",),
            "init": "prior",
            "style": "noto",
            "width": 64,
            "height": 64,
            "steps": 24,
            "learning_rate": 0.05,
            "cutn": 8,
            "init_weight": 6.0,
            "upscale": 4,
        },
        styled=True,
        embedded=True,
    ),
    "mini-latent-diffusion": CheckpointSpec(
        title="Mini (embedded, emoji and clip art)",
        factor=4,
        max_side=64,
        only_side=64,
        activation_bytes_per_px=12_000,
        weight_bytes=60 * MIB,
        defaults={"clip": ("mini",), "style": "noto", "width": 64, "height": 64, "steps": 20},
        styled=True,
        embedded=True,
        unused=("mask_image", "clip_guidance_scale", "memory"),
    ),
    "mini-diffusion": CheckpointSpec(
        title="Mini diffusion (embedded, emoji and clip art)",
        factor=8,
        max_side=128,
        activation_bytes_per_px=16_000,
        weight_bytes=30 * MIB,
        defaults={"clip": ("mini",), "style": "noto", "width": 64, "height": 64, "steps": 40, "cutn": 8},
        styled=True,
        embedded=True,
    ),
    "mini-biggan": CheckpointSpec(
        title="Mini BigGAN (embedded, emoji and clip art)",
        factor=64,
        max_side=64,
        only_side=64,
        activation_bytes_per_px=8_000,
        weight_bytes=30 * MIB,
        defaults={
            "clip": ("mini",),
            "init": "text",
            "style": "noto",
            "width": 64,
            "height": 64,
            "steps": 30,
            "learning_rate": 0.05,
            "cutn": 8,
            "init_weight": 2.0,
        },
        styled=True,
        embedded=True,
    ),
    "mini-upscaler": CheckpointSpec(
        title="Mini upscaler (embedded, x4)",
        factor=1,
        max_side=4096,
        activation_bytes_per_px=24_000,
        weight_bytes=4 * MIB,
        defaults={},
        embedded=True,
        scale=4,
    ),
    "stable-diffusion-1-5": CheckpointSpec("Stable Diffusion 1.5", **_STABLE, defaults=_STABLE_DEFAULTS),
    "stable-diffusion-1-4": CheckpointSpec("Stable Diffusion 1.4", **_STABLE, defaults=_STABLE_DEFAULTS),
    "stable-diffusion-xl": CheckpointSpec(
        "Stable Diffusion XL", **_STABLE_XL, defaults=_STABLE_DEFAULTS | {"width": 1024, "height": 1024}
    ),
    "imagenet-f16-1024": CheckpointSpec("VQGAN ImageNet f16 1024", **_F16, defaults=_REAL_DEFAULTS),
    "imagenet-f16-16384": CheckpointSpec("VQGAN ImageNet f16 16384", **_F16, defaults=_REAL_DEFAULTS),
    "wikiart-f16-1024": CheckpointSpec("VQGAN WikiArt f16 1024", **_F16, defaults=_REAL_DEFAULTS),
    "wikiart-f16-16384": CheckpointSpec("VQGAN WikiArt f16 16384", **_F16, defaults=_REAL_DEFAULTS),
    "openimages-f8-8192": CheckpointSpec(
        "VQGAN OpenImages Gumbel f8 8192",
        factor=8,
        max_side=1600,
        activation_bytes_per_px=24_000,
        weight_bytes=306 * MIB,
        defaults={**_REAL_DEFAULTS, "width": 256, "height": 256},
    ),
    "swinir-l": CheckpointSpec(
        "SwinIR-L, real pictures (x4)",
        factor=1,
        max_side=4096,
        activation_bytes_per_px=30_000,
        weight_bytes=140 * MIB,
        defaults={},
        scale=4,
    ),
    "biggan-deep-128": _biggan_deep(128, 201 * MIB, 20_000),
    "biggan-deep-256": _biggan_deep(256, 224 * MIB, 12_000),
    "biggan-deep-512": _biggan_deep(512, 225 * MIB, 6_000),
}

# What Disco Diffusion 5.7 starts from; skip_steps as it advises for a start picture.
_DISCO: dict[str, Any] = {
    "clip": ("RN50",),
    "steps": 250,
    "eta": 0.8,
    "skip_steps": 125,
    "init_scale": 1000.0,
    "clip_guidance_scale": 5000.0,
    "clamp_max": 0.05,
    "cut_overview": "[12]*400+[4]*600",
    "cut_innercut": "[4]*400+[12]*600",
    "cutn_batches": 4,
    "augment_strength": 0.6,
    "noise": 0.02,
    "grad_through": "x_in",
    "clip_denoised": False,
    "checkpoint_activations": True,
    "save_every": 10,
    "sprite_sheet": True,
    "upscale": 1,
}
CHECKPOINTS |= {
    "guided-diffusion-256": CheckpointSpec(
        "Guided diffusion 256 (ImageNet)",
        factor=64,
        max_side=1024,
        activation_bytes_per_px=88_000,
        weight_bytes=2109 * MIB,
        defaults={**_DISCO, "width": 256, "height": 256},
    ),
    "guided-diffusion-512": CheckpointSpec(
        "Guided diffusion 512 (ImageNet, finetuned)",
        factor=64,
        max_side=2048,
        activation_bytes_per_px=48_000,
        weight_bytes=2129 * MIB,
        defaults={**_DISCO, "width": 512, "height": 512},
    ),
}

# A text-to-image folder in diffusers' layout below the checkpoints' folder: diffusers/NAME, one's own, or
# diffusers/OWNER/MODEL, which can be fetched from Hugging Face. Nothing else is a path: jobs come from strangers.
OWN_FOLDER = re.compile(r"diffusers/[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")
_OWN_SPEC = CheckpointSpec("A diffusers folder", **_STABLE, defaults=_STABLE_DEFAULTS)

# name -> (input side in px, weight bytes in fp32, activation bytes per cutout kept for the backward pass)
CLIP_MODELS: dict[str, tuple[int, int, int]] = {
    "mini": (96, 40 * MIB, 9 * MIB),
    "RN50": (224, 390 * MIB, 110 * MIB),
    "RN101": (224, 460 * MIB, 150 * MIB),
    "RN50x4": (288, 680 * MIB, 250 * MIB),
    "ViT-B/32": (224, 577 * MIB, 45 * MIB),
    "ViT-B/16": (224, 571 * MIB, 170 * MIB),
    "ViT-L/14": (224, 1631 * MIB, 480 * MIB),
}


# What `upscaler` may name beside the checkpoints of upscale: a file the host put into the folder of checkpoints.
OWN_UPSCALER = r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.(safetensors|pth|pt|bin)"


def lookup(kind: str, table: Mapping[str, Any], name: str) -> Any:
    """`table[name]`; raises UnknownName with the valid names."""
    try:
        return table[name]
    except KeyError:
        raise UnknownName(kind, name, list(table)) from None


def first_checkpoint(engine: str, wanted: str) -> str:
    """The checkpoint to begin with: the one wanted where the engine has it, else its first. Raises UnknownName."""
    offered = lookup("engine", ENGINES, engine).checkpoints
    return wanted if wanted in offered else str(offered[0])


def drawing_engines() -> list[str]:
    """The engines that draw a picture from a prompt, in the order of the table."""
    return [name for name, spec in ENGINES.items() if spec.makes == "drawing"]


def checkpoint_spec(name: str) -> CheckpointSpec:
    """The row of a checkpoint; a diffusers folder of one's own has that of Stable Diffusion. Raises UnknownName."""
    if OWN_FOLDER.fullmatch(name):
        return _OWN_SPEC
    spec: CheckpointSpec = lookup("checkpoint", CHECKPOINTS, name)
    return spec


def offers(engine: str, checkpoint: str) -> bool:
    """Whether the engine can draw with that checkpoint. Raises UnknownName for the engine."""
    spec = lookup("engine", ENGINES, engine)
    return checkpoint in spec.checkpoints or bool(engine == "latent-diffusion" and OWN_FOLDER.fullmatch(checkpoint))


def own_folders(checkpoints_dir: str | Path) -> list[str]:
    """The diffusers folders that are there, by the names they are chosen by."""
    root = Path(checkpoints_dir)
    found = [*root.glob("diffusers/*/model_index.json"), *root.glob("diffusers/*/*/model_index.json")]
    names = sorted(path.parent.relative_to(root).as_posix() for path in found)
    return [name for name in names if OWN_FOLDER.fullmatch(name)]


def _attribute(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def params_class(engine: str) -> type[JobParams]:
    """The frozen parameter class of an engine. Does not import torch."""
    return _attribute(lookup("engine", ENGINES, engine).params)


def drawing_class(engine: str) -> type[Params]:
    """The same, of an engine that draws. Raises UnknownName with the names of those."""
    drawing = {name: spec for name, spec in ENGINES.items() if spec.makes == "drawing"}
    return _attribute(lookup("engine", drawing, engine).params)


def load(
    engine: str,
    checkpoint: str,
    clip: tuple[str, ...],
    *,
    device: str,
    checkpoints_dir: str,
    read_image: Callable[[str], Image.Image],
) -> Engine:
    """Loads an engine's weights onto a device.

    `read_image` turns a reference found in the parameters (an artefact key on a server, a path on the
    command line) into a decoded picture; the engine never opens files itself.
    Raises UnknownName, generator.checkpoints.CheckpointMissing, .CheckpointDamaged.
    """
    spec = lookup("engine", ENGINES, engine)
    if not offers(engine, checkpoint):
        raise UnknownName(f"checkpoint for {engine}", checkpoint, list(spec.checkpoints))
    for name in clip:
        lookup("CLIP model", CLIP_MODELS, name)
    return _attribute(checkpoint_spec(checkpoint).engine or spec.engine)(
        checkpoint, clip, device=device, checkpoints_dir=checkpoints_dir, read_image=read_image
    )


def weight_bytes(params: JobParams) -> int:
    """Bytes of the weights a job needs on the device, shared with every other job of the same engine."""
    checkpoint, clip = params.loads
    own = 0
    if checkpoint in CHECKPOINTS or OWN_FOLDER.fullmatch(checkpoint):
        spec = checkpoint_spec(checkpoint)
        low = getattr(params, "memory", None) == "low"
        own = spec.least_weight_bytes if low and spec.least_weight_bytes else spec.weight_bytes
    return own + sum(CLIP_MODELS[name][1] for name in clip)


def estimate_memory(params: JobParams) -> int:
    """Bytes of device memory one job of its own needs, weights included: an upper estimate, torch not needed."""
    checkpoint, clip = params.loads
    activations = 0
    if params.pixels_at_once:
        spec = checkpoint_spec(checkpoint)
        guided = spec.guided_bytes_per_px if getattr(params, "clip_guidance_scale", 0) else 0
        share = params.activation_share * (spec.activation_bytes_per_px + guided)
        activations = int(params.pixels_at_once * share)
    cutouts = sum(CLIP_MODELS[name][2] for name in clip) * params.cutouts_per_step
    return 300 * MIB + weight_bytes(params) + activations + cutouts
