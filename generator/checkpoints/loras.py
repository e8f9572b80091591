"""LoRA files lora/NAME.safetensors below the checkpoints' folder: which are there, and what is wrong with the others.

Importing this module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from generator.checkpoints.errors import UNFIT, CheckpointMissing, sentence
from generator.checkpoints.safetensors_header import BadHeader, read_metadata, read_shapes
from generator.params.lora import LORA_NAME

FOLDER = "lora"
MAX_BYTES = 4 << 30  # of a file; rank 256 of all of XL has 3.5 GB
_SHOWN = 12  # names in a message
# What other tools put into the same place and is no sum of two small matrices.
_OTHERS = (
    (r"\.dora_scale$|\.lora_magnitude_vector", "it is a DoRA, which scales the weights it is added to"),
    (r"\.hada_w[12]_", "it is a LoHa (LyCORIS)"),
    (r"\.lokr_w[12]", "it is a LoKr (LyCORIS)"),
    (r"\.oft_blocks$|\.oft_diag$|\.oft_R\.", "it is an OFT (LyCORIS)"),
    (r"\.lora_mid\.weight$", "it has convolutions in three parts (CP decomposition of LyCORIS)"),
    (r"\.w_norm$|\.b_norm$|\.diff_b?$", "it changes whole layers (LyCORIS norm or full)"),
)
_LORA = re.compile(r"\.(lora_down|lora_up|lora_A|lora_B)\.|[._]lora\.(up|down)\.|lora_linear_layer\.(up|down)\.")


def own_loras(directory: Path) -> list[str]:
    """The names of those that are there and can be used as far as their headers tell."""
    return [name for name, problem in _looked_at(directory).items() if problem is None]


def unusable_loras(directory: Path) -> dict[str, str]:
    """What lies in the folder and is none: what is wrong with it, as a sentence, by its path below `directory`."""
    found = {f"{FOLDER}/{name}": problem for name, problem in _looked_at(directory).items() if problem is not None}
    for path in sorted((directory / FOLDER).glob("*")):
        if path.suffix in (".pt", ".ckpt", ".pth", ".bin"):
            found[f"{FOLDER}/{path.name}"] = "It cannot be used: a LoRA is a .safetensors file; this kind can run code."
    return found


def lora_file(name: str, directory: Path) -> Path:
    """The file of a LoRA by its name. Raises CheckpointMissing with the names of those that are there."""
    path = directory / FOLDER / f"{name}.safetensors"
    if re.fullmatch(LORA_NAME, name) and path.is_file():
        return path
    there = own_loras(directory)
    names = ", ".join(there[:_SHOWN]) + (", ..." if len(there) > _SHOWN else "")
    advice = f"choose one of: {names}" if there else f"put its .safetensors file into {directory / FOLDER}"
    raise CheckpointMissing(f"There is no LoRA {name!r} in {directory / FOLDER}: {advice}.")


def made_for(path: Path) -> str:
    """What a LoRA's metadata say it was made for ("sd_v1", "sdxl_base_v1-0", ...); empty where they do not.

    Raises BadHeader.
    """
    told = read_metadata(path)
    return told.get("ss_base_model_version") or told.get("modelspec.architecture", "").removesuffix("/lora")


def what_else(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """What a file is that is no LoRA this project adds; None where it is one."""
    for pattern, what in _OTHERS:
        if any(re.search(pattern, name) for name in shapes):
            return f"{what}; plain LoRAs of linear layers and convolutions are read"
    if not any(_LORA.search(name) for name in shapes):
        return "it holds no LoRA"
    return None


def _looked_at(directory: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in sorted((directory / FOLDER).glob("*.safetensors")):
        if not path.name.startswith(".") and path.is_file():
            about = path.stat()
            found[path.stem] = _problem(path, about.st_size, about.st_mtime_ns)
    return found


@lru_cache(maxsize=1024)
def _problem(path: Path, size: int, changed: int) -> str | None:
    if not re.fullmatch(LORA_NAME, path.stem):
        return "Its name has signs other than letters, digits, _, . and -, or begins with one: rename it."
    if size > MAX_BYTES:
        return f"It cannot be used: it has {size / 1e9:.1f} GB, far more than a LoRA does."
    try:
        what = what_else(read_shapes(path))
    except BadHeader as error:
        return f"It cannot be used: its safetensors header cannot be read ({error})."
    except UNFIT as error:
        return f"It cannot be used: {sentence(error)}."
    return f"It cannot be used: {what}." if what else None
