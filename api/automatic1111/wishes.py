"""From a call of this dialect to a wish of the studio."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from api import sizes
from api.automatic1111.prompts import avoiding, check_negative, loras, readable
from api.automatic1111.samplers import sampler_of
from api.automatic1111.shapes import ImageToImage, TextToImage
from api.models import Model
from api.pictures import decoded
from api.problems import NotAnswered
from generator import registry
from generator.params import BadParams, params_class
from generator.params.vary import varied
from studio.context import Studio
from studio.settings_form import defaults
from studio.submit import MAX_PICTURES, Wish
from studio.uploads import Upload, cleaned

# Scripts that come with A1111 and do nothing unless they are told to; programs that repeat what its page sends name
# them all.
_BUILT_IN = ("api payload", "comments", "extra options", "hypertile", "refiner", "sampler", "seed", "soft inpainting")


@dataclass(frozen=True)
class Wanted:
    """A wish, and the size in px at which its pictures are handed over; None: as they are drawn."""

    wish: Wish
    size: tuple[int, int] | None


def wanted(studio: Studio, model: Model, body: TextToImage) -> Wanted:
    """What a call asks for; only what it gives is set. Raises BadParams, UnknownName, NotAnswered."""
    check_scripts(body)
    engine, checkpoint = model
    row, own = registry.checkpoint(checkpoint), defaults(engine, checkpoint)
    pictures = (body.batch_size or 1) * (body.n_iter or 1)
    if pictures > MAX_PICTURES:
        raise BadParams(f"batch_size x n_iter = {pictures} pictures; 1 to {MAX_PICTURES} are allowed.")
    values: dict[str, Any] = {"checkpoint": checkpoint, **_words(engine, row, body)}
    if body.seed is not None and body.seed >= 0:
        values["seed"] = body.seed
    if body.steps is not None:
        values["steps"] = body.steps
    if body.cfg_scale is not None and "cfg_scale" in own and "cfg_scale" not in row.unused:
        values["cfg_scale"] = body.cfg_scale
    if sampler := sampler_of(engine, checkpoint, body.sampler_name or body.sampler_index):
        values["sampler"] = sampler
    if row.styled and (style := _style(body.styles or [])):
        values["style"] = style
    size = size_of(body, own["width"] * own["upscale"], own["height"] * own["upscale"])
    if size is not None:
        values |= sizes.drawn_at(engine, checkpoint, *size)
    if body.enable_hr and body.hr_upscaler in registry.ENGINES["upscale"].checkpoints:
        values["upscaler"] = body.hr_upscaler
    uploads: dict[str, list[Upload]] = {}
    if isinstance(body, ImageToImage):
        values, uploads = _started(studio, engine, values, body)
    return Wanted(Wish(engine, {**values, **(body.studio_params or {})}, pictures, uploads), size)


def size_of(body: TextToImage, width: int, height: int) -> tuple[int, int] | None:
    """The size asked for in px, with what `enable_hr` adds; None where none is. width, height: of what is not given."""
    if body.width is None and body.height is None and not body.enable_hr:
        return None
    width, height = body.width or width, body.height or height
    if not body.enable_hr:
        return width, height
    across, down = body.hr_resize_x or 0, body.hr_resize_y or 0
    if across or down:
        return across or max(1, round(width * down / height)), down or max(1, round(height * across / width))
    scale = body.hr_scale or 2.0
    return max(1, int(width * scale)), max(1, int(height * scale))


def check_scripts(body: TextToImage) -> None:
    """Raises NotAnswered (422), as A1111 does, where a script is to do something that is not there."""
    if body.script_name:
        raise NotAnswered(422, f"Script {body.script_name[:80]!r} not found; there are none here.", "no_script")
    for name, script in (body.alwayson_scripts or {}).items():
        args = script.get("args") if isinstance(script, dict) else None
        if args and name.lower() not in _BUILT_IN and not (isinstance(args, list) and args[0] is False):
            raise NotAnswered(422, f"always on script {name[:80]!r} not found; there are none here.", "no_script")


def _words(engine: str, row: registry.Checkpoint, body: TextToImage) -> dict[str, Any]:
    known, named = params_class(engine).model_fields, body.prompt or ""
    taken: dict[str, Any] = {}
    if "lora" in known and "lora" not in row.unused:
        named, lora = loras(named)
        taken = {"lora": lora} if lora else {}
    prompt, negative = readable(named), check_negative(body.negative_prompt or "")
    if "negative_prompt" in known:
        return {"prompt": prompt, "negative_prompt": negative, **taken}
    return {"prompt": avoiding(prompt, negative)}


def _style(names: list[str]) -> str | None:
    known = {name.lower(): style for style, title in registry.STYLES.items() for name in (style, title)}
    return next((known[name.lower()] for name in names if name.lower() in known), None)


def _started(
    studio: Studio, engine: str, values: dict[str, Any], body: ImageToImage
) -> tuple[dict[str, Any], dict[str, list[Upload]]]:
    if not body.init_images:
        raise NotAnswered(404, "Init image not found: init_images needs one picture in base64.", "no_init_image")
    given, strength = "init_image", body.denoising_strength
    # The name stands for the picture until it is kept under a key.
    begun = varied(engine, values, given, 1 - (strength or 0.0))
    values = {**values, given: given} if strength is None else begun
    uploads = {given: [decoded("init_images", text) for text in body.init_images]}
    if body.mask:
        mask = decoded("mask", body.mask)
        uploads["mask_image"] = [_inverted(studio, mask) if body.inpainting_mask_invert else mask]
    return values, uploads


def _inverted(studio: Studio, mask: Upload) -> Upload:
    out = io.BytesIO()
    with Image.open(io.BytesIO(cleaned(studio, mask).png)) as image:
        ImageOps.invert(image.convert("RGB")).save(out, "PNG")
    return Upload(mask.name, out.getvalue())
