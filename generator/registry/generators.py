"""The published generators and upscalers: one literal row each, with where their files come from.

sha256 is published for guided diffusion only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator.registry.hub import hub_files
from generator.registry.rows import MIB, Checkpoint, File, table

_HEIBOX = "https://heibox.uni-heidelberg.de/d"
_PIXRAY = "https://github.com/pixray/pixray/releases/download/v1.7.1"
_FEED_FORWARD = "https://github.com/mehdidc/feed_forward_vqgan_clip/releases/download/0.1"
_BIGGAN = "https://s3.amazonaws.com/models.huggingface.co/biggan"
_SWINIR = "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"
_TAMING_LICENCE = "MIT (taming-transformers, CompVis)"
_WIKIART_LICENCE = "no licence stated by its publisher; made with taming-transformers (MIT) from WikiArt pictures"
_BIGGAN_LICENCE = "Apache-2.0 weights (DeepMind, TF Hub), MIT conversion (pytorch-pretrained-BigGAN)"
_CODES = "quantize.embedding.weight"
_TEXT_IN = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"

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
# Memory and size of taming's f16 decoders, and of an f8 one, which works on as many places at half the side.
VQModel: dict[str, Any] = {
    "kind": "vqgan",
    "max_side": 1600,
    "activation_bytes_per_px": 24_000,
    "weight_bytes": 306 * MIB,
    "defaults": _REAL_DEFAULTS,
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


def _heibox(share: str) -> tuple[str, str]:
    return (
        f"{_HEIBOX}/{share}/files/?p=%2Fckpts%2Flast.ckpt&dl=1",
        f"{_HEIBOX}/{share}/files/?p=%2Fconfigs%2Fmodel.yaml&dl=1",
    )


def _release(base: str, stem: str) -> tuple[str, str]:
    return f"{base}/{stem}.ckpt", f"{base}/{stem}.yaml"


def _taming(stem: str, sources: tuple[tuple[str, str], ...], about: int, size: int | None = None) -> tuple[File, File]:
    """taming's weights and configuration, each from the sources in their order."""
    weights, config = tuple(source[0] for source in sources), tuple(source[1] for source in sources)
    return File(f"{stem}.yaml", config, 2000), File(f"{stem}.ckpt", weights, about, size=size)


def _biggan_deep(side: int, weight_bytes: int, activation_bytes_per_px: int) -> Checkpoint:
    name = f"biggan-deep-{side}"
    config, weights = f"{name}-config.json", f"{name}-pytorch_model.bin"
    return Checkpoint(
        name=name,
        kind="biggan",
        title=f"BigGAN-deep {side} px (ImageNet)",
        licence=_BIGGAN_LICENCE,
        files=(File(config, (f"{_BIGGAN}/{config}",), 1000), File(weights, (f"{_BIGGAN}/{weights}",), weight_bytes)),
        shapes={"embeddings.weight": (128, 1000), "generator.gen_z.weight_orig": (32768, 256)},
        factor=side,
        max_side=side,
        only_side=side,
        activation_bytes_per_px=activation_bytes_per_px,
        weight_bytes=weight_bytes,
        defaults={**_BIG_SLEEP, "width": side, "height": side},
    )


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
STABLE: dict[str, Any] = {
    "kind": "diffusers",
    "factor": 8,
    "max_side": 2048,
    "max_steps": 500,  # of 1000 noise levels: samplers that pick every n-th need two
    "activation_bytes_per_px": 12_000,
    "weight_bytes": 2450 * MIB,
    "min_weight_bytes": 1640 * MIB,
    "guided_bytes_per_px": 24_000,
    "engine": "generator.engines.stable_diffusion:StableDiffusion.load",
    "unused": ("variety",),
    "defaults": _STABLE_DEFAULTS,
}
_STABLE_XL: dict[str, Any] = STABLE | {
    "weight_bytes": 8500 * MIB,
    "min_weight_bytes": 4900 * MIB,
    "defaults": _STABLE_DEFAULTS | {"width": 1024, "height": 1024},
}
# Models that were trained here from captions, whatever their own size: pictures of another are scaled from it.
CAPTIONED: dict[str, Any] = {
    "kind": "caption-diffusion",
    "factor": 8,
    "max_side": 1024,
    "max_steps": 500,
    "activation_bytes_per_px": 12_000,
    "weight_bytes": 400 * MIB,
    "guided_bytes_per_px": 12_000,
    "engine": "generator.engines.caption_diffusion:load",
    "unused": ("variety", "memory", "lora"),
    "defaults": {
        "clip": ("mini",),
        "width": 128,
        "height": 128,
        "steps": 24,
        "cfg_scale": 3.0,
        "candidates": 4,
        "variety": 0.0,
        "save_every": 1,
        "upscale": 1,
    },
}
# The second family, which the recipes in generator/training make: a flow on the z of a VQGAN, at one size.
FLOW: dict[str, Any] = {
    **CAPTIONED,
    "kind": "flow",
    "max_side": 128,
    "only_side": 128,
    "weight_bytes": 150 * MIB,
    "engine": "generator.engines.flow:load",
    "styled": True,
    "defaults": {**CAPTIONED["defaults"], "upscale": 4},
}
_STABLE_MB = {"text_encoder": 492, "unet": 3438, "vae": 335}
_STABLE_XL_MB = {"text_encoder": 246, "text_encoder_2": 1390, "unet": 5135, "vae": 167}


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
GUIDED: dict[str, Any] = {"kind": "guided-diffusion", "factor": 64, "unused": ("candidates",)}


def _shapes(width: int) -> Mapping[str, tuple[int, ...]]:
    return {"input_blocks.0.0.weight": (width, 3, 3, 3), "out.2.weight": (6, width, 3, 3)}


GENERATORS = table(
    Checkpoint(
        name="imagenet-f16-1024",
        title="VQGAN ImageNet f16 1024",
        licence=_TAMING_LICENCE,
        files=_taming("vqgan_imagenet_f16_1024", (_heibox("8088892a516d4e3baf92"),), 957_954_257, size=957_954_257),
        shapes={_CODES: (1024, 256)},
        factor=16,
        **VQModel,
    ),
    Checkpoint(
        name="imagenet-f16-16384",
        title="VQGAN ImageNet f16 16384",
        licence=_TAMING_LICENCE,
        files=_taming(
            "vqgan_imagenet_f16_16384",
            (_heibox("a7530b09fed84f80a887"), _release(_FEED_FORWARD, "vqgan_imagenet_f16_16384")),
            980_000_000,
        ),
        shapes={_CODES: (16384, 256)},
        factor=16,
        **VQModel,
    ),
    Checkpoint(
        name="wikiart-f16-1024",
        title="VQGAN WikiArt f16 1024",
        licence=_WIKIART_LICENCE,
        files=_taming("vqgan_wikiart_1024", (_release(_PIXRAY, "vqgan_wikiart_1024"),), 958_000_000),
        shapes={_CODES: (1024, 256)},
        factor=16,
        **VQModel,
    ),
    Checkpoint(
        name="wikiart-f16-16384",
        title="VQGAN WikiArt f16 16384",
        licence=_WIKIART_LICENCE,
        files=_taming("vqgan_wikiart_16384", (_release(_PIXRAY, "vqgan_wikiart_16384"),), 1_000_000_000),
        shapes={_CODES: (16384, 256)},
        factor=16,
        **VQModel,
    ),
    Checkpoint(
        name="openimages-f8-8192",
        title="VQGAN OpenImages Gumbel f8 8192",
        licence=_TAMING_LICENCE,
        files=_taming("vqgan_openimages_f8_8192", (_heibox("2e5662443a6b4307b470"),), 376_000_000),
        shapes={"quantize.embed.weight": (8192, 256)},
        factor=8,
        **VQModel | {"defaults": _REAL_DEFAULTS | {"width": 256, "height": 256}},
    ),
    Checkpoint(
        name="stable-diffusion-1-5",
        title="Stable Diffusion 1.5",
        licence="CreativeML Open RAIL-M (Rombach, Esser; CompVis, Runway)",
        files=hub_files("stable-diffusion-1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5", _STABLE_MB),
        shapes={_TEXT_IN: (640, 768)},
        **STABLE,
    ),
    Checkpoint(
        name="stable-diffusion-1-4",
        title="Stable Diffusion 1.4",
        licence="CreativeML Open RAIL-M (Rombach, Esser; CompVis)",
        files=hub_files("stable-diffusion-1-4", "CompVis/stable-diffusion-v1-4", _STABLE_MB),
        shapes={_TEXT_IN: (640, 768)},
        **STABLE,
    ),
    Checkpoint(
        name="stable-diffusion-xl",
        title="Stable Diffusion XL",
        licence="CreativeML Open RAIL++-M (Stability AI)",
        files=hub_files(
            "stable-diffusion-xl", "stabilityai/stable-diffusion-xl-base-1.0", _STABLE_XL_MB, kinds=(".fp16",)
        ),
        shapes={_TEXT_IN: (640, 2048)},
        **_STABLE_XL,
    ),
    Checkpoint(
        name="swinir-l",
        kind="upscaler",
        title="SwinIR-L, real pictures (x4)",
        licence="Apache-2.0 (SwinIR, Liang et al.)",
        files=(
            File(
                "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
                (f"{_SWINIR}/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",),
                142_000_000,
            ),
        ),
        shapes={"conv_first.weight": (240, 3, 3, 3), "layers.8.residual_group.blocks.5.attn.qkv.weight": (720, 240)},
        activation_bytes_per_px=30_000,
        weight_bytes=140 * MIB,
        scale=4,
    ),
    _biggan_deep(128, 201 * MIB, 20_000),
    _biggan_deep(256, 224 * MIB, 12_000),
    _biggan_deep(512, 225 * MIB, 6_000),
    Checkpoint(
        name="guided-diffusion-256",
        title="Guided diffusion 256 (ImageNet)",
        licence="MIT (OpenAI guided-diffusion)",
        files=(
            File(
                "256x256_diffusion_uncond.pt",
                ("https://openaipublic.blob.core.windows.net/diffusion/jul-2021/256x256_diffusion_uncond.pt",),
                2_211_000_000,
                "a37c32fffd316cd494cf3f35b339936debdc1576dad13fe57c42399a5dbc78b1",
            ),
        ),
        shapes=_shapes(256),
        architecture="guided-diffusion-256",
        max_side=1024,
        activation_bytes_per_px=88_000,
        weight_bytes=2109 * MIB,
        defaults={**_DISCO, "width": 256, "height": 256},
        **GUIDED,
    ),
    Checkpoint(
        name="guided-diffusion-512",
        title="Guided diffusion 512 (ImageNet, finetuned)",
        licence="no licence stated by its publisher; finetuned from OpenAI's guided diffusion (MIT)",
        files=(
            File(
                "512x512_diffusion_uncond_finetune_008100.pt",
                (
                    "https://huggingface.co/lowlevelware/512x512_diffusion_unconditional_ImageNet/resolve/main/"
                    "512x512_diffusion_uncond_finetune_008100.pt",
                ),
                2_232_000_000,
                "9c111ab89e214862b76e1fa6a1b3f1d329b1a88281885943d2cdbe357ad57648",
            ),
        ),
        shapes=_shapes(128),
        architecture="guided-diffusion-512",
        max_side=2048,
        activation_bytes_per_px=48_000,
        weight_bytes=2129 * MIB,
        defaults={**_DISCO, "width": 512, "height": 512},
        **GUIDED,
    ),
)
