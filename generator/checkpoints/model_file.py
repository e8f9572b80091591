"""A model that somebody brings as one file: what it is and what it says of itself, before a byte of it is kept.

Two kinds are taken, both .safetensors: text-to-image models trained from captions here, and LoRAs, ours or others'.
Only the header is read, so that importing this module does not import torch; `check_weights` reads the numbers too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from generator import registry
from generator.checkpoints.caption_models import ARCHITECTURE, CARD, read_architecture
from generator.checkpoints.errors import UNFIT, CheckpointDamaged, plain, sentence, shown
from generator.checkpoints.kinds import kind_of, of_head
from generator.checkpoints.lora_names import Key, read_key
from generator.checkpoints.loras import FOLDER, what_else
from generator.checkpoints.loras import MAX_BYTES as MAX_LORA_BYTES
from generator.checkpoints.safetensors_header import check_whole, read_metadata, read_shapes
from generator.checkpoints.torch_save import head_of, is_old, is_safetensors, is_zip
from generator.models.caption_architecture import Architecture
from generator.params.learning import MODEL_NAME

Shape = tuple[int, ...]
MAX_CARD, MAX_TEXT, MAX_DEPTH, MAX_LICENCE = 200_000, 8_000, 6, 200  # of a card: characters, of one text, within lists
_PICKLE = (
    "it is a pickle, as .pt, .ckpt and .bin are, which can hold a program and is not read; a model travels as "
    ".safetensors"
)
# What a LoRA's metadata say in the words of kohya-ss/sd-scripts and of Stability's model spec -> in a card.
_TOLD = {
    "modelspec.title": "title",
    "modelspec.author": "author",
    "modelspec.license": "licence_of_the_data",
    "modelspec.trigger_phrase": "trigger",
    "modelspec.description": "description",
    "ss_base_model_version": "made_for",
    "ss_sd_model_name": "trained_on",
    "ss_network_dim": "rank",
    "ss_network_alpha": "alpha",
    "ss_steps": "steps",
    "ss_num_train_images": "pictures",
    "ss_training_comment": "comment",
}


@dataclass(frozen=True)
class ModelFile:
    """What a file is. kind: as names of models begin, caption-diffusion or lora. licence: of the data, as it says.

    card: what it says of itself, plain and bounded values. base: the checkpoint that a model in latents needs, "" none.
    """

    kind: Literal["caption-diffusion", "lora"]
    card: dict[str, Any]
    licence: str
    base: str = ""


def look_at(path: Path) -> ModelFile:
    """What the file is, told by its header alone. Raises CheckpointDamaged, in one sentence: what is wrong with it."""
    try:
        _check_head(head_of(path))
        shapes, told = read_shapes(path), read_metadata(path)
        check_whole(path)
        if ARCHITECTURE in told:
            return _caption_model(path, shapes, told)
        return _lora(path, shapes, told)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise _refused(f"what it is built from cannot be: {plain(where)}: {plain(first['msg'], 200)}") from None
    except UNFIT as error:
        raise _refused(sentence(error)) from None


def check_weights(path: Path, found: ModelFile) -> None:
    """Whether its tensors are those its networks have, and its numbers finite. Imports torch. Raises
    CheckpointDamaged."""
    from generator.checkpoints import caption_models
    from generator.checkpoints.fitting import check_finite, load_strictly
    from generator.checkpoints.state_dict import read_state_dict

    try:
        if found.kind == "lora":
            check_finite(read_state_dict(path))
            return
        for part, tensors in caption_models.build(path)[1]:
            load_strictly(part, tensors)
    except UNFIT as error:
        raise _refused(sentence(error)) from None


def suggested_name(text: str) -> str:
    """A name for a model, from that of its file or of its card; "" where nothing is left of it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text.removesuffix(".safetensors")).strip("-_")[:64]
    return name if re.fullmatch(MODEL_NAME, name) else ""


def place_of(kind: str, name: str, directory: Path) -> Path:
    """Where such a model lies below the checkpoints' folder."""
    return directory / FOLDER / f"{name}.safetensors" if kind == "lora" else directory / kind / name


def _refused(what: str) -> CheckpointDamaged:
    return CheckpointDamaged(f"This file cannot be imported: {what}.")


def _check_head(head: bytes) -> None:
    """Raises ValueError for what is no safetensors file."""
    if is_safetensors(head):  # its length may begin as other files do
        return
    if is_zip(head) and b".pkl" not in head:
        raise ValueError("it is a zip archive; a model travels as one .safetensors file: unpack it")
    if is_zip(head) or is_old(head) or head[:1] == b"\x80":
        raise ValueError(_PICKLE)
    raise ValueError(of_head(head) or "it is no .safetensors file")


def _caption_model(path: Path, shapes: Mapping[str, Shape], told: Mapping[str, str]) -> ModelFile:
    architecture = read_architecture(path)
    if architecture.base:
        _check_base(architecture.base)
    for name, shape in _some_of(architecture).items():
        if shapes.get(name) != shape:
            there = "is missing" if name not in shapes else f"is {shapes[name]} instead of {shape}"
            raise ValueError(f"its weights are not those of the network it says it is: {name} {there}")
    parts = ("unet.",) if architecture.base else ("unet.", "text.")
    if strange := next((name for name in shapes if not name.startswith(parts)), None):
        raise ValueError(f"its tensor {shown(strange)} does not belong to such a model")
    return _made("caption-diffusion", _card(told), architecture.base)


def _check_base(name: str) -> None:
    try:
        registry.checkpoint(name)
    except registry.UnknownName:
        raise ValueError(f"it draws in the latents of {shown(name)}, and no checkpoint is called so") from None


def _some_of(architecture: Architecture) -> dict[str, Shape]:
    """Tensors that a network of this architecture has, and what tells it from others."""
    unet, first = architecture.unet, architecture.channels[0]
    found: dict[str, Shape] = {
        "unet.conv_in.weight": (first, unet["in_channels"], 3, 3),
        "unet.conv_out.weight": (unet["out_channels"], first, 3, 3),
        "unet.time_embedding.linear_1.weight": (architecture.time_width or 4 * first, first),
    }
    if architecture.time_width:
        found["unet.add_embedding.proj.weight"] = architecture.time_width, architecture.text_width
    if not architecture.base:
        places = architecture.caption_tokens, architecture.text_width
        found["text.embeddings.position_embedding.weight"] = places
    return found


def _lora(path: Path, shapes: Mapping[str, Shape], told: Mapping[str, str]) -> ModelFile:
    if what := what_else(shapes):
        kind = kind_of(shapes)
        if "it holds no LoRA" not in what:
            raise ValueError(what)
        other = kind.what if kind is not None else "it does not say what it is built from"
        raise ValueError(f"{other}. A model trained from captions here, or a LoRA, is what can be imported")
    size = path.stat().st_size
    if size > MAX_LORA_BYTES:
        raise ValueError(f"it has {size / 1e9:.1f} GB, far more than a LoRA does")
    _check_terms(shapes)
    card = _card(told) or _told(told)
    return _made("lora", card)


def _check_terms(shapes: Mapping[str, Shape]) -> None:
    """Raises ValueError unless every layer has its two matrices, of one rank."""
    layers: dict[tuple[str, str], dict[str, Shape]] = {}
    for name, shape in shapes.items():
        key: Key | None = read_key(name)
        if key is None:
            raise ValueError(f"its tensor {shown(name)} has a name that no known tool gives")
        layers.setdefault((key.part, key.layer), {})[key.what] = shape
    for (_, layer), three in layers.items():
        down, up = three.get("down"), three.get("up")
        if not down or not up:
            raise ValueError(f"of its layer {plain(layer)} a matrix is missing")
        if len(down) < 2 or len(up) < 2 or down[0] != up[1] or not down[0]:
            raise ValueError(f"the matrices of its layer {plain(layer)} are {down} and {up}, which is no rank")


def _made(kind: Literal["caption-diffusion", "lora"], card: dict[str, Any], base: str = "") -> ModelFile:
    licence = card.get("licence_of_the_data") or card.get("licence") or "not stated"
    card["imported"] = True
    if base:
        card["base"] = base
    return ModelFile(kind, card, _plain_text(str(licence))[:MAX_LICENCE] or "not stated", base)


def _card(told: Mapping[str, str]) -> dict[str, Any]:
    """The card in the metadata, as values that a database and a page take; empty where there is none. Raises
    ValueError."""
    text = told.get(CARD, "{}")
    if len(text) > MAX_CARD:
        raise ValueError(f"its card has {len(text):,} characters; at most {MAX_CARD:,} are read")
    card = json.loads(text, parse_constant=_no_number)
    if not isinstance(card, dict):
        raise ValueError("its card is no table")
    return dict(_plain_value(card, 0))


def _told(told: Mapping[str, str]) -> dict[str, Any]:
    """A card from what other tools write."""
    found = {ours: _plain_text(told[theirs]) for theirs, ours in _TOLD.items() if told.get(theirs)}
    return {name: value for name, value in found.items() if value and value != "None"}


def _plain_value(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ValueError("its card is nested far too deep")
    if isinstance(value, dict):
        return {_plain_text(str(key)): _plain_value(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_value(one, depth + 1) for one in value]
    if isinstance(value, str):
        return _plain_text(value)
    if isinstance(value, int | float) and not (math.isfinite(value) and abs(value) < 1e300):
        raise ValueError(f"its card holds the number {plain(value)}")
    return value


def _plain_text(text: str) -> str:
    """Without control signs and halves of characters, which not every database keeps."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:MAX_TEXT]).strip()


def _no_number(name: str) -> float:
    raise ValueError(f"its card holds {name}, which is no number")
