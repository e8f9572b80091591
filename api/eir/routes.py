"""`GET /info` and `POST /predict`, as `eirserve` of eir-dl 0.25 answers with a captioned diffusion model.

A picture is sent as its raw float32 numbers, (3, H, W) in [0, 1], in base64; no size, no seed and no number of steps
can be asked for. Here every item of a list is a job of the queue, with the settings that the model's samples were drawn
with while it learnt.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Caller, Opened
from api.drawing import Drawn, draw
from api.problems import NotAnswered, Problem
from api.several import submit_all
from db import queue
from db.models import trained
from db.models.trained import TrainedModel
from generator import registry
from generator.params import problems
from generator.prompts import escaped
from studio.context import Studio
from studio.submit import Wish

router = APIRouter(tags=["EIR"])

KIND = "caption-diffusion"
MAX_ITEMS = 64  # in one list, whose pictures are held as float32 until all of them are there
TAKEN = ("sampler", "cfg_scale", "eta")  # settings of a run's samples that a drawing has by the same name


class Item(BaseModel):
    """What one picture is made from; as there, both are needed, though the picture given is not looked at."""

    model_config = ConfigDict(extra="ignore")
    image: str = Field(description="Base64 of any picture file: the place of the output among the model's inputs.")
    caption: str = Field(description="What to draw; no sign in it has a meaning of its own.")


class Predicted(BaseModel):
    """One picture: base64 of float32, (3, H, W) in [0, 1], row by row."""

    image: str


class Predictions(BaseModel):
    """The pictures in the order of the list."""

    result: list[Predicted]


class Info(BaseModel):
    """Inputs and outputs that have a shape; captions have none."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]


@dataclass(frozen=True)
class Served:
    """The model that answers. side: of its pictures, in px; settings: what its samples were drawn with."""

    name: str
    side: int
    settings: dict[str, Any]


@router.get("/info")
async def info(api: Opened, who: Asker) -> Info:
    """The shape of the pictures that `POST /predict` makes."""
    model = await api.ask(_served)
    image = {"image": {"type": "image", "shape": [3, model.side, model.side]}}
    return Info(inputs=image, outputs=image)


@router.post("/predict")
async def predict(
    api: Opened, who: Asker, request: Request, items: Annotated[list[Item], Field(max_length=MAX_ITEMS)]
) -> Predictions:
    """A picture for each caption. Waits until all are drawn."""
    if not items:
        return Predictions(result=[])
    wishes = await api.ask(_wishes, items)
    made = await draw(api, request, who, lambda studio: submit_all(studio, who.submitter, wishes))
    return await api.ask(_told, who, made, len(items))


def as_detail(request: Request, problem: Problem) -> Response:
    """`{detail}`, as FastAPI itself tells what is wrong there."""
    return JSONResponse({"detail": problem.sentence}, problem.status, problem.headers)


def _served(studio: Studio) -> Served:
    """The model of T2I_EIR_MODEL, else the last that came to be. Raises NotAnswered where there is none."""
    wanted = studio.settings.eir_model
    if wanted:
        found = trained.find(studio.db, wanted)
        if found is None or found.kind != KIND:
            raise NotAnswered(
                404, f"T2I_EIR_MODEL is {wanted!r}, and no model of that name has been trained here.", "unknown_model"
            )
        return _of(studio, found)
    for model in trained.listed(studio.db, KIND)[:1]:
        return _of(studio, model)
    raise NotAnswered(
        404,
        "No model has been trained here yet; train one on the page Train, or import one on the page Models.",
        "unknown_model",
    )


def _of(studio: Studio, model: TrainedModel) -> Served:
    recipe = model.card.get("recipe")
    if not isinstance(recipe, dict):
        recipe = queue.get(studio.db, model.job_id).params if model.job_id else {}
    settings = {name: recipe[name] for name in TAKEN if name in recipe}
    if "sample_steps" in recipe:
        settings["steps"] = recipe["sample_steps"]
    usual, side = registry.checkpoint(model.name).defaults["width"], recipe.get("size")
    if type(side) is not int:
        side = usual
    # A card that was brought along may say anything: what nothing can be drawn with is left out.
    drawn = {"prompt": "x", "checkpoint": model.name, **settings, "width": side, "height": side}
    wrong = problems("latent-diffusion", drawn)
    settings = {name: value for name, value in settings.items() if name not in wrong}
    return Served(model.name, usual if {"width", "height"} & {*wrong} else side, settings)


def _wishes(studio: Studio, items: Sequence[Item]) -> list[Wish]:
    model = _served(studio)
    fixed = {"checkpoint": model.name, "width": model.side, "height": model.side, "candidates": 1, "upscale": 1}
    for number, item in enumerate(items):
        _check_base64(number, item.image)
    return [
        Wish("latent-diffusion", {**model.settings, **fixed, "seed": None, "prompt": escaped(item.caption)})
        for item in items
    ]


def _check_base64(number: int, text: str) -> None:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotAnswered(422, f"image of item {number} is not base64 of a picture file.", "bad_value") from None


def _told(studio: Studio, who: Caller, drawn: Sequence[Drawn], wanted: int) -> Predictions:
    if len(drawn) < wanted:
        raise NotAnswered(500, "Some of the pictures could not be drawn, or were cancelled; ask again.", "failed")
    return Predictions(result=[Predicted(image=_raw(one.bytes(studio, who))) for one in drawn])


def _raw(png: bytes) -> str:
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float32) / 255
    return base64.b64encode(np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()).decode()
