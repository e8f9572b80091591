"""The second family's generator in a folder: model.json says what flow and VQGAN are built from, model.safetensors
holds both, fp16, under `flow.` and `vqgan.`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generator.checkpoints.building import within
from generator.checkpoints.diffusers_folder import json_text
from generator.checkpoints.errors import plain
from lasting import make_folder, put_in_place

if TYPE_CHECKING:
    from torch import Tensor, nn

PARTS = ("flow", "vqgan")


def build(config: Path, weights: Path) -> list[tuple[nn.Module, dict[str, Tensor]]]:
    """Flow and VQGAN without weights (on torch's meta device), each with its tensors. Raises ValueError and what else
    UNFIT names."""
    import torch

    from generator.checkpoints.state_dict import read_state_dict
    from generator.models.flow import FlowTransformer
    from generator.models.vqgan import VQModel

    said, tensors = json.loads(json_text(config)), read_state_dict(weights)
    if not isinstance(said, dict) or not all(isinstance(said.get(part), dict) for part in PARTS):
        raise ValueError("model.json does not say what flow and vqgan are built from")
    if strangers := [key for key in tensors if key.partition(".")[0] not in PARTS]:
        raise ValueError(f"{len(strangers)} tensors do not belong to the model, the first is {plain(strangers[0])}")
    with torch.device("meta"), within(tensors):
        networks = FlowTransformer(said["flow"]), VQModel(said["vqgan"])
    return [(network, _below(part, tensors)) for part, network in zip(PARTS, networks, strict=True)]


def write(folder: Path, networks: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Tensor]]]) -> Path:
    """Configuration and weights of `flow` and `vqgan`, each file whole or not at all; the folder is made. Returns the
    file of the weights."""
    from safetensors.torch import save_file

    make_folder(folder)
    tensors = {
        f"{name}.{key}": value.half().contiguous()
        for name, (_, weights) in networks.items()
        for key, value in weights.items()
    }
    config, target = folder / "model.json", folder / "model.safetensors"
    save_file(tensors, target.with_suffix(".part"))
    config.with_suffix(".tmp").write_text(json.dumps({name: said for name, (said, _) in networks.items()}) + "\n")
    put_in_place(config.with_suffix(".tmp"), config)
    put_in_place(target.with_suffix(".part"), target)
    return target


def _below(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(part) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{part}.")}
