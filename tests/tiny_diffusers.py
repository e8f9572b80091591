"""Tiny Stable Diffusion models at random weights, in the folders diffusers writes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from generator.checkpoints.diffusers_folder import DiffusersFolder, Network
from generator.checkpoints.stable_diffusion import build
from generator.models.clip_text import ClipText
from generator.models.torchvision_operators import declare

# As Stable Diffusion 1 publishes it: no word of timestep_spacing.
SCHEDULER: dict[str, Any] = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}
# Stable Diffusion 1's own numbers; XL's UNet and second text encoder as stabilityai publishes them.
REAL_TEXT: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "projection_dim": 768,
}
REAL_TEXT_2 = REAL_TEXT | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
REAL_UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "act_fn": "silu",
    "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": False,
    "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "in_channels": 4,
    "layers_per_block": 2,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "out_channels": 4,
    "sample_size": 64,
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}
REAL_UNET_XL = REAL_UNET | {
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "attention_head_dim": [5, 10, 20],
    "block_out_channels": [320, 640, 1280],
    "cross_attention_dim": 2048,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "projection_class_embeddings_input_dim": 2816,
    "sample_size": 128,
    "transformer_layers_per_block": [1, 2, 10],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "use_linear_projection": True,
}
REAL_VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 512,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "projection_dim": 24,
    "eos_token_id": 49407,
}


@contextmanager
def beside_diffusers() -> Iterator[None]:
    """One thread; what the two libraries say about each other and about Python is not ours to mend."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    declare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.set_num_threads(threads)


def save_stable_diffusion(folder: Path, *, xl: bool = False, scheduler: dict[str, Any] | None = None) -> Path:
    """The whole folder, each network in the published key layout."""
    declare()
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        names = ("text_encoder", "text_encoder_2") if xl else ("text_encoder",)
        for name in names:
            second = name.endswith("_2")
            config = TEXT | ({"hidden_act": "gelu"} if second else {"hidden_act": "quick_gelu"})
            save_text(folder / name, config, projection=second)
            tokenizer = folder / name.replace("text_encoder", "tokenizer") / "tokenizer_config.json"
            write(tokenizer, {"pad_token": "!" if second else "<|endoftext|>"})
        extra: dict[str, Any] = {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 24 + 6 * 8,
        }
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32 * len(names),
            attention_head_dim=4,
            norm_num_groups=16,
            **(extra if xl else {}),
        )
        vae = AutoencoderKL(
            block_out_channels=(16, 32, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=16,
        )
        unet.save_pretrained(folder / "unet", safe_serialization=True)
        vae.save_pretrained(folder / "vae", safe_serialization=True)
    write(folder / "scheduler" / "scheduler_config.json", scheduler or SCHEDULER)
    write(folder / "model_index.json", {"_class_name": f"StableDiffusion{'XL' if xl else ''}Pipeline"})
    return folder


def write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def save_text(folder: Path, config: dict[str, Any], *, projection: bool) -> None:
    """A text encoder with the keys of the published files: under text_model., with position_ids where older."""
    weights = {}
    for key, value in ClipText(config, "!", projection).state_dict().items():
        scaled = value * 0.1 if "embedding" in key else value
        weights[key if key.startswith("text_projection") else f"text_model.{key}"] = scaled.contiguous()
    if not projection:
        weights["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    write(folder / "config.json", config)
    save_file(weights, folder / "model.safetensors")


def rename_vae_as_published(path: Path) -> None:
    """The attention of the VAE as Stable Diffusion 1 has it: query, key, value and proj_attn."""
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    weights = load_file(path)
    renamed = {}
    for key, value in weights.items():
        for new, name in old.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{name}.")
        renamed[key] = value
    save_file(renamed, path)


def save_at_full_size(folder: Path) -> None:
    """Stable Diffusion 1's architecture at random weights, as published: fp32, the VAE's attention by its old names.

    One network after the other, since each takes up to 3.4 GB of memory.
    """
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    text = DiffusersFolder(
        (Network(REAL_TEXT, (), "!"),), Network(REAL_UNET, ()), Network(REAL_VAE, ()), SCHEDULER, False
    )
    for name, part, config in zip(
        ("text_encoder", "unet", "vae"), build(text).parts, (REAL_TEXT, REAL_UNET, REAL_VAE), strict=True
    ):
        weights = {}
        for key, value in part.state_dict().items():
            drawn = noise.repeat(-(-value.numel() // len(noise)))[: value.numel()].view(value.shape)
            norm = value.ndim == 1 and key.endswith("weight")
            scaled = torch.ones(value.shape) if norm else drawn * value[0].numel() ** -0.5
            weights[key.replace("networks.0.", "text_model.")] = scaled
        stem = "model" if name.startswith("text") else "diffusion_pytorch_model"
        write(folder / name / "config.json", config)
        save_file(weights, folder / name / f"{stem}.safetensors")
    rename_vae_as_published(folder / "vae" / "diffusion_pytorch_model.safetensors")
    write(folder / "tokenizer" / "tokenizer_config.json", {"pad_token": "<|endoftext|>"})
    write(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    write(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
