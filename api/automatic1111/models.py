"""The model a call draws with, and how models are called here: `engine/checkpoint [hash]`."""

from __future__ import annotations

import re

from api.models import Model, find, first_model, offered
from generator import registry
from generator.params import BadParams, params_class
from generator.registry import UnknownName
from studio.context import Studio

_HASH = re.compile(r"\s*\[[0-9a-fA-F]{4,64}\]$")
_SUFFIXES = (".safetensors", ".ckpt")
_READS = ("negative_prompt", "cfg_scale")  # what the clients of this dialect set above all


def sha256_of(checkpoint: str) -> str | None:
    """The published hash of its one file of weights, where one is published."""
    files = registry.checkpoint(checkpoint).files
    return files[0].sha256 if len(files) == 1 else None


def title_of(model: Model) -> str:
    """As lists and options show it, and as it may be asked for."""
    sha256 = sha256_of(model[1])
    return "/".join(model) + (f" [{sha256[:10]}]" if sha256 else "")


def default(studio: Studio) -> Model:
    """The first model that takes a negative prompt and cfg_scale; the first one offered where none does."""
    models = list(offered(studio).values()) or [first_model(studio)]
    reading = (one for one in models if all(name in params_class(one[0]).model_fields for name in _READS))
    return next(reading, models[0])


def named(studio: Studio, name: object) -> Model:
    """The model of this title or name, with or without a hash or a file's suffix.

    Raises UnknownName with the valid names, BadParams where it is no text.
    """
    if not isinstance(name, str):
        raise BadParams("sd_model_checkpoint: the title of a model is needed, see /sdapi/v1/sd-models.")
    bare = _HASH.sub("", name.strip())
    for one in (bare, *(bare.removesuffix(suffix) for suffix in _SUFFIXES if bare.endswith(suffix))):
        try:
            return find(studio, one)
        except UnknownName:
            continue
    raise UnknownName("model", name[:80], [title_of(model) for model in listed(studio)])


def listed(studio: Studio) -> list[Model]:
    """All models, each once, the default one first."""
    first = default(studio)
    return [first, *(model for model in dict.fromkeys(offered(studio).values()) if model != first)]


def current(studio: Studio, chosen: str | None, asked: object = None) -> Model:
    """The model of a call: the one it names, else the one its caller chose before, else the default.

    A choice that is not offered any more is none. Raises as `named`, for what the call names.
    """
    if asked not in (None, ""):
        return named(studio, asked)
    try:
        return named(studio, chosen) if chosen else default(studio)
    except UnknownName:
        return default(studio)
