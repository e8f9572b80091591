"""`POST /post`: the one address of a jina gateway; endpoint and executor stand in the body."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from api import pictures
from api.callers import Asker, Caller, Opened
from api.dalle_flow import wishes
from api.dalle_flow.matches import matches
from api.dalle_flow.parameters import Parameters
from api.dalle_flow.wire import Posted, Sent, answer, as_sent
from api.dalle_flow.wishes import Asked, Picture, needed, picture_of
from api.drawing import Drawn, draw
from api.opened import Api
from api.problems import NotAnswered
from api.several import submit_all
from db.jobs import Job
from generator import registry
from generator.checkpoints.inventory import missing
from generator.params import BadParams
from studio.context import Studio
from studio.submit import ask
from studio.uploads import keep_one
from studio.upscale import upscale

router = APIRouter(tags=["DALL-E Flow"])

EXECUTORS = ("", "dalle", "diffusion", "stable", "clip_encoder", "rerank", "upscaler", "realesrgan", "store", "gateway")
Answered = Awaitable[dict[str, Any]]
Endpoint = Callable[[Api, Request, Caller, Sent, Parameters, str, float], Answered]


@router.post("/post", response_model=None)
async def post(api: Opened, who: Asker, request: Request, posted: Posted) -> Response:
    """Pictures of a text (`/`), variations (`target_executor: diffusion`), `/stablediffuse`, `/upscale`, `/realesrgan`.

    The Documents come back with the pictures as matches, the best first.
    """
    began = time.time()
    if posted.endpoint not in ENDPOINTS:
        named = ", ".join(ENDPOINTS)
        raise NotAnswered(404, f"There is no endpoint {posted.endpoint!r} here; choose {named}.", "unknown_endpoint")
    if posted.executor not in EXECUTORS:
        some = ", ".join(EXECUTORS[1:4])
        raise NotAnswered(404, f"There is no executor {posted.executor!r} here; choose {some}.", "unknown_endpoint")
    parameters = Parameters(posted.parameters or {})
    endpoint = ENDPOINTS[posted.endpoint]
    made = [await endpoint(api, request, who, sent, parameters, posted.executor, began) for sent in posted.data]
    return answer(posted, made, began)


async def _draw(
    api: Api, request: Request, who: Caller, sent: Sent, parameters: Parameters, executor: str, began: float
) -> dict[str, Any]:
    def wanted(studio: Studio) -> Asked:
        if executor == "stable":
            return wishes.stable(studio, sent, parameters)
        if executor == "dalle":
            return wishes.from_text(studio, sent, parameters)
        return wishes.diffusion(studio, who.submitter, sent, parameters)

    return await _matched(api, request, who, sent, await api.ask(wanted), began)


async def _diffuse(
    api: Api, request: Request, who: Caller, sent: Sent, parameters: Parameters, executor: str, began: float
) -> dict[str, Any]:
    asked = await api.ask(wishes.stable_diffuse, who.submitter, sent, parameters)
    return await _matched(api, request, who, sent, asked, began)


async def _upscale(
    api: Api, request: Request, who: Caller, sent: Sent, parameters: Parameters, executor: str, began: float
) -> dict[str, Any]:
    """The same Document, its picture four times as wide and high."""
    large = await _larger(api, request, who, sent, "/upscale", None)
    png = await api.ask(large.bytes, who)
    tags = {**(sent.tags or {}), "upscaled": True}
    return as_sent(sent, uri=pictures.data_uri(png, "image/png"), mime_type="image/png", tags=tags)


async def _real_esrgan(
    api: Api, request: Request, who: Caller, sent: Sent, parameters: Parameters, executor: str, began: float
) -> dict[str, Any]:
    """The upscaled picture as a match. model_name: one of our upscalers; theirs stand for the best one there is."""
    if parameters.given.get("face_enhance"):
        raise BadParams("face_enhance: there is no model for faces here; leave it out.")
    name = parameters.text("model_name")
    known = name if name in registry.ENGINES["upscale"].checkpoints else None
    large = await _larger(api, request, who, sent, "/realesrgan", known)
    asked = Asked([], sent.text or "", tags={"request": {"api": "realesrgan", "model_name": large.job.checkpoint}})
    return as_sent(sent, matches=[*(sent.matches or []), *await matches(api, request, who, [large], asked, began)])


async def _matched(api: Api, request: Request, who: Caller, sent: Sent, asked: Asked, began: float) -> dict[str, Any]:
    made = await draw(api, request, who, lambda studio: submit_all(studio, who.submitter, asked.wishes))
    # A text is drawn without the blanks around it, and is told as it was sent.
    asked = replace(asked, text=asked.text or made[0].job.prompt)
    return as_sent(sent, matches=[*(sent.matches or []), *await matches(api, request, who, made, asked, began)])


async def _larger(api: Api, request: Request, who: Caller, sent: Sent, endpoint: str, checkpoint: str | None) -> Drawn:
    def make(studio: Studio) -> list[Job]:
        picture = needed(picture_of(studio, who.submitter, sent), endpoint)
        return [_upscaling(studio, who, picture, checkpoint or best_upscaler(studio))]

    (large,) = await draw(api, request, who, make)
    return large


def _upscaling(studio: Studio, who: Caller, picture: Picture, checkpoint: str) -> Job:
    if picture.ours:
        return upscale(studio, who.submitter, *picture.ours, checkpoint=checkpoint)
    assert picture.upload is not None
    kept = keep_one(studio, who.submitter, picture.upload)
    values = {"picture": kept.id, "width": kept.width, "height": kept.height, "checkpoint": checkpoint}
    return ask(studio, who.submitter, "upscale", values)


def best_upscaler(studio: Studio) -> str:
    """SwinIR-L, as DALL-E Flow has it, where the host has it; else the embedded one."""
    return "mini-upscaler" if missing("swinir-l", studio.settings.checkpoints_dir) else "swinir-l"


ENDPOINTS: dict[str, Endpoint] = {
    "/": _draw,
    "/stablediffuse": _diffuse,
    "/upscale": _upscale,
    "/realesrgan": _real_esrgan,
}
