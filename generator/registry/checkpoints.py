"""What each checkpoint's parameters start from, its sizes and its memory: one literal table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True)
class CheckpointSpec:
    """What the parameters of a checkpoint start from, before anyone changes them."""

    title: str
    factor: int  # px per code: width and height are floored to a multiple of it
    max_side: int  # px
    activation_bytes_per_px: int  # decoder activations kept for the backward pass, fp32
    weight_bytes: int  # of the embedded models, with those of the CLIP that tells styles apart
    defaults: Mapping[str, Any]
    styled: bool = False  # whether `style` names one of STYLES
    only_side: int | None = None  # px, where the model draws one size
    embedded: bool = False  # whether its weights come with the project
    scale: int = 1  # of an upscaler: how many times wider and higher it makes a picture
    engine: str | None = None  # "module:function" that loads this kind of model where the engine's own does not
    unused: tuple[str, ...] = ()  # settings of its engine that it does not read
    least_weight_bytes: int | None = None  # with memory=low: the largest network alone
    guided_bytes_per_px: int = 0  # more activations where CLIP guides what need not be guided


_MINI: dict[str, Any] = {
    "clip": ("mini",),
    "style": "noto",
    "style_weight": 0.2,
    "width": 64,
    "height": 64,
    "finish": 1.0,
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
    "memory": "auto",
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
    "engine": "generator.engines.stable_diffusion:StableDiffusion.load",
    "unused": ("variety",),
}
_STABLE_XL: dict[str, Any] = _STABLE | {"weight_bytes": 8500 * MIB, "least_weight_bytes": 4900 * MIB}

CHECKPOINTS: dict[str, CheckpointSpec] = {
    "mini": CheckpointSpec(
        title="Mini (embedded, emoji and clip art)",
        factor=4,
        max_side=256,
        activation_bytes_per_px=16_000,
        weight_bytes=50 * MIB,
        defaults=_MINI
        | {"init": "prior", "steps": 24, "learning_rate": 0.05, "cutn": 8, "init_weight": 16.0, "upscale": 4},
        styled=True,
        embedded=True,
    ),
    "mini-latent-diffusion": CheckpointSpec(
        title="Mini (embedded, emoji and clip art)",
        factor=4,
        max_side=64,
        only_side=64,
        activation_bytes_per_px=12_000,
        weight_bytes=100 * MIB,
        guided_bytes_per_px=12_000,
        defaults=_MINI | {"steps": 20, "cfg_scale": 3.5, "clip_guidance_scale": 1000.0},
        styled=True,
        embedded=True,
        unused=("mask_image", "memory"),
    ),
    "mini-diffusion": CheckpointSpec(
        title="Mini diffusion (embedded, emoji and clip art)",
        factor=8,
        max_side=128,
        activation_bytes_per_px=16_000,
        weight_bytes=100 * MIB,
        defaults=_MINI | {"init": "prior", "steps": 40, "cutn": 8},
        styled=True,
        embedded=True,
    ),
    "mini-biggan": CheckpointSpec(
        title="Mini BigGAN (embedded, emoji and clip art)",
        factor=64,
        max_side=64,
        only_side=64,
        activation_bytes_per_px=8_000,
        weight_bytes=70 * MIB,
        defaults=_MINI | {"init": "text", "steps": 30, "learning_rate": 0.05, "cutn": 8, "init_weight": 2.0},
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
    "imagenet-f16-1024": CheckpointSpec("VQGAN ImageNet f16 1024", **_F16, defaults=_REAL_DEFAULTS),
    "imagenet-f16-16384": CheckpointSpec("VQGAN ImageNet f16 16384", **_F16, defaults=_REAL_DEFAULTS),
    "wikiart-f16-1024": CheckpointSpec("VQGAN WikiArt f16 1024", **_F16, defaults=_REAL_DEFAULTS),
    "wikiart-f16-16384": CheckpointSpec("VQGAN WikiArt f16 16384", **_F16, defaults=_REAL_DEFAULTS),
    "openimages-f8-8192": CheckpointSpec(
        "VQGAN OpenImages Gumbel f8 8192",
        **_F16 | {"factor": 8},
        defaults=_REAL_DEFAULTS | {"width": 256, "height": 256},
    ),
    "stable-diffusion-1-5": CheckpointSpec("Stable Diffusion 1.5", **_STABLE, defaults=_STABLE_DEFAULTS),
    "stable-diffusion-1-4": CheckpointSpec("Stable Diffusion 1.4", **_STABLE, defaults=_STABLE_DEFAULTS),
    "stable-diffusion-xl": CheckpointSpec(
        "Stable Diffusion XL", **_STABLE_XL, defaults=_STABLE_DEFAULTS | {"width": 1024, "height": 1024}
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
    "init_loss": "lpips",
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
        unused=("candidates",),
    ),
    "guided-diffusion-512": CheckpointSpec(
        "Guided diffusion 512 (ImageNet, finetuned)",
        factor=64,
        max_side=2048,
        activation_bytes_per_px=48_000,
        weight_bytes=2129 * MIB,
        defaults={**_DISCO, "width": 512, "height": 512},
        unused=("candidates",),
    ),
}


@dataclass(frozen=True)
class OwnKind:
    """Checkpoints of one's own of one kind: the engine that draws with them, and the row all of them have."""

    engine: str
    spec: CheckpointSpec


def _own_vqgan(factor: int) -> OwnKind:
    # An f8 decoder works on as many places as an f16 one of twice the side does; its last levels cost the most.
    return OwnKind(
        "vqgan-clip", CheckpointSpec(f"VQGAN f{factor}", **_F16 | {"factor": factor}, defaults=_REAL_DEFAULTS)
    )


# Kinds of checkpoints of one's own. Each is a folder below the checkpoints' folder: KIND/NAME, made by hand, or
# KIND/OWNER/MODEL, which can be fetched from Hugging Face. Nothing else is a path: jobs come from strangers.
OWN: dict[str, OwnKind] = {
    "diffusers": OwnKind(
        "latent-diffusion", CheckpointSpec("A diffusers folder", **_STABLE, defaults=_STABLE_DEFAULTS)
    ),
    **{f"vqgan-f{factor}": _own_vqgan(factor) for factor in (4, 8, 16, 32)},
    **{
        name: OwnKind(engine, CHECKPOINTS[name])
        for engine, names in (
            ("biggan-clip", ("biggan-deep-128", "biggan-deep-256", "biggan-deep-512")),
            ("guided-diffusion", ("guided-diffusion-256", "guided-diffusion-512")),
        )
        for name in names
    },
}
