"""From a request in OpenAI's words to a wish of the studio."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from api import models
from api.openai.shapes import ALIASES, FEWER_STEPS, MORE_STEPS, ImageRequest
from api.sizes import drawn_at
from db.artefacts import sources
from generator import registry
from generator.output.metadata import NoMetadata, read_metadata, read_sources
from generator.output.sources import SourceChanged, Sources, check_there, check_unchanged
from generator.params import BadParams, Params, params_class
from generator.params.vary import SKIP_RATE, takes_pictures, varied
from studio.context import Studio
from studio.limits import engines_that_vary
from studio.settings_form import defaults
from studio.submit import Wish
from studio.uploads import Upload, alpha_of

GIVEN = "given"  # a picture's name in settings until the wish puts the key there that it is kept under
HIGH_FIDELITY = 0.7  # skip_rate of an edit that is to keep much of the picture


@dataclass(frozen=True)
class Given:
    """Files that came with a request. mask: transparent where the picture is to be drawn anew."""

    pictures: tuple[Upload, ...]
    mask: Upload | None = None


def generation(studio: Studio, asked: ImageRequest) -> Wish:
    """Pictures from a prompt. Raises BadParams, UnknownName."""
    engine, checkpoint = models.find(studio, asked.model, aliases=ALIASES)
    values = {**_values(engine, checkpoint, asked), **asked.settings, "prompt": asked.prompt}
    return Wish(engine, values, asked.n or 1)


def edit(studio: Studio, asked: ImageRequest, given: Given) -> Wish:
    """Pictures from a picture and a prompt; further pictures are to be resembled. Raises BadParams, UnknownName."""
    engine, checkpoint = _that_varies(studio, asked)
    values = {**_values(engine, checkpoint, asked), "prompt": asked.prompt}
    if asked.input_fidelity == "high":
        values = varied(engine, values, GIVEN, HIGH_FIDELITY)
    uploads = {"init_image": given.pictures[:1], "image_prompts": given.pictures[1:]}
    if given.mask is not None:
        uploads["mask_image"] = (_repainted(studio, given.mask),)
    for name, some in uploads.items():
        if some and name not in params_class(engine).model_fields:
            came = "a mask" if name == "mask_image" else f"{len(given.pictures)} pictures"
            raise BadParams(f"{engine} takes no {name}, and {came} came with the request.")
    return Wish(engine, {**values, **asked.settings}, asked.n or 1, uploads)


def variation(studio: Studio, asked: ImageRequest, given: Given) -> Wish:
    """Pictures like a picture: with its own settings where it is one of ours, else with what CLIP sees in it."""
    (picture,) = given.pictures
    try:
        engine, params = read_metadata(picture.data)
        own = params.model_dump()
    except (NoMetadata, BadParams, registry.UnknownName):
        own = {}
    if own and engine in takes_pictures() and not asked.model:
        _check_others(studio, picture, params, asked)
        values = {name: value for name, value in own.items() if name not in ("seed", "mask_image")}
        uploads = {"init_image": (picture,)}
    else:
        engine, checkpoint = _that_varies(studio, asked, needs="image_prompts")
        values = {**_values(engine, checkpoint, asked), "prompt": asked.prompt}
        uploads = {"init_image": (picture,), "image_prompts": (picture,)}
    values = varied(engine, values, GIVEN, SKIP_RATE)
    return Wish(engine, {**values, **asked.settings}, asked.n or 1, uploads, repeats=own)


def _check_others(studio: Studio, picture: Upload, params: Params, asked: ImageRequest) -> None:
    """What a picture of ours was made from besides its start is to be what it was. Raises BadParams."""
    given = {"init_image", "mask_image", "checkpoint", "clip", "upscaler", *asked.settings}
    now = Sources(sources.hashes(studio.db, params.sources))
    try:
        check_there(params, given, lambda setting: f"{setting}=", now.pictures.__contains__)
        check_unchanged(read_sources(picture.data), now, params, given, lambda setting: f"{setting}=")
    except SourceChanged as error:
        raise BadParams(f"{error} It takes an id from /api/v1/uploads; an empty one does without.") from None


def _that_varies(studio: Studio, asked: ImageRequest, needs: str = "init_image") -> models.Model:
    """The model asked for; of those that are not named the first one that can go on from a picture."""
    model = models.find(studio, asked.model, aliases=ALIASES)
    if needs in params_class(model[0]).model_fields:
        return model
    able = [name for name in engines_that_vary(studio) if needs in params_class(name).model_fields]
    if not able or (asked.model and asked.model not in ALIASES):
        able_models = ", ".join(able) or "none that is offered here"
        raise BadParams(f"{model[0]} cannot go on from a picture. Choose one of: {able_models}.")
    return able[0], registry.first_checkpoint(able[0], "")


def _values(engine: str, checkpoint: str, asked: ImageRequest) -> dict[str, Any]:
    values: dict[str, Any] = {"checkpoint": checkpoint, "seed": None}
    size = asked.wanted_size
    if size is not None:
        values |= drawn_at(engine, checkpoint, *size)
    if asked.background == "transparent":
        raise BadParams("background = 'transparent': pictures here are opaque; leave it out.")
    steps = defaults(engine, checkpoint)["steps"]
    if asked.quality in FEWER_STEPS:
        values["steps"] = max(steps // 2, 1)
    elif asked.quality in MORE_STEPS:
        values["steps"] = steps * 2
    return values


def _repainted(studio: Studio, mask: Upload) -> Upload:
    """White where the mask is transparent, black else: what is to be drawn anew as the engines are told it."""
    alpha = alpha_of(studio, mask)
    if alpha.getextrema()[0] == 255:
        raise BadParams("The mask has no transparent part; what is to be drawn anew must be transparent in it.")
    out = io.BytesIO()
    alpha.point(lambda value: 255 if value < 128 else 0).save(out, "PNG")
    return Upload(mask.name, out.getvalue())
