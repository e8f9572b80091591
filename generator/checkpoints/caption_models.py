"""A text-to-image model of one's own in one file: safetensors that say what the network is built from, and its card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.checkpoints.errors import plain
from generator.checkpoints.safetensors_header import read_metadata
from generator.models.caption_architecture import Architecture
from lasting import make_folder, put_in_place

if TYPE_CHECKING:
    from torch import Tensor, nn

ARCHITECTURE, CARD = "text2image.architecture", "text2image.card"  # names in the metadata of the file


def read_card(path: Path) -> dict[str, Any]:
    """What the file says of itself: what it learnt from, how long and how well. Raises ValueError where it says
    nothing. Imports no torch."""
    card = json.loads(read_metadata(path).get(CARD, "null"))
    if not isinstance(card, dict):
        raise ValueError(f"{path.name} has no card of a model of one's own in it")
    return card


def read_architecture(path: Path) -> Architecture:
    """What the file's network is built from. Raises ValueError where it does not say, or says what cannot be.
    Imports no torch."""
    told = read_metadata(path).get(ARCHITECTURE)
    if told is None:
        raise ValueError("it does not say what it is built from: it is no model that was trained here")
    return Architecture.model_validate_json(told)


def build(
    path: Path,
) -> tuple[Architecture, list[tuple[nn.Module, dict[str, Tensor]]]]:
    """Its networks as it says they are, without weights (on torch's meta device), each with its tensors: the UNet, and
    where it has no base the caption encoder. Raises ValueError and what else UNFIT names."""
    import torch

    from generator.checkpoints.state_dict import read_state_dict
    from generator.models.caption_unet import build_text, build_unet

    architecture, tensors = read_architecture(path), read_state_dict(path)
    with torch.device("meta"):  # no memory is taken on the word of a configuration
        parts = {"unet": build_unet(architecture)}
        if not architecture.base:
            parts["text"] = build_text(architecture)
    if strangers := [key for key in tensors if key.partition(".")[0] not in parts]:
        raise ValueError(f"{len(strangers)} tensors do not belong to the model, the first is {plain(strangers[0])}")
    return architecture, [
        (part, {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")})
        for name, part in parts.items()
    ]


def write(path: Path, networks: dict[str, nn.Module], architecture: Architecture, card: dict[str, Any]) -> None:
    """One file, whole or not at all: weights in fp32 (unet and text), and in its metadata the architecture and the
    card. Its folder is made."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{key}": value.detach().float().cpu().contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }
    told = {"format": "pt", ARCHITECTURE: architecture.model_dump_json(), CARD: json.dumps(card)}
    make_folder(path.parent)
    part = path.with_name(f"{path.name}.part")
    save_file(tensors, part, metadata=told)
    put_in_place(part, path)
