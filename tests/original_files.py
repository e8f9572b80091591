"""Tiny Stable Diffusion models as folders and, in their authors' names, as one file: the same numbers in both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from generator.models.torchvision_operators import declare
from tests.tiny_diffusers import SCHEDULER, TEXT, save_text, write

UNET, VAE = "model.diffusion_model.", "first_stage_model."
XL_SCHEDULER = SCHEDULER | {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"}
_UNETS: dict[str, dict[str, Any]] = {
    "1": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8,
        "cross_attention_dim": 32,
        "layers_per_block": 2,
    },
    "2": {
        "block_out_channels": (64, 128),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (1, 2),
        "cross_attention_dim": 64,
        "use_linear_projection": True,
        "layers_per_block": 1,
    },
    "XL": {
        "block_out_channels": (64, 128),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": (1, 2),
        "cross_attention_dim": 96,
        "use_linear_projection": True,
        "transformer_layers_per_block": (1, 2),
        "layers_per_block": 1,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 24 + 6 * 8,
    },
}
Held = dict[str, torch.Tensor]
_SMALL = TEXT | {"num_attention_heads": 1, "hidden_act": "quick_gelu"}
_WIDE = _SMALL | {"hidden_size": 64, "intermediate_size": 128, "hidden_act": "gelu"}
# The encoders of each version: their configuration, and whether they end in a projection.
_TEXTS = {"1": ((_SMALL, False),), "2": ((_WIDE, False),), "XL": ((_SMALL, False), (_WIDE, True))}


def save_folder(folder: Path, version: str, *, prediction: str = "epsilon") -> Path:
    """The folder that diffusers would write of a tiny model of that version."""
    declare()
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    with torch.random.fork_rng():
        torch.manual_seed(7)
        for number, (config, projection) in enumerate(_TEXTS[version]):
            end = "_2" if number else ""
            save_text(folder / f"text_encoder{end}", config, projection=projection)
            pad = "<|endoftext|>" if config is _SMALL else "!"
            write(folder / f"tokenizer{end}" / "tokenizer_config.json", {"pad_token": pad})
        unet = UNet2DConditionModel(sample_size=8, norm_num_groups=32, **_UNETS[version])
        vae = AutoencoderKL(
            block_out_channels=(32, 32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=32,
            scaling_factor=0.13025 if version == "XL" else 0.18215,
        )
    unet.save_pretrained(folder / "unet", safe_serialization=True)
    vae.save_pretrained(folder / "vae", safe_serialization=True)
    scheduler = XL_SCHEDULER if version == "XL" else SCHEDULER
    write(folder / "scheduler" / "scheduler_config.json", scheduler | {"prediction_type": prediction})
    write(folder / "model_index.json", {"_class_name": f"StableDiffusion{'XL' if version == 'XL' else ''}Pipeline"})
    return folder


def original_tensors(folder: Path, version: str) -> dict[str, torch.Tensor]:
    """The same numbers under the names of the one-file format, with what lies beside them in published files."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    texts = [load_file(path / "model.safetensors") for path in sorted(folder.glob("text_encoder*"))]
    found = original_names(unet, vae, texts, version, per_level=_UNETS[version]["layers_per_block"] + 1)
    if version == "XL":
        return found | {"denoiser.sigmas": torch.rand(1000)}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return found | {"betas": betas, "alphas_cumprod": (1 - betas).cumprod(0)}


def original_names(unet: Held, vae: Held, texts: list[Held], version: str, *, per_level: int) -> Held:
    """The networks of a folder under the names of the one-file format. per_level: blocks of the UNet on its way down,
    with the downsampler."""
    found = {UNET + _unet_name(name, per_level): value for name, value in unet.items()}
    for name, value in vae.items():
        convolution = "mid_block.attentions.0.to_" in name and name.endswith("weight")
        found[VAE + _vae_name(name)] = value[:, :, None, None].contiguous() if convolution else value
    if version == "2":
        found |= _open_clip("cond_stage_model.model.", texts[0], extra_layer=True)
    else:
        prefix = "cond_stage_model" if version == "1" else "conditioner.embedders.0"
        found |= {f"{prefix}.transformer.{name}": value for name, value in texts[0].items()}
    if version == "XL":
        found |= _open_clip("conditioner.embedders.1.model.", texts[1], extra_layer=False)
    return _place_upsamplers(found)


def with_averages(tensors: dict[str, torch.Tensor], change: float) -> dict[str, torch.Tensor]:
    """The same as a training leaves it: averages under LitEma's names, and weights that differ from them."""
    found = dict(tensors)
    for name, value in tensors.items():
        if name.startswith(UNET):
            found["model_ema." + name.removeprefix("model.").replace(".", "")] = value
            found[name] = value + change
    return found | {"model_ema.decay": torch.tensor(0.9999), "model_ema.num_updates": torch.tensor(470000)}


def _unet_name(name: str, per_level: int) -> str:
    for new, old in (
        ("time_embedding.linear_1.", "time_embed.0."),
        ("time_embedding.linear_2.", "time_embed.2."),
        ("add_embedding.linear_1.", "label_emb.0.0."),
        ("add_embedding.linear_2.", "label_emb.0.2."),
        ("conv_in.", "input_blocks.0.0."),
        ("conv_norm_out.", "out.0."),
        ("conv_out.", "out.2."),
        ("mid_block.resnets.0.", "middle_block.0."),
        ("mid_block.attentions.0.", "middle_block.1."),
        ("mid_block.resnets.1.", "middle_block.2."),
    ):
        if name.startswith(new):
            name = old + name.removeprefix(new)
            break
    block = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.", name)
    if block:
        level, layer, rest = int(block[2]), int(block[4]), name[block.end() :]
        if block[3] == "downsamplers":
            return f"input_blocks.{(level + 1) * per_level}.0.op.{rest.removeprefix('conv.')}"
        if block[3] == "upsamplers":  # behind the transformer where the level has one
            return f"output_blocks.{(level + 1) * per_level - 1}.{{up{level}}}.{rest}"
        first = 1 if block[1] == "down" else 0
        kind = "input" if first else "output"
        number = first + level * per_level + layer
        name = f"{kind}_blocks.{number}.{int(block[3] == 'attentions')}.{rest}"
    for new, old in (
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("norm2", "out_layers.0"), ("conv2", "out_layers.3"),
        ("time_emb_proj", "emb_layers.1"), ("conv_shortcut", "skip_connection"),
    ):  # fmt: skip
        if "transformer_blocks" not in name:
            name = re.sub(rf"\.{new}\.(weight|bias)$", rf".{old}.\1", name)
    return name


def _place_upsamplers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """An upsampler is part 1 of its block, or part 2 where a transformer is part 1."""
    placed = {}
    for name, value in tensors.items():
        block = name.partition("{")[0]
        part = 2 if f"{block}1.proj_in.weight" in tensors else 1
        placed[re.sub(r"\{up\d\}", str(part), name)] = value
    return placed


def _vae_name(name: str) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
    if "attn_1" in name:
        for new, old in (("group_norm", "norm"), ("to_out.0", "proj_out"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v")):
            name = name.replace(new, old)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{3 - int(m[1])}.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)


def _open_clip(prefix: str, held: dict[str, torch.Tensor], *, extra_layer: bool) -> dict[str, torch.Tensor]:
    """extra_layer: the last one, which version 2 does not read."""
    plain = {name.removeprefix("text_model."): value for name, value in held.items()}
    found = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
        "logit_scale": torch.tensor(4.6),
    }
    found["text_projection"] = plain.get("text_projection.weight", torch.ones(24, 64)).T.contiguous()
    layers = 1 + max(int(name.split(".")[2]) for name in plain if name.startswith("encoder.layers."))
    for layer in range(layers + extra_layer):
        new, old = f"encoder.layers.{min(layer, layers - 1)}.", f"transformer.resblocks.{layer}."
        for end in ("weight", "bias"):
            parts = [plain[f"{new}self_attn.{part}_proj.{end}"] for part in "qkv"]
            found[f"{old}attn.in_proj_{end}"] = torch.cat(parts)
            for a, b in (
                ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
            ):  # fmt: skip
                found[f"{old}{b}.{end}"] = plain[f"{new}{a}.{end}"].clone()
    return {prefix + name: value for name, value in found.items()}
