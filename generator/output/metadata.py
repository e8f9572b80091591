"""The settings of a picture, in its PNG and out of it again: ours, and as other tools read them."""

from __future__ import annotations

import io
import json
import math
from functools import cache
from importlib import metadata
from typing import Any

from PIL import Image

from characters.brief import Brief
from generator import params as parameters
from generator.images.decode import MAX_BYTES
from generator.images.encode import png_with
from generator.output.infotext import infotext
from generator.output.licence import is_one, png_texts
from generator.output.sources import NONE, Sources
from generator.params import Params
from generator.version import VERSION

METADATA_KEY = "text2image"


class NoMetadata(Brief, ValueError):
    """A picture without the settings it was made with; one sentence."""


def encode_png(
    image: Image.Image,
    engine: str,
    params: Params,
    score: float | None = None,
    sources: Sources = NONE,
    *,
    licence: str = "",
) -> bytes:
    """A PNG that carries its settings: ours in the chunk `text2image`, and `parameters` as other tools read it.

    No time of day goes in, so the same picture is the same bytes.
    """
    ours = json.dumps(settings_of(engine, params, image.size, score, sources, licence=licence), sort_keys=True)
    factor = upscale_factor(params, image.size)
    drawn = image.width // factor, image.height // factor
    theirs = infotext(engine, params, drawn, factor=factor, sources=sources)
    return png_with(image, {METADATA_KEY: ours, "parameters": theirs, **png_texts(licence)})


def settings_of(
    engine: str,
    params: Params,
    size: tuple[int, int],
    score: float | None = None,
    sources: Sources = NONE,
    *,
    licence: str = "",
) -> dict[str, Any]:
    """Everything a picture was made with, as plain values: what the JSON file and the PNG hold. No licence: empty."""
    return {
        **({"licence": licence} if licence else {}),
        **({"sources": sources.plain()} if sources else {}),
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
    saved = _read(data)
    return saved["engine"], parameters.validate(saved["engine"], saved["params"])


def read_sources(data: bytes) -> Sources:
    """What such a picture was made from; empty where it does not say. Raises NoMetadata."""
    return Sources.of(_read(data))


def read_licence(data: bytes) -> str:
    """The licence such a picture is under; empty where it does not say. Raises NoMetadata."""
    told = _read(data).get("licence")
    return told if is_one(told) else ""


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > 20 * MAX_BYTES:
        raise NoMetadata(f"The file has {len(data) / 2**20:.0f} MB, too large to be a picture of this project.")
    try:
        text = Image.open(io.BytesIO(data), formats=("PNG",)).info.get(METADATA_KEY)
    except Exception:  # as in decode_image: hostile bytes, any error
        raise NoMetadata("This is not a PNG file.") from None
    if not isinstance(text, str):
        raise NoMetadata("This PNG does not say how it was made: it is not from this project, or was saved again.")
    try:
        saved: dict[str, Any] = json.loads(text)
        if not isinstance(saved["engine"], str) or not isinstance(saved["params"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NoMetadata("The settings in this PNG are damaged.") from None
    return saved


@cache
def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
