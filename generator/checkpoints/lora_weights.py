"""A LoRA's file into terms for the layers of a Stable Diffusion model; whatever does not fit is refused, not left out.

Kohya's files, those of diffusers (old and new) and of peft, of linear layers and of convolutions.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from generator.checkpoints.errors import UNFIT, CheckpointDamaged, plain, sentence, shown
from generator.checkpoints.fitting import check_finite
from generator.checkpoints.lora_names import Part, aliases, read_key
from generator.checkpoints.loras import MAX_BYTES, made_for, what_else
from generator.checkpoints.safetensors_header import read_metadata, read_shapes
from generator.checkpoints.state_dict import read_state_dict
from generator.models.low_rank import Lora, LowRank, fits
from generator.models.stable_diffusion import StableDiffusionModels

PARTS: tuple[Part, ...] = ("unet", "text_encoder", "text_encoder_2")


class _Fitting(ValueError):
    """A LoRA that is whole, and for another model."""


def load_lora(path: Path, models: StableDiffusionModels, checkpoint: str) -> Lora:
    """The terms as the model's layers take them, in fp32 on the CPU. checkpoint: the model's name, for messages.

    Raises CheckpointDamaged, for files that are damaged or of another kind, and LoRAs of another model.
    """
    name = path.stem
    try:
        about = path.stat()
        if about.st_size > MAX_BYTES:
            raise ValueError(f"it has {about.st_size / 1e9:.1f} GB, far more than a LoRA does")
        if what := what_else(read_shapes(path)):
            raise ValueError(what)
        tensors = {key: value.float() for key, value in read_state_dict(path).items()}
        check_finite(tensors)
        parts = _terms(tensors, _networks(models), _alphas(path), models.unet.config.layers_per_block)
    except _Fitting as error:
        told = made_for(path)
        told = f" (its metadata say {plain(told)})" if told else ""
        raise CheckpointDamaged(
            f"The LoRA {name} does not fit {checkpoint}: {error}; it was made for another model{told}."
        ) from None
    except UNFIT as error:
        raise CheckpointDamaged(f"The LoRA {path} cannot be used: {sentence(error)}.") from None
    texts = tuple(parts[part] for part in PARTS[1 : 1 + len(models.texts.networks)])
    return Lora(f"{name}@{about.st_size}@{about.st_mtime_ns}", parts["unet"], texts)


def _networks(models: StableDiffusionModels) -> dict[Part, nn.Module]:
    return dict(zip(PARTS, (models.unet, *models.texts.networks), strict=False))


def _terms(
    tensors: dict[str, Tensor], networks: dict[Part, nn.Module], alphas: dict[Part, Any], layers_per_block: Any
) -> dict[Part, dict[str, LowRank]]:
    """By network and layer. Raises ValueError; _Fitting where a layer is not there or has other weights."""
    known = {}
    for part, network in networks.items():
        layers = [n for n, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
        known[part] = aliases(part, layers, layers_per_block if isinstance(layers_per_block, int) else 2)
    found: dict[tuple[Part, str], dict[str, Tensor]] = {}
    for name, value in tensors.items():
        key = read_key(name)
        if key is None:
            raise ValueError(f"its tensor {shown(name)} has a name that no known tool gives")
        layer = known.get(key.part, {}).get(key.layer)
        if layer is None:
            raise _Fitting(f"its layer {plain(name)} is none of the model's")
        if key.what in found.setdefault((key.part, layer), {}):
            raise ValueError(f"its layer {layer} is there twice")
        found[key.part, layer][key.what] = value
    made: dict[Part, dict[str, LowRank]] = {part: {} for part in PARTS}
    for (part, layer), three in found.items():
        one = _term(part, layer, three, alphas.get(part, {}), networks[part].get_submodule(layer))
        if why := fits(networks[part], layer, one):
            raise _Fitting(why)
        made[part][layer] = one
    return made


def _term(part: Part, layer: str, three: dict[str, Tensor], told: dict[str, Any], module: nn.Module) -> LowRank:
    if "down" not in three or "up" not in three:
        raise ValueError(f"of its layer {layer} a matrix is missing")
    down, up = (three[what].contiguous().clone() for what in ("down", "up"))
    if isinstance(module, nn.Linear) and down.ndim == up.ndim == 4 and down.shape[2:] == up.shape[2:] == (1, 1):
        down, up = down[:, :, 0, 0], up[:, :, 0, 0]  # a 1 x 1 convolution is a linear layer
    if isinstance(module, nn.Conv2d) and down.ndim == up.ndim == 2:
        down, up = down[:, :, None, None], up[:, :, None, None]
    rank = down.shape[0] if down.ndim else 0
    if not rank:
        raise ValueError(f"its layer {layer} has rank 0")
    alpha = float(three["alpha"].reshape(-1)[0]) if "alpha" in three else _alpha_told(told, layer, rank)
    scale = alpha / (math.sqrt(rank) if told.get("use_rslora") else rank)
    if not math.isfinite(scale):
        raise ValueError(f"alpha of its layer {layer} is {alpha}")
    return LowRank(down, up, scale)


def _alphas(path: Path) -> dict[Part, Any]:
    """What diffusers writes into a file's metadata of each network's peft configuration."""
    told = json.loads(read_metadata(path).get("lora_adapter_metadata", "{}"))
    if not isinstance(told, dict):
        raise ValueError("its lora_adapter_metadata are no table")
    return {
        part: {key.removeprefix(f"{part}."): value for key, value in told.items() if key.startswith(f"{part}.")}
        for part in PARTS
    }


def _alpha_told(told: dict[str, Any], layer: str, rank: int) -> float:
    """peft's: of the layer where a pattern names it, else of all; without any, the rank, which scales nothing."""
    if told.get("use_dora"):
        raise ValueError("it is a DoRA, which scales the weights it is added to; plain LoRAs are read")
    pattern = told.get("alpha_pattern") or {}
    given = next((value for end, value in pattern.items() if f".{layer}".endswith(f".{end}")), told.get("lora_alpha"))
    return rank if given is None else float(given)
