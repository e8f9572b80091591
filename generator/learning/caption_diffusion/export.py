"""A trained model into files: one of our own, and a folder that diffusers' StableDiffusionPipeline loads as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from generator.checkpoints.caption_models import ARCHITECTURE, CARD
from generator.learning.caption_diffusion.recipe import Networks
from generator.models.caption_unet import Architecture
from lasting import make_folder, put_in_place


def write(folder: Path, name: str, networks: Networks, architecture: Architecture, card: dict[str, Any]) -> Path:
    """NAME.safetensors in the folder, whole or not at all: weights in fp32, and in its metadata what it is built from
    and its card."""
    make_folder(folder)
    tensors = {key: value.detach().cpu().contiguous() for key, value in networks.state_dict().items()}
    told = {"format": "pt", ARCHITECTURE: architecture.model_dump_json(), CARD: json.dumps(card)}
    path, part = folder / f"{name}.safetensors", folder / f"{name}.safetensors.part"
    save_file(tensors, part, metadata=told)
    put_in_place(part, path)
    return path
