"""Weights in files small enough to be sent: each holds whole tensors, fp16, and says what they belong to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from generator.checkpoints import flow_weights, own_clips
from lasting import make_folder, put_in_place

MAX_BYTES = 15_500_000  # of a file
# What is done with a network on the way: its name, its weights, what is told of them.
Keep = Callable[[str, dict[str, Tensor], dict[str, Any]], None]


def write_parts(folder: Path, name: str, weights: Mapping[str, Tensor], told: Mapping[str, Any]) -> None:
    """<name>.1.safetensors and so on, each whole or not at all. Whoever is cut off between two of them leaves tensors
    of two moments of one training, which still draw."""
    make_folder(folder)
    shelves: list[dict[str, Tensor]] = [{}]
    room = MAX_BYTES
    for key, value in weights.items():
        kept = (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        if kept.nbytes > room and shelves[-1]:
            shelves.append({})
            room = MAX_BYTES
        shelves[-1][key] = kept
        room -= kept.nbytes
    files = [folder / f"{name}.{number}.safetensors" for number in range(1, len(shelves) + 1)]
    for file, shelf in zip(files, shelves, strict=True):
        save_file(shelf, file.with_suffix(".part"), metadata={"told": json.dumps(told), "parts": str(len(files))})
    for file in files:
        put_in_place(file.with_suffix(".part"), file)


def read_parts(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of all parts, floating point in fp32, and what the last says. Raises FileNotFoundError."""
    files = sorted(folder.glob(f"{name}.*.safetensors"))
    weights: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    wanted = 1
    for file in files:
        with safe_open(file, "pt") as held:
            said = held.metadata()
            told, wanted = json.loads(said["told"]), int(said["parts"])
            weights |= {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118
    if len(files) < wanted:
        raise FileNotFoundError(f"{folder} has {len(files)} of {wanted} parts of {name}")
    return {key: value.float() if value.dtype == torch.float16 else value for key, value in weights.items()}, told


def join(folder: Path, output: Path) -> list[Path]:
    """Makes a checkpoint of the parts in a folder: `output` is flow/NAME below the folder of the checkpoints, and where
    there are parts of a CLIP it is clip/NAME there. The files written. Raises FileNotFoundError."""
    networks = {name: read_parts(folder, name) for name in ("flow", "vqgan")}
    made = [flow_weights.write(output, {name: (told["config"], kept) for name, (kept, told) in networks.items()})]
    if any(folder.glob("clip.*.safetensors")):
        packed, _ = read_parts(folder, "clip")
        made.append(own_clips.write(f"{own_clips.FOLDER}/{output.name}", output.parent.parent, packed))
    return made
