"""Stable Diffusion as model sites publish it: one file below diffusers/, or a folder with one. Which file it is.

Beside it may lie, under its own name, the yaml its authors gave it (NAME.yaml) and a VAE (NAME.vae.safetensors, .vae.pt
or .vae.ckpt), which is taken in the place of the file's own; in a folder any one yaml and any one *.vae.* count.
Importing this module does not import torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from generator.checkpoints.diffusers_folder import BadFolder
from generator.checkpoints.errors import UNFIT, plain, sentence, shown
from generator.checkpoints.kinds import UNET
from generator.checkpoints.original import BESIDE, PREDICTS, VAE, Original, Settings, inner, recognise
from generator.checkpoints.taming_config import read_yaml
from generator.checkpoints.torch_save import shapes_in
from generator.registry.hub import INDEX

SUFFIXES = (".safetensors", ".ckpt", ".pt")
CONFIGS = (".yaml", ".yml")


@dataclass(frozen=True)
class SingleFile:
    """weights: the file; config: its yaml; vae: a VAE beside it."""

    weights: Path
    config: Path | None
    vae: Path | None


def find(directory: Path, name: str) -> SingleFile | None:
    """The file that diffusers/NAME means, with or without its suffix; None where there is none, or a folder that
    save_pretrained wrote. Raises BadFolder for a folder with several."""
    at = directory / name
    if at.is_dir():
        return None if (at / INDEX).is_file() else _in_folder(at)
    choices = [at] if at.suffix in SUFFIXES else [at.with_name(at.name + suffix) for suffix in SUFFIXES]
    weights = next((path for path in choices if path.is_file()), None)
    if weights is None:
        return None
    return SingleFile(
        weights,
        next((path for end in CONFIGS if (path := weights.with_suffix(end)).is_file()), None),
        next((path for end in SUFFIXES if (path := weights.with_suffix(f".vae{end}")).is_file()), None),
    )


def files_below(folder: Path) -> list[Path]:
    """The files directly in the folder that can be a model in one file."""
    return sorted(path for path in folder.glob("*") if can_be_model(path))


def can_be_model(path: Path) -> bool:
    """Whether a file's name is that of a model in one file, and not of the VAE of one."""
    return path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file() and not _is_vae(path)


def _in_folder(folder: Path) -> SingleFile | None:
    found = files_below(folder)
    for suffix in SUFFIXES:
        if same := [path for path in found if path.suffix == suffix]:
            found = same
            break
    if len(found) > 1:
        some = ", ".join(plain(path.name) for path in found[:5])
        raise BadFolder(
            f"it has several files that could be the model ({some}); leave one, or put them directly into the folder "
            "above, where each is a model of its own"
        )
    if not found:
        return None
    configs = [path for path in sorted(folder.glob("*")) if path.suffix in CONFIGS and path.is_file()]
    vaes = [path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES and _is_vae(path) and path.is_file()]
    if len(configs) > 1 or len(vaes) > 1:
        some = ", ".join(plain(path.name) for path in (configs if len(configs) > 1 else vaes)[:5])
        raise BadFolder(f"it has {some} beside the model, where one is needed")
    return SingleFile(found[0], configs[0] if configs else None, vaes[0] if vaes else None)


def _is_vae(path: Path) -> bool:
    stem = path.stem.lower()
    return stem.endswith(".vae") or stem in ("vae", "sdxl_vae") or stem.startswith("vae-ft-")


def read_settings(config: Path | None) -> Settings:
    """What the yaml beside a model says of it. Raises ValueError for what is no such yaml."""
    if config is None:
        return Settings()
    model = read_yaml(config).get("model")
    params = model.get("params") if isinstance(model, dict) else None
    if not isinstance(params, dict):
        raise ValueError(f"{plain(config.name)} has no model.params")
    parts = [params.get(key) for key in ("unet_config", "network_config")]
    unet: Mapping[str, Any] = next(
        (part["params"] for part in parts if isinstance(part, dict) and isinstance(part.get("params"), dict)), {}
    )
    scale = params.get("scale_factor")
    return Settings(
        _prediction(params, config.name),
        _number(unet, "num_heads", config.name),
        _number(unet, "num_head_channels", config.name),
        float(scale) if isinstance(scale, (int, float)) and 0 < scale < 100 else None,
    )


def _prediction(params: Mapping[str, Any], name: str) -> str | None:
    """Version 1 and 2 say it by a word, XL by the class of its denoiser's scaling."""
    word = params.get("parameterization")
    if word is not None:
        if word not in PREDICTS:
            raise ValueError(f"{plain(name)} has the parameterization {shown(word)}; {', '.join(PREDICTS)} are known")
        return PREDICTS[word]
    held: Any = params
    for key in ("denoiser_config", "params", "scaling_config", "target"):
        held = held.get(key) if isinstance(held, dict) else None
    scaling = {"EpsScaling": "epsilon", "VScaling": "v_prediction"}
    return scaling.get(str(held).rpartition(".")[2])


def _number(unet: Mapping[str, Any], key: str, name: str) -> int | None:
    value = unet.get(key)
    if value in (None, -1):  # as published for "by the other"
        return None
    if not isinstance(value, int) or not 0 < value <= 1024:
        raise ValueError(f"{plain(name)} has {shown(value)} for {key}; a whole number from 1 to 1024 is needed")
    return value


def vae_names(held: Mapping[str, Any]) -> dict[str, Any]:
    """The VAE of a file that may hold a whole model or the VAE alone, by names without a prefix."""
    found = inner(held, VAE)
    if not found and not any(name.startswith(UNET) for name in held):
        found = dict(held)
    return {name: value for name, value in found.items() if not name.startswith(("loss.", "model_ema."))}


def describe(file: SingleFile) -> Original:
    """What networks the file holds, told by names and shapes. Raises BadFolder, and what UNFIT lists."""
    shapes = shapes_in(file.weights)
    return recognise(shapes, vae_names(shapes_in(file.vae) if file.vae else shapes), read_settings(file.config))


def problem(file: SingleFile) -> str | None:
    """What keeps the file from being used, as a sentence; None where its tensors are those of a model."""
    return _problem(file, _stamps(file))


def _stamps(file: SingleFile) -> tuple[tuple[int, int], ...]:
    """By which a file that has changed is noticed."""
    found = []
    for path in (file.weights, file.config, file.vae):
        try:
            about = path.stat() if path else None
        except OSError:
            about = None
        found.append((about.st_mtime_ns, about.st_size) if about else (0, 0))
    return tuple(found)


@lru_cache(maxsize=1024)
def _problem(file: SingleFile, stamps: tuple[tuple[int, int], ...]) -> str | None:
    try:
        describe(file)
    except UNFIT as error:
        return f"It cannot be used: {sentence(error)}."
    return None


def weight_bytes(file: SingleFile) -> tuple[int, int] | None:
    """As diffusers_folder.weight_bytes: all networks and the largest, as they lie on a GPU; None for no such file."""
    try:
        return _weight_bytes(file, _stamps(file))
    except UNFIT:
        return None  # said when it is loaded


@lru_cache(maxsize=64)
def _weight_bytes(file: SingleFile, stamps: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    shapes = shapes_in(file.weights)
    describe(file)  # what is no model is not reckoned with
    beside = sum(math.prod(shape) for shape in shapes_in(file.vae).values()) if file.vae else None
    unet = sum(math.prod(shape) for shape in inner(shapes, UNET).values())
    vae = beside if beside is not None else sum(math.prod(shape) for shape in inner(shapes, VAE).values())
    texts = [
        math.prod(shape)
        for name, shape in shapes.items()
        if not name.startswith((UNET, VAE)) and not BESIDE.fullmatch(name)
    ]
    sizes = 2 * unet, 4 * vae, 4 * sum(texts)
    return sum(sizes), max(sizes)
