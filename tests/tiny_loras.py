"""LoRA files at random numbers for the tiny Stable Diffusion models, in the names of the tools that write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from generator.checkpoints.lora_names import Part, kohya_name
from generator.models.stable_diffusion import StableDiffusionModels

Terms = dict[tuple[Part, str], tuple[Tensor, Tensor, float]]  # down, up, alpha by network and layer
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "proj_in", "q_proj", "v_proj", "mlp.fc1")
CONVOLUTIONS = ("conv1", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv", "conv_out", "time_emb_proj")
PARTS: tuple[Part, ...] = ("unet", "text_encoder", "text_encoder_2")


def random_terms(
    models: StableDiffusionModels, *, rank: int = 3, seed: int = 0, ends: tuple[str, ...] = ATTENTION, size: float = 0.2
) -> Terms:
    """Of every layer whose name ends so, large enough to be seen in the picture."""
    generator = torch.Generator().manual_seed(seed)
    found: Terms = {}
    for part, network in zip(PARTS, (models.unet, *models.texts.networks), strict=False):
        for name, layer in network.named_modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d) and name.endswith(ends):
                out, *rest = layer.weight.shape
                down = torch.randn(rank, *rest, generator=generator) * size
                up = torch.randn(out, rank, *([1] * (len(rest) - 1)), generator=generator) * size
                found[part, name] = down, up, rank / 2
    return found


def save_kohya(path: Path, terms: Terms, *, xl: bool = False, metadata: dict[str, str] | None = None) -> Path:
    """As kohya-ss/sd-scripts saves them."""
    tensors: dict[str, Tensor] = {}
    for (part, layer), (down, up, alpha) in terms.items():
        name = kohya_name(part, layer, xl=xl, layers_per_block=1)
        tensors |= {
            f"{name}.lora_down.weight": down,
            f"{name}.lora_up.weight": up,
            f"{name}.alpha": torch.tensor(alpha),
        }
    return saved(path, tensors, metadata)


def save_peft(path: Path, terms: Terms) -> Path:
    """As diffusers' save_lora_weights saves what peft has, whose alpha is the rank."""
    tensors: dict[str, Tensor] = {}
    for (part, layer), (down, up, _) in terms.items():
        name = f"{part}.{'' if part == 'unet' else 'text_model.'}{layer}"
        tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
    return saved(path, tensors)


def saved(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata=metadata)
    return path


def merged(models: StableDiffusionModels, terms: Terms, weight: float) -> None:
    """The terms into the weights themselves, as `W + weight * alpha / rank * up @ down` says."""
    networks: dict[str, Any] = dict(zip(PARTS, (models.unet, *models.texts.networks), strict=False))
    for (part, layer), (down, up, alpha) in terms.items():
        weights = networks[part].get_submodule(layer).weight
        term = (up.flatten(1) @ down.flatten(1)).view(weights.shape)
        weights.data += weight * alpha / down.shape[0] * term
