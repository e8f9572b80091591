"""What is in a folder that diffusers' save_pretrained writes: which networks, and in which files. Nothing is loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from generator.checkpoints.errors import UNFIT, plain, sentence, shown
from generator.checkpoints.torch_save import shapes_in
from generator.registry.hub import INDEX, tokenizer_of

# _class_name in model_index.json -> its text encoders
PIPELINES = {
    "StableDiffusionPipeline": ("text_encoder",),
    "StableDiffusionXLPipeline": ("text_encoder", "text_encoder_2"),
}
MAX_JSON_BYTES = 1 << 20  # bytes
MAX_FILES = 64  # of the weights of one network
MAX_BLOCKS = 8  # of a network, and so the entries of what its configuration lists for each of them
MAX_ENTRIES = 64  # of other lists
# Greatest counts of layers; networks have up to 3, 10 and 32.
MAX_LAYERS = {"layers_per_block": 16, "transformer_layers_per_block": 32, "reverse_transformer_layers_per_block": 32}
MAX_OTHER_LAYERS = 64
MAX_TRANSFORMERS = 256  # in all blocks of a UNet on its way down; XL's has 60 at most
# The files of a network's weights, the ones preferred first, each whole or in parts with an index.
WEIGHTS = (
    "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors", "model.safetensors",
    "model.fp16.safetensors", "diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin", "pytorch_model.bin",
    "pytorch_model.fp16.bin",
)  # fmt: skip
OTHERS = (".msgpack", ".h5", ".onnx", ".pb", ".xml", ".ckpt", ".pt", ".pth")


class BadFolder(ValueError):
    """A folder no picture can be drawn with; the message says what is missing or not supported."""


@dataclass(frozen=True)
class Network:
    """config: its config.json; weights: its files (.safetensors or .bin); pad: of a text encoder, the token that fills
    a row."""

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
    if not isinstance(kind, str) or kind not in PIPELINES:
        raise BadFolder(f"its {INDEX} names the pipeline {plain(kind)}; {' and '.join(PIPELINES)} are supported")
    return PIPELINES[kind]


def read_folder(folder: Path) -> DiffusersFolder:
    """What the folder holds. Raises BadFolder, also where its weights are in formats that are not read."""
    names = text_encoders(folder / INDEX)
    unet, vae = _network(folder / "unet"), _network(folder / "vae")
    latents = vae.config.get("latent_channels", 4)
    if unet.config.get("in_channels", 4) != latents:
        raise BadFolder(
            f"its UNet reads {plain(unet.config.get('in_channels'))} channels where the VAE has {plain(latents)}: a "
            "model made for inpainting or the like; take the text-to-image model it was made from, which redraws "
            "masks as well"
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
    except UNFIT:
        return None  # said when it is loaded
    return sum(sizes), max(sizes)


def _numbers(network: Network) -> int:
    return sum(_numbers_in(path, path.stat().st_mtime_ns) for path in network.weights)


@lru_cache(maxsize=64)
def _numbers_in(path: Path, changed: int) -> int:
    """How many numbers a file of weights holds, by what it says of itself."""
    return sum(math.prod(shape) for shape in shapes_in(path).values())


def json_text(path: Path) -> str:
    """What is in a file of JSON, which is read only where it is no larger than a configuration. Raises BadFolder."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BadFolder("it is too large for a configuration")
    return path.read_text(encoding="utf-8")


def _json(path: Path) -> dict[str, Any]:
    where = f"{path.parent.name}/{path.name}"
    try:
        read = json.loads(json_text(path))
    except FileNotFoundError:
        raise BadFolder(f"{where} is missing") from None
    except UNFIT as error:
        raise BadFolder(f"{where} cannot be read ({sentence(error)})") from None
    if not isinstance(read, dict):
        raise BadFolder(f"{where} is no JSON object")
    return read


def _pad(folder: Path) -> str:
    config = _json(folder / "tokenizer_config.json")
    pad = config.get("pad_token") or config.get("eos_token") or "<|endoftext|>"
    text = pad.get("content") if isinstance(pad, dict) else pad
    if not isinstance(text, str) or len(text) > 60:
        raise BadFolder(f"{folder.name}/tokenizer_config.json names {shown(text)} as the token that fills a row")
    return text


def check_counts(config: dict[str, Any], name: str) -> None:
    """Raises BadFolder for far too many layers: building each takes time and memory, even without weights."""
    for key, value in config.items():
        most = MAX_BLOCKS if "block" in key or "layers" in key else MAX_ENTRIES
        if isinstance(value, list) and len(value) > most:
            raise BadFolder(f"{name}/config.json has {len(value)} entries for {plain(key)}; at most {most} are read")
        limit = MAX_LAYERS.get(key, MAX_OTHER_LAYERS)
        for count in _counts(value) if "layers" in key else ():
            if count > limit:
                raise BadFolder(f"{name}/config.json has {plain(count)} for {plain(key)}; at most {limit} are read")
    many = max((len(v) for k, v in config.items() if "block" in k and isinstance(v, list)), default=1)
    for keys in (("layers_per_block",), tuple(key for key in MAX_LAYERS if "transformer" in key)):
        many *= max((1, *(count for key in keys for count in _counts(config.get(key)))))
    if many > MAX_TRANSFORMERS:
        raise BadFolder(f"{name}/config.json has {many} layers in all; at most {MAX_TRANSFORMERS} are read")


def _counts(value: Any) -> list[int]:
    """The whole numbers in it, also those in lists within lists."""
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, int):
            found.append(one)
    return found


def _network(folder: Path, pad: str = "") -> Network:
    # Those that begin so are diffusers' own notes, some of which it acts on.
    config = {key: value for key, value in _json(folder / "config.json").items() if not key.startswith("_")}
    check_counts(config, folder.name)
    for name in WEIGHTS:
        if (folder / name).is_file():
            return Network(config, (folder / name,), pad)
        index = folder / f"{name}.index.json"
        if index.is_file():
            return Network(config, _parts(index), pad)
    other = sorted(path.name for path in folder.iterdir() if path.suffix in OTHERS) if folder.is_dir() else []
    if other:
        raise BadFolder(
            f"{folder.name} has its weights as {plain(other[0])}, which is not read; save it again with diffusers: "
            "save_pretrained(..., safe_serialization=True)"
        )
    raise BadFolder(f"{folder.name} has no weights ({WEIGHTS[0]} or model.safetensors)")


def _parts(index: Path) -> tuple[Path, ...]:
    """The files that an index names, of this folder: it is no reason to read elsewhere. Raises BadFolder."""
    where, held = index.parent, _json(index).get("weight_map")
    if not isinstance(held, dict) or not held or not all(isinstance(part, str) for part in held.values()):
        raise BadFolder(f"{where.name}/{index.name} names no files")
    parts = sorted({Path(part).name for part in held.values()})
    if len(parts) > MAX_FILES:
        raise BadFolder(f"{where.name}/{index.name} names {len(parts)} files; at most {MAX_FILES} are read")
    for part in parts:
        if not part.endswith((".safetensors", ".bin")) or not (where / part).is_file():
            raise BadFolder(f"{where.name}/{index.name} names {shown(part)}, which is no file of weights there")
    return tuple(where / part for part in parts)
