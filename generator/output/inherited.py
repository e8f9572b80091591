"""A picture made from another one carries the settings that one was drawn with, so that it can be drawn again."""

from __future__ import annotations

import io
import json
from typing import Any

from PIL import Image

from generator.images.encode import png_with, texts_in
from generator.images.formats import PNG, recognised
from generator.output import metadata
from generator.output.metadata import METADATA_KEY, NoMetadata
from generator.params import BadParams
from generator.registry import UnknownName


def with_settings(image: Image.Image, source: bytes, embedded: bool, licence: str = "") -> bytes:
    """A PNG of the upscaled picture with the settings of the picture it was made from, if that had any.

    embedded: the embedded upscaler made it, so `upscale` among the settings makes it again. licence: of a picture of
    this project that is under none yet; what somebody else made stays under theirs.
    """
    try:
        engine, params = metadata.read_metadata(source)
    except (NoMetadata, BadParams, UnknownName):
        return png_with(image, _texts_in(source))
    width, height = params.actual_size
    if embedded and image.size == (4 * width, 4 * height):
        params = params.model_copy(update={"upscale": 4})
    score = settings_in(source).get("score")
    score = score if isinstance(score, int | float) else None
    return metadata.encode_png(
        image,
        engine,
        params,
        score,
        metadata.read_sources(source),
        licence=metadata.read_licence(source) or licence,
    )


def settings_in(source: bytes) -> dict[str, Any]:
    """The settings a picture of this project carries, as they were written; empty where it has none."""
    try:
        with Image.open(io.BytesIO(source), formats=("PNG",)) as image:
            found = json.loads(image.info[METADATA_KEY])
    except Exception:  # hostile bytes make Pillow raise whatever its parsers stumble over
        return {}
    return found if isinstance(found, dict) else {}


def _texts_in(source: bytes) -> dict[str, str]:
    """Texts of other programs, or of another version of this one, go along as they are."""
    if recognised(source) is not PNG:
        return {}
    with Image.open(io.BytesIO(source), formats=(PNG.pillow,)) as small:
        return texts_in(small)
