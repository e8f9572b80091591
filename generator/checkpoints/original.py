"""Stable Diffusion in one file, in the names of its authors: which networks it holds, told by names and shapes.

`model.diffusion_model.*` is the UNet, `first_stage_model.*` the VAE, and `cond_stage_model.*` (version 1 and 2) or
`conditioner.embedders.*` (XL) the text encoders (CompVis/stable-diffusion and Stability-AI/generative-models, configs).
No configuration lies in such a file: widths and depths are those of the tensors, and what no shape says is what the
published models of that version have. Importing this module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from generator.checkpoints.diffusers_folder import (
    MAX_BLOCKS,
    MAX_OTHER_LAYERS,
    BadFolder,
    DiffusersFolder,
    Network,
    check_counts,
)
from generator.checkpoints.errors import plain
from generator.checkpoints.kinds import UNET, Shapes, of_tensors

VAE = "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
EMA = "model_ema."
# The noise of all three, as their scheduler_config.json say it.
_NOISE: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
PREDICTS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
# Tensors that are no weights of a network: the noise levels, counters of the averages, marks of how it was trained.
BESIDE = re.compile(
    r"(alphas_cumprod|alphas_cumprod_prev|betas|sqrt_(one_minus_)?alphas_cumprod|log_one_minus_alphas_cumprod|"
    r"sqrt_recip(m1)?_alphas_cumprod|posterior_(variance|log_variance_clipped|mean_coef[12])|logvar|lvlb_weights|"
    r"scale_factor|denoiser\.sigmas|v_pred|ztsnr|global_step|model_ema\..*|loss\..*|"
    r"(first_stage_model|cond_stage_model)\.(loss|model_ema)\..*|(cond_stage_model|conditioner\.embedders\.\d)\."
    r"(logit_scale|text_projection(\.weight)?))"
)


@dataclass(frozen=True)
class Settings:
    """What a yaml beside the file says, as the authors publish them; None where it says nothing."""

    prediction: str | None = None
    heads: int | None = None  # of every attention of the UNet
    head_channels: int | None = None  # of each head
    scale_factor: float | None = None


@dataclass(frozen=True)
class Original:
    """networks: as from a folder, without files; prefixes: of the text encoders; version: "1", "2" or "XL".

    prediction: what its UNet predicts where that is known, else None: version 2 was published with either.
    """

    version: str
    networks: DiffusersFolder
    prefixes: tuple[str, ...]
    prediction: str | None


def recognise(shapes: Shapes, vae: Shapes, settings: Settings | None = None) -> Original:
    """What the tensors are: those of the file, and those of the VAE by their names without a prefix.

    Raises BadFolder for a file that is something else, with what it is; LookupError for one that lacks a tensor.
    """
    settings = settings or Settings()
    found = [prefix for prefix in (CLIP, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP) if any(n.startswith(prefix) for n in shapes)]
    version = {(CLIP,): "1", (OPEN_CLIP,): "2", (XL_CLIP, XL_OPEN_CLIP): "XL"}.get(tuple(found))
    unet = inner(shapes, UNET)
    if not unet or version is None or (known := of_tensors(shapes, "diffusers")):
        raise BadFolder(known if unet and version else of_tensors(shapes, "diffusers") or _not_one(shapes))
    if not vae:
        raise BadFolder(
            "it has no VAE: put one beside it under the same name, as NAME.vae.safetensors for NAME.safetensors (for "
            "Stable Diffusion 1 vae-ft-mse-840000-ema-pruned.safetensors, for XL sdxl_vae.safetensors)"
        )
    prefixes = (UNET, VAE, *found)
    extra = [name for name in shapes if not name.startswith(prefixes) and not BESIDE.fullmatch(name)]
    if extra:
        raise BadFolder(f"{len(extra)} of its tensors do not belong to the model, the first is {plain(extra[0])}")
    texts = tuple(_text(inner(shapes, prefix), last=prefix is OPEN_CLIP) for prefix in found)
    unet_config = _unet(unet, texts, settings)
    vae_config = _vae(vae, settings.scale_factor or (0.13025 if version == "XL" else 0.18215))
    scheduler = dict(_NOISE)
    prediction = settings.prediction or ("v_prediction" if "v_pred" in shapes else None)
    if prediction is None and version != "2":
        prediction = "epsilon"
    if version == "XL":
        scheduler |= {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}
    if "ztsnr" in shapes:
        scheduler |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    networks = DiffusersFolder(
        texts, Network(unet_config, ()), Network(vae_config, ()), scheduler, zeros_for_nothing=version == "XL"
    )
    return Original(version, networks, tuple(found), prediction)


def predicting(original: Original, prediction: str) -> Original:
    """The same, whose UNet predicts that."""
    scheduler = original.networks.scheduler | {"prediction_type": prediction}
    return replace(original, networks=replace(original.networks, scheduler=scheduler), prediction=prediction)


def inner(shapes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What begins with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in shapes.items() if name.startswith(prefix)}


def _not_one(shapes: Shapes) -> str:
    if any(name.startswith((CLIP, OPEN_CLIP, XL_CLIP, XL_OPEN_CLIP)) for name in shapes):
        return "it has a text encoder and no UNet, so that nothing can be drawn with it; put the whole model here"
    first = plain(next(iter(shapes), "none"))
    return (
        f"it is no Stable Diffusion 1, 2 or XL in one file (its first tensor is {first}); what another program loads "
        "can be saved as a folder by diffusers' save_pretrained"
    )


def _text(shapes: Shapes, *, last: bool) -> Network:
    """last: whether it is OpenCLIP's of version 2, of which the layer before the last is read."""
    plain = {name.removeprefix("text_model."): shape for name, shape in shapes.items()}
    if "token_embedding.weight" in plain:
        width = _side(plain, "token_embedding.weight", 1)
        layers = _count(plain, "transformer.resblocks.{}.ln_1.weight", MAX_OTHER_LAYERS)
        config = {
            "hidden_size": width,
            "intermediate_size": _side(plain, "transformer.resblocks.0.mlp.c_fc.weight", 0),
            "num_hidden_layers": layers - last,
            "hidden_act": "gelu",
            "vocab_size": _side(plain, "token_embedding.weight", 0),
            "max_position_embeddings": _side(plain, "positional_embedding", 0),
            "projection_dim": width if last else _side(plain, "text_projection", 1),
        }
        pad = "!"
    else:
        width = _side(plain, "embeddings.token_embedding.weight", 1)
        config = {
            "hidden_size": width,
            "intermediate_size": _side(plain, "encoder.layers.0.mlp.fc1.weight", 0),
            "num_hidden_layers": _count(plain, "encoder.layers.{}.layer_norm1.weight", MAX_OTHER_LAYERS),
            "hidden_act": "quick_gelu",
            "vocab_size": _side(plain, "embeddings.token_embedding.weight", 0),
            "max_position_embeddings": _side(plain, "embeddings.position_embedding.weight", 0),
            "projection_dim": width,
        }
        pad = "<|endoftext|>"
    # Every CLIP has heads of 64 channels.
    return Network(config | {"num_attention_heads": max(1, width // 64)}, (), pad)


def _unet(shapes: Shapes, texts: tuple[Network, ...], settings: Settings) -> dict[str, Any]:
    """Blocks are told by their downsamplers; a level's depth of transformers is that of its first block."""
    widths, depths, counts = [0], [0], [0]
    at = 1
    while True:
        if f"input_blocks.{at}.0.op.weight" in shapes:
            widths, depths, counts = [*widths, 0], [*depths, 0], [*counts, 0]
        elif (resnet := f"input_blocks.{at}.0.out_layers.3.weight") in shapes:
            widths[-1], counts[-1] = shapes[resnet][0], counts[-1] + 1
            depths[-1] = _depth(shapes, f"input_blocks.{at}.1")
        else:
            break
        at += 1
        if len(widths) > MAX_BLOCKS or at > MAX_BLOCKS * MAX_OTHER_LAYERS:
            raise BadFolder(f"its UNet has {len(widths)} levels and {at} blocks, more than any Stable Diffusion")
    if len(set(counts)) > 1 or not counts[0]:
        raise BadFolder(f"the levels of its UNet have {', '.join(map(str, counts))} blocks; equally many are needed")
    reads = [name for name in shapes if name.endswith("attn2.to_k.weight")]
    if not reads:
        raise BadFolder("its UNet reads no text")
    linear = any(name.endswith(".1.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    middle = _depth(shapes, "middle_block.1")
    config: dict[str, Any] = {
        "in_channels": _side(shapes, "input_blocks.0.0.weight", 1),
        "out_channels": _side(shapes, "out.2.weight", 0),
        "block_out_channels": widths,
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "layers_per_block": counts[0],
        # Where the last level has none, the middle has one of its own.
        "transformer_layers_per_block": [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle],
        "cross_attention_dim": shapes[reads[0]][1],
        "attention_head_dim": _heads(widths, linear, settings),
        "use_linear_projection": linear,
        "norm_num_groups": 32,
    }
    if "label_emb.0.0.weight" in shapes:
        taken = _side(shapes, "label_emb.0.0.weight", 1)
        pooled = texts[-1].config["projection_dim"] if len(texts) > 1 else taken
        if len(texts) < 2 or taken <= pooled or (taken - pooled) % 6:
            raise BadFolder("its UNet is conditioned on more than text and size, which is not supported")
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (taken - pooled) // 6,  # of six numbers: size, cut, target
            "projection_class_embeddings_input_dim": taken,
        }
    check_counts(config, "unet")
    return config


def _heads(widths: list[int], linear: bool, settings: Settings) -> list[int]:
    """How many heads attention has at each level: 8 in version 1, one for every 64 channels in 2 and XL."""
    channels = settings.head_channels or (64 if linear and not settings.heads else None)
    heads = [max(1, width // channels) if channels else settings.heads or 8 for width in widths]
    for width, many in zip(widths, heads, strict=True):
        if width % many:
            raise BadFolder(f"{width} channels of its UNet cannot be shared by {many} heads of attention")
    return heads


def _vae(shapes: Shapes, scale: float) -> dict[str, Any]:
    """Raises BadFolder for a VAE of another kind."""
    levels = _count(shapes, "encoder.down.{}.block.0.norm1.weight", MAX_BLOCKS)
    blocks = _count(shapes, "encoder.down.0.block.{}.norm1.weight", MAX_OTHER_LAYERS)
    widths = [_side(shapes, f"encoder.down.{level}.block.0.conv2.weight", 0) for level in range(levels)]
    config: dict[str, Any] = {
        "in_channels": _side(shapes, "encoder.conv_in.weight", 1),
        "out_channels": _side(shapes, "decoder.conv_out.weight", 0),
        "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": blocks,
        "latent_channels": _side(shapes, "post_quant_conv.weight", 1),
        "norm_num_groups": 32,
        "scaling_factor": scale,
    }
    check_counts(config, "vae")
    return config


def _depth(shapes: Shapes, block: str) -> int:
    return _count(shapes, f"{block}.transformer_blocks.{{}}.norm1.weight", MAX_OTHER_LAYERS)


def _count(shapes: Shapes, name: str, most: int) -> int:
    """How many there are, numbered from 0."""
    count = 0
    while name.format(count) in shapes:
        count += 1
        if count > most:
            raise BadFolder(f"it has more than {most} of {name.format('N')}")
    return count


def _side(shapes: Shapes, name: str, axis: int) -> int:
    shape = shapes[name]  # KeyError names it
    if axis >= len(shape):
        raise BadFolder(f"{name} has {len(shape)} dimensions")
    return shape[axis]
