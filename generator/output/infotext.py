"""The settings of a picture as A1111 writes them and most tools read them: prompt, negative prompt, one line of pairs.

As modules/processing.py's create_infotext and modules/infotext_utils.py's quote do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image

from generator.output.sources import NONE, Sources
from generator.params import Params
from generator.prompts import parse_prompts
from generator.version import VERSION

# Ours -> A1111's.
SAMPLERS = {
    "dpm-solver-2m": "DPM++ 2M",
    "euler-ancestral": "Euler a",
    "euler": "Euler",
    "ddim": "DDIM",
    "pndm": "PLMS",
}
_NAMES = {"clip_skip": "Clip skip", "eta": "Eta DDIM"}
_SAID = (
    *("steps", "sampler", "optimiser", "cfg_scale", "width", "height", "style", "strength", "negative_prompt"),
    *("upscale", "upscaler", "checkpoint", "lora"),
)


def infotext(
    engine: str,
    params: Params,
    size: tuple[int, int],
    *,
    factor: int = 1,
    sources: Sources = NONE,
    model_hash: str | None = None,
    words: tuple[str, str] | None = None,
) -> str:
    """The whole text. size: in px, as drawn; factor: how many times larger the picture is.

    words: prompt and negative prompt as somebody wrote them, where the settings have them in other words.
    """
    prompt, negative = words or words_of(params)
    # A1111 names LoRAs in the prompt, and reads them there.
    unsaid = [one for one in getattr(params, "lora", ()) if f"<lora:{one.partition(':')[0]}:" not in prompt]
    prompt = " ".join([prompt, *(f"<lora:{one}>" for one in unsaid)])
    line = pairs_line(
        {name: _short(v) for name, v in _pairs(engine, params, size, factor, sources, model_hash).items()}
    )
    return f"{prompt}\nNegative prompt: {negative}\n{line}" if negative else f"{prompt}\n{line}"


def words_of(params: Params) -> tuple[str, str]:
    """The prompt and the negative prompt, empty for none.

    Where an engine has no setting for the latter, `a red heart | fog:-1` means the same; what weighs otherwise or has
    stages has no such form, and stays as it was written.
    """
    own = getattr(params, "negative_prompt", "")
    if own or not params.prompt or len(getattr(params, "stages", ())) > 1:
        return params.prompt, own
    first, *others = parse_prompts(params.prompt)
    same = " | ".join([first.text, *(f"{one.text}:-1" for one in others)])
    if not others or same != params.prompt:
        return params.prompt, ""
    return first.text, ", ".join(one.text for one in others)


def in_exif(image: Image.Image) -> str:
    """The text where A1111 puts it into a JPEG, WebP or AVIF: EXIF's user comment; empty where there is none."""
    if image.format == "PNG" and "exif" not in image.info:
        return ""  # Pillow would decode all of it, to look behind its pixels
    try:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception:  # hostile bytes make Pillow raise whatever its parsers stumble over
        return ""
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else ""
    coding, text = comment[:8], comment[8:]
    # EXIF 2.32, table 9. piexif, which A1111 writes with, puts the more significant byte first.
    kind = {b"UNICODE\0": "utf-16-be", b"ASCII\0\0\0": "ascii"}.get(coding)
    return text.decode(kind, errors="replace") if kind else ""


def sampler_name(params: Mapping[str, Any], engine: str) -> str:
    """A1111's name of the sampler; of what has none there, our name of it, of the optimiser or of the engine."""
    sampler = params.get("sampler")
    return SAMPLERS.get(sampler, sampler) if isinstance(sampler, str) else str(params.get("optimiser") or engine)


def pairs_line(values: Mapping[str, Any]) -> str:
    """`Key: value` pairs on one line, values with a comma, colon or newline quoted as JSON; None is left out."""
    given = {key: str(value) for key, value in values.items() if value is not None}
    quoted = {k: json.dumps(v, ensure_ascii=False) if set(v) & set(",:\n") else v for k, v in given.items()}
    return ", ".join(f"{key}: {value}" for key, value in quoted.items())


def _pairs(
    engine: str, params: Params, size: tuple[int, int], factor: int, sources: Sources, model_hash: str | None
) -> dict[str, Any]:
    """In A1111's order, by its names; what it knows nothing of under ours."""
    given = params.model_dump()
    start = given.get("init_image")
    values: dict[str, Any] = {
        "Steps": params.steps,
        "Sampler": sampler_name(given, engine),
        "Schedule type": "Automatic" if "sampler" in given else None,
        "CFG scale": given.get("cfg_scale"),
        "Seed": params.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model hash": (sources.weights.get(params.checkpoint) or model_hash or "")[:10] or None,
        "Model": params.checkpoint,
        "Denoising strength": given.get("strength") if start else None,
        "Init image hash": sources.pictures.get(start) if start else None,
        "Engine": engine,
        "Style": params.style or None,
        "Hires upscale": factor if factor > 1 else None,
        "Hires upscaler": params.upscaler if factor > 1 else None,
    }
    for name, value in params.changed().items():
        if name not in _SAID:
            shown = "+".join(map(str, value)) if isinstance(value, list | tuple) else value
            values[_NAMES.get(name, name.replace("_", " ").capitalize())] = shown
    for name, said in params.wording.items():
        values["Template" if name == "prompt" else "Negative Template"] = said.typed  # as Dynamic Prompts names them
    values["Drawn"] = "; ".join(choice for said in params.wording.values() for choice in said.choices) or None
    return {**values, "Version": f"studio {VERSION}"}


def _short(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value
