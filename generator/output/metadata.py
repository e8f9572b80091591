"""The settings of a picture, in its PNG and out of it again: ours, and as other tools read them."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from typing import Any

from PIL import Image

from generator import params as parameters
from generator.images.decode import MAX_BYTES
from generator.images.encode import png_with
from generator.params import Params
from generator.version import VERSION

METADATA_KEY = "text2image"


class NoMetadata(ValueError):
    """A picture without the settings it was made with; one sentence."""


def encode_png(image: Image.Image, engine: str, params: Params, score: float | None = None) -> bytes:
    """A PNG that carries its settings: ours in the chunk `text2image`, and `parameters` as other tools read it.

    No time of day goes in, so the same picture is the same bytes.
    """
    ours = json.dumps(settings_of(engine, params, image.size, score), sort_keys=True)
    return png_with(image, {METADATA_KEY: ours, "parameters": _parameters_text(engine, params, image.size)})


def settings_of(engine: str, params: Params, size: tuple[int, int], score: float | None = None) -> dict[str, Any]:
    """Everything a picture was made with, as plain values: what the JSON file and the PNG hold."""
    return {
        "engine": engine,
        "params": params.model_dump(mode="json"),
        "seed": params.seed,
        "size": list(size),
        "upscale": upscale_factor(params, size),
        "score": None if score is None or not math.isfinite(score) else round(score, 6),
        "versions": {"format": 1, "studio": VERSION, "torch": _version("torch"), "pillow": _version("pillow")},
    }


def upscale_factor(params: Params, size: tuple[int, int]) -> int:
    """How many times larger than drawn a picture of this size is; 1 also where it could not be upscaled."""
    drawn = params.actual_size
    factor = size[0] // drawn[0]
    return factor if factor > 1 and size == (factor * drawn[0], factor * drawn[1]) else 1


def read_metadata(data: bytes) -> tuple[str, Params]:
    """The engine and the parameters out of a PNG this project wrote. Raises NoMetadata, BadParams, UnknownName."""
    if len(data) > 20 * MAX_BYTES:
        raise NoMetadata(f"The file has {len(data) / 2**20:.0f} MB, too large to be a picture of this project.")
    try:
        text = Image.open(io.BytesIO(data), formats=("PNG",)).info.get(METADATA_KEY)
    except Exception:  # as in decode_image: hostile bytes, any error
        raise NoMetadata("This is not a PNG file.") from None
    if not isinstance(text, str):
        raise NoMetadata("This PNG does not say how it was made: it is not from this project, or was saved again.")
    try:
        saved = json.loads(text)
        engine, values = saved["engine"], saved["params"]
        if not isinstance(engine, str) or not isinstance(values, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NoMetadata("The settings in this PNG are damaged.") from None
    return engine, parameters.validate(engine, values)


def _parameters_text(engine: str, params: Params, size: tuple[int, int]) -> str:
    """Prompt, then what it was drawn with on one line."""
    factor = upscale_factor(params, size)
    values: dict[str, Any] = {
        "Steps": params.steps,
        "Sampler": getattr(params, "optimiser", engine),
        "Seed": params.seed,
        "Size": f"{size[0] // factor}x{size[1] // factor}",
        "Model": params.checkpoint,
        "Engine": engine,
    }
    if factor > 1:
        values["Hires upscale"] = factor  # the name other tools give it
    if params.style:
        values["Style"] = params.style
    for name, value in params.changed().items():
        if name not in ("steps", "optimiser", "width", "height", "style", "upscale"):
            values[name.replace("_", " ").capitalize()] = "+".join(value) if isinstance(value, tuple) else value
    for name, said in params.wording.items():
        values["Template" if name == "prompt" else "Negative Template"] = said.typed  # as Dynamic Prompts names them
    if choices := [choice for said in params.wording.values() for choice in said.choices]:
        values["Drawn"] = "; ".join(choices)
    return f"{params.prompt}\n{pairs_line(values)}"


def pairs_line(values: Mapping[str, Any]) -> str:
    """`Key: value` pairs on one line, values with a comma, colon or newline quoted as JSON.

    As A1111's infotext_utils.quote does.
    """
    quoted = (json.dumps(str(v), ensure_ascii=False) if set(str(v)) & set(",:\n") else str(v) for v in values.values())
    return ", ".join(f"{key}: {value}" for key, value in zip(values, quoted, strict=True))


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
