"""The models that come with the project, trained on open emoji and clip art: one literal row each."""

from __future__ import annotations

from typing import Any

from generator.registry.rows import MIB, Checkpoint, table

STYLES: dict[str, str] = {
    "noto": "Noto",
    "twemoji": "Twemoji",
    "fluent": "Fluent",
    "3d": "Fluent 3D",
    "silhouette": "Silhouette",
    "blob": "Blob",
    "fx": "Fx",
}
DEFAULT_STYLE = "noto"

_MINI: dict[str, Any] = {
    "clip": ("mini",),
    "style": DEFAULT_STYLE,
    "style_weight": 0.2,
    "width": 64,
    "height": 64,
    "finish": 1.0,
}

EMBEDDED = table(
    Checkpoint(
        name="mini",
        kind="vqgan",
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
    Checkpoint(
        name="mini-latent-diffusion",
        kind="latent-diffusion",
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
        unused=("memory", "lora"),
    ),
    Checkpoint(
        name="mini-diffusion",
        kind="guided-diffusion",
        title="Mini diffusion (embedded, emoji and clip art)",
        factor=8,
        max_side=128,
        activation_bytes_per_px=16_000,
        weight_bytes=100 * MIB,
        defaults=_MINI | {"init": "prior", "steps": 40, "cutn": 8},
        styled=True,
        embedded=True,
    ),
    Checkpoint(
        name="mini-biggan",
        kind="biggan",
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
    Checkpoint(
        name="mini-upscaler",
        kind="upscaler",
        title="Mini upscaler (embedded, x4)",
        factor=1,
        max_side=4096,
        activation_bytes_per_px=24_000,
        weight_bytes=4 * MIB,
        defaults={},
        embedded=True,
        scale=4,
    ),
)

_CLIP: dict[str, Any] = {
    "kind": "clip",
    "only_side": 96,
    "weight_bytes": 40 * MIB,
    "activation_bytes_per_cutout": 9 * MIB,
    "embedded": True,
}
EMBEDDED_CLIPS = table(
    Checkpoint(name="mini", title="CLIP mini (96 px)", **_CLIP),
    Checkpoint(name="mini-robust", title="CLIP mini-robust (96 px)", **_CLIP),
)
EMBEDDED_VQGAN = EMBEDDED["mini"]  # what every embedded model that works on codes decodes them by
TEXT_ENCODER = EMBEDDED_CLIPS["mini"]  # reads texts for the embedded models, whatever guides
RANKING = ("mini", "mini-robust")  # rank pictures for people: more than what guided them, so that none is won over
VARYING = "latent-diffusion"  # the engine that varies pictures of the embedded models
STYLE_CLASSIFIER = EMBEDDED_CLIPS["mini-robust"]  # has a head that tells the styles apart
