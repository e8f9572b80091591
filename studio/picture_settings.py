"""The settings that are written in a picture, ours or as A1111 writes them, as far as they can be drawn with here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator import registry
from generator.images.decode import BadImage, open_image
from generator.images.encode import texts_in
from generator.output.infotext import SAMPLERS, in_exif
from generator.output.infotext_read import parsed
from generator.output.metadata import NoMetadata, read_metadata
from generator.params import BadParams, params_class, problems, validate
from studio.context import Studio
from studio.limits import offered_engines
from studio.uploads import SETTINGS

MAX_TEXT = 100_000  # characters that are taken apart
_NAMES = {  # A1111's -> ours, and how its value is read
    "Steps": ("steps", int),
    "CFG scale": ("cfg_scale", float),
    "Seed": ("seed", int),
    "Denoising strength": ("strength", float),
    "Size-1": ("width", int),
    "Size-2": ("height", int),
}


@dataclass(frozen=True)
class Written:
    """What a picture says of itself. whole: its settings are all of an engine here, else those that fit the one that is
    chosen. left_out: whether it was made from pictures, which it does not hold."""

    engine: str
    checkpoint: str
    prompt: str
    values: Mapping[str, Any]
    whole: bool
    left_out: bool = False


def written_in(studio: Studio, data: bytes, engine: str, checkpoint: str) -> Written | None:
    """The settings in a picture's file, for the engine they are of or, where they are A1111's, for this one; None where
    there are none that can be drawn with here."""
    try:
        own, params = read_metadata(data)
        if own in offered_engines(studio):
            return _ours(own, params.model_dump(mode="json"))
    except (NoMetadata, BadParams, registry.UnknownName):
        pass  # it may say so in A1111's words all the same
    try:
        image = open_image(data, studio.settings.max_upload_bytes)
    except BadImage:
        return None
    text = texts_in(image).get("parameters") or in_exif(image)
    found = parsed(text) if len(text) <= MAX_TEXT else {}
    if "Steps" not in found or not found["Prompt"]:
        return None
    return _theirs(found, engine, checkpoint)


def _ours(engine: str, params: dict[str, Any]) -> Written | None:
    """Ours, without the pictures it was made from: whoever has this one need not have those."""
    left_out = any(params.get(name) for name in SETTINGS)
    typed = (params.get("wording") or {}).get("prompt", {}).get("typed", params["prompt"])
    values = {name: value for name, value in params.items() if name not in (*SETTINGS, "prompt", "wording")}
    if params.get("init") == "image":
        del values["init"]
    try:
        validate(engine, {**values, "prompt": params["prompt"]})
    except BadParams:
        return None
    return Written(engine, params["checkpoint"], typed, values, whole=True, left_out=left_out)


def _theirs(found: Mapping[str, str], engine: str, checkpoint: str) -> Written:
    """A1111's, those that this engine has and can draw with."""
    given: dict[str, Any] = {}
    for name, (ours, kind) in _NAMES.items():
        try:
            given[ours] = kind(found[name])
        except (KeyError, ValueError):
            continue
    samplers = {theirs: ours for ours, theirs in SAMPLERS.items()}
    given |= {"sampler": samplers.get(found.get("Sampler", ""), ""), "negative_prompt": found["Negative prompt"]}
    fields, unused = params_class(engine).model_fields, registry.checkpoint(checkpoint).unused
    values = {name: value for name, value in given.items() if name in fields and name not in unused and value != ""}
    while bad := problems(engine, {**values, "prompt": "x", "checkpoint": checkpoint}).keys() & values.keys():
        for name in bad:
            del values[name]
    if problems(engine, {**values, "prompt": "x", "checkpoint": checkpoint}):  # of several together, such as the size
        values = {name: value for name, value in values.items() if name not in ("width", "height")}
    return Written(engine, checkpoint, found["Prompt"], values, whole=False)
