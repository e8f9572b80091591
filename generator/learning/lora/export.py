"""What was learnt as a file that other tools load: kohya's names, and in its metadata what they show of a LoRA."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save, save_file
from torch import Tensor

from generator.checkpoints.caption_models import CARD
from generator.checkpoints.lora_names import Part, kohya_name
from generator.learning.lora.recipe import terms_of
from generator.params.train_lora import TrainLoraParams
from generator.version import VERSION
from lasting import make_folder, put_in_place


def write(
    folder: Path,
    params: TrainLoraParams,
    networks: Mapping[Part, Any],
    *,
    step: int,
    pictures: int | None,
    prediction: str,
    card: Mapping[str, Any] | None = None,
) -> Path:
    """NAME.safetensors in the folder, whole or not at all.

    pictures: how many it was learnt from, None if not known; prediction: as the model's scheduler says. card: of
    the model, plain values.
    """
    make_folder(folder)
    xl = networks["unet"].config.addition_embed_type == "text_time"
    tensors = kohya_tensors(networks, params.alpha, xl=xl)
    path, part = folder / f"{params.name}.safetensors", folder / f"{params.name}.safetensors.part"
    bare = save(tensors)
    digest = hashlib.sha256(bare[8 + int.from_bytes(bare[:8], "little") :]).hexdigest()  # of the numbers alone
    told = _metadata(params, step, pictures, prediction, xl=xl) | {
        "modelspec.hash_sha256": f"0x{digest}",
        "sshs_model_hash": digest,
        "sshs_legacy_hash": digest[:8],
    }
    if card is not None:
        told[CARD] = json.dumps(dict(card))
    save_file(tensors, part, metadata=told)
    put_in_place(part, path)
    return path


def kohya_tensors(networks: Mapping[Part, Any], alpha: float, *, xl: bool) -> dict[str, Tensor]:
    """By kohya's names, in fp32 on the CPU."""
    layers_per_block = networks["unet"].config.layers_per_block
    found: dict[str, Tensor] = {}
    for part, network in networks.items():
        for name, weight in terms_of(network).items():
            layer, _, end = name.rpartition(".lora_")
            stem = kohya_name(part, layer, xl=xl, layers_per_block=layers_per_block)
            found[f"{stem}.lora_{'down' if end.startswith('A') else 'up'}.weight"] = weight.detach().cpu().contiguous()
            found[f"{stem}.alpha"] = torch.tensor(alpha)
    return found


def _metadata(params: TrainLoraParams, step: int, pictures: int | None, prediction: str, *, xl: bool) -> dict[str, str]:
    """As kohya-ss/sd-scripts writes it (ss_), and Stability's model spec (modelspec_); of what was trained on, nothing
    but what the settings say."""
    told: dict[str, Any] = {
        "format": "pt",
        "ss_base_model_version": "sdxl_base_v1-0" if xl else "sd_v1",
        "ss_sd_model_name": params.checkpoint,
        "ss_network_module": "networks.lora",
        "ss_network_dim": params.rank,
        "ss_network_alpha": params.alpha,
        "ss_network_args": json.dumps({"conv_dim": params.rank} if params.trained == "all" else {}),
        "ss_output_name": params.name,
        "ss_learning_rate": params.learning_rate,
        "ss_unet_lr": params.learning_rate,
        "ss_text_encoder_lr": params.text_learning_rate if params.train_text else None,
        "ss_optimizer": "torch.optim.AdamW",
        "ss_lr_scheduler": params.decay,
        "ss_lr_warmup_steps": params.warmup_steps,
        "ss_max_grad_norm": params.gradient_clipping,
        "ss_min_snr_gamma": params.snr_gamma or None,
        "ss_v2": "False",
        "ss_seed": params.seed,
        "ss_steps": step,
        "ss_max_train_steps": params.steps,
        "ss_batch_size_per_device": params.batch_size,
        "ss_num_train_images": pictures,
        "ss_resolution": f"({params.resolution}, {params.resolution})",
        "ss_enable_bucket": str(params.max_ratio > 1),
        "ss_caption_dropout_rate": params.caption_dropout,
        "ss_tag_frequency": json.dumps({params.name: {params.trigger: pictures or 1}}) if params.trigger else None,
        "ss_training_comment": f"trained with the studio {VERSION}; licence of the data: {params.licence}",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"stable-diffusion-{'xl-v1-base' if xl else 'v1'}/lora",
        "modelspec.implementation": "https://github.com/kohya-ss/sd-scripts",
        "modelspec.title": params.name,
        "modelspec.license": params.licence,
        "modelspec.resolution": f"{params.resolution}x{params.resolution}",
        "modelspec.prediction_type": "v" if prediction == "v_prediction" else prediction,
        "modelspec.trigger_phrase": params.trigger or None,
    }
    return {key: str(value) for key, value in told.items() if value is not None}
