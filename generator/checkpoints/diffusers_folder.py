"""What is in a folder that diffusers' save_pretrained writes: which networks, and in which files. Nothing is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from generator.registry.hub import INDEX, tokenizer_of

# _class_name in model_index.json -> its text encoders
PIPELINES = {
    "StableDiffusionPipeline": ("text_encoder",),
    "StableDiffusionXLPipeline": ("text_encoder", "text_encoder_2"),
}
MAX_HEADER_BYTES = 16 << 20  # bytes; the format allows 100 MB, of which the largest models use 2
MAX_JSON_BYTES = 1 << 20  # bytes
MAX_LAYERS, MAX_BLOCKS = 256, 64  # of a network, far more than any has
UNSAFE = (".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5")


class BadFolder(ValueError):
    """A folder no picture can be drawn with; the message says what is missing or not supported."""


@dataclass(frozen=True)
class Network:
    """config: its config.json; weights: its safetensors files; pad: of a text encoder, the token that fills a row."""

    config: dict[str, Any]
    weights: tuple[Path, ...]
    pad: str = ""


@dataclass(frozen=True)
class DiffusersFolder:
    """zeros_for_nothing: whether an empty negative prompt is zeros."""

    texts: tuple[Network, ...]
    unet: Network
    vae: Network
    scheduler: dict[str, Any]
    zeros_for_nothing: bool


def text_encoders(index: Path) -> tuple[str, ...]:
    """The text encoders of the pipeline that a model_index.json names. Raises BadFolder."""
    kind = _json(index).get("_class_name")
    if kind not in PIPELINES:
        raise BadFolder(f"its {INDEX} names the pipeline {kind}; {' and '.join(PIPELINES)} are supported")
    return PIPELINES[kind]


def read_folder(folder: Path) -> DiffusersFolder:
    """What the folder holds. Raises BadFolder; where only formats are found that may run code, that too."""
    names = text_encoders(folder / INDEX)
    unet, vae = _network(folder / "unet"), _network(folder / "vae")
    latents = vae.config.get("latent_channels", 4)
    if unet.config.get("in_channels", 4) != latents:
        raise BadFolder(
            f"its UNet reads {unet.config.get('in_channels')} channels where the VAE has {latents}: a model made for "
            "inpainting or the like; take the text-to-image model it was made from, which redraws masks as well"
        )
    texts = tuple(_network(folder / name, _pad(folder / tokenizer_of(name))) for name in names)
    scheduler = _json(folder / "scheduler" / "scheduler_config.json")
    zeros = bool(_json(folder / INDEX).get("force_zeros_for_empty_prompt", len(names) > 1))
    return DiffusersFolder(texts, unet, vae, scheduler, zeros)


def weight_bytes(folder: Path) -> tuple[int, int] | None:
    """Bytes of all networks, and of the largest, as they lie on a GPU: the UNet in bfloat16, the others in fp32.

    From what the files say of themselves, whatever they are stored as. None where there is no such folder.
    """
    try:
        found = read_folder(folder)
        sizes = [4 * _numbers(one) for one in (*found.texts, found.vae)] + [2 * _numbers(found.unet)]
    except (BadFolder, OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None  # said when it is loaded
    return sum(sizes), max(sizes)


def _numbers(network: Network) -> int:
    return sum(_numbers_in(path, path.stat().st_mtime_ns) for path in network.weights)


@lru_cache(maxsize=64)
def _numbers_in(path: Path, changed: int) -> int:
    """How many numbers a safetensors file holds, by its header: its length in 8 bytes, then JSON."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"{path} is no safetensors file")
        header = json.loads(file.read(length))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise BadFolder(f"{path.parent.name}/{path.name} is too large for a configuration")
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFolder(f"{path.parent.name}/{path.name} is missing") from None
    except BadFolder:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BadFolder(f"{path.parent.name}/{path.name} cannot be read ({error})") from None
    if not isinstance(read, dict):
        raise BadFolder(f"{path.parent.name}/{path.name} is no JSON object")
    return read


def _pad(folder: Path) -> str:
    config = _json(folder / "tokenizer_config.json")
    pad = config.get("pad_token") or config.get("eos_token") or "<|endoftext|>"
    return str(pad["content"] if isinstance(pad, dict) else pad)


def _check_counts(config: dict[str, Any], name: str) -> None:
    """Building a network takes time and memory for every layer, even without weights."""
    for key, value in config.items():
        if isinstance(value, list) and len(value) > MAX_BLOCKS:
            raise BadFolder(
                f"{name}/config.json has {len(value)} entries for {key[:40]}; at most {MAX_BLOCKS} are read"
            )
        for count in value if isinstance(value, list) else [value]:
            if "layers" in key and isinstance(count, int) and count > MAX_LAYERS:
                raise BadFolder(f"{name}/config.json has {count} for {key[:40]}; at most {MAX_LAYERS} are read")


def _network(folder: Path, pad: str = "") -> Network:
    config = _json(folder / "config.json")
    _check_counts(config, folder.name)
    for stem in ("diffusion_pytorch_model", "model"):
        for name in (f"{stem}.safetensors", f"{stem}.fp16.safetensors"):
            if (folder / name).is_file():
                return Network(config, (folder / name,), pad)
        index = folder / f"{stem}.safetensors.index.json"
        if index.is_file():
            # Only names in this folder: an index is no reason to read elsewhere.
            parts = sorted({Path(str(part)).name for part in _json(index).get("weight_map", {}).values()})
            return Network(config, tuple(folder / part for part in parts), pad)
    other = sorted(path.name for path in folder.iterdir() if path.suffix in UNSAFE) if folder.is_dir() else []
    if other:
        raise BadFolder(
            f"{folder.name} has its weights as {other[0]} only, a format that may run code when it is read. Save the "
            "model again with save_pretrained(..., safe_serialization=True)"
        )
    raise BadFolder(f"{folder.name} has no weights (*.safetensors)")
