"""`POST /post`: the one address of a jina gateway; endpoint and executor stand in the body."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Request, Response

from api.callers import Asker, Caller, Opened
from api.dalle_flow import wishes
from api.dalle_flow.matches import matches
from api.dalle_flow.parameters import Parameters
from api.dalle_flow.wire import Posted, Sent, answer, as_sent
from api.dalle_flow.wishes import Asked, Picture, best_upscaler, needed, picture_of
from api.drawing import Drawn, draw
from api.opened import Api
from api.problems import NotAnswered
from api.several import submit_all
from db.jobs import Job
from generator import registry
from generator.images.encode import data_uri
from generator.params import BadParams
from studio.context import Studio, Submitter
from studio.room import check_given
from studio.uploads import cleaned
from studio.upscale import upscale, upscale_upload

router = APIRouter(tags=["DALL-E Flow"])


@dataclass(frozen=True)
class Asking:
    """One Document of a request. began: UTC s since 1970."""

    api: Api
    request: Request
    who: Caller
    sent: Sent
    parameters: Parameters
    began: float


Endpoint = Callable[[Asking], Awaitable[dict[str, Any]]]


@router.post("/post", response_model=None)
async def post(api: Opened, who: Asker, request: Request, posted: Posted) -> Response:
    """Pictures of a text (`/`), variations (`target_executor: diffusion`), `/stablediffuse`, `/upscale`, `/realesrgan`.

    The Documents come back with the pictures as matches, the best first.
    """
    began = time.time()
    if posted.endpoint not in ENDPOINTS:
        named = ", ".join(ENDPOINTS)
        raise NotAnswered(404, f"There is no endpoint {posted.endpoint!r} here; choose {named}.", "unknown_endpoint")
    executors = ENDPOINTS[posted.endpoint]
    if posted.executor not in executors:
        named = ", ".join(name for name in executors if name)
        says = f"No executor {posted.executor!r} answers to {posted.endpoint} here; choose {named}, or none."
        raise NotAnswered(404, says, "unknown_endpoint")
    endpoint, parameters = executors[posted.executor], Parameters(posted.parameters or {})
    made = [await endpoint(Asking(api, request, who, sent, parameters, began)) for sent in posted.data]
    return answer(posted, made, began)


async def _from_text(asking: Asking) -> dict[str, Any]:
    return await _matched(asking, await asking.api.ask(wishes.from_text, asking.sent, asking.parameters))


async def _stable(asking: Asking) -> dict[str, Any]:
    return await _matched(asking, await asking.api.ask(wishes.stable, asking.sent, asking.parameters))


async def _diffusion(asking: Asking) -> dict[str, Any]:
    """Of the text where there is no picture: what the whole flow does."""
    submitter = asking.who.submitter
    return await _matched(asking, await asking.api.ask(wishes.diffusion, submitter, asking.sent, asking.parameters))


async def _stable_diffuse(asking: Asking) -> dict[str, Any]:
    submitter = asking.who.submitter
    return await _matched(
        asking, await asking.api.ask(wishes.stable_diffuse, submitter, asking.sent, asking.parameters)
    )


async def _upscale(asking: Asking) -> dict[str, Any]:
    """The same Document, its picture four times as wide and high."""
    large = await _larger(asking, "/upscale", None)
    png = await asking.api.ask(large.bytes, asking.who)
    tags = {**(asking.sent.tags or {}), "upscaled": True}
    return as_sent(asking.sent, uri=data_uri(png, "image/png"), mime_type="image/png", tags=tags)


async def _real_esrgan(asking: Asking) -> dict[str, Any]:
    """The upscaled picture as a match. model_name: one of our upscalers; theirs stand for the best one there is."""
    if asking.parameters.given.get("face_enhance"):
        raise BadParams("face_enhance: there is no model for faces here; leave it out.")
    name = asking.parameters.text("model_name")
    known = name if name in registry.ENGINES["upscale"].checkpoints else None
    large = await _larger(asking, "/realesrgan", known)
    tags = {"request": {"api": "realesrgan", "model_name": large.job.checkpoint}}
    return await _with_matches(asking, [large], Asked([], asking.sent.text or "", tags=tags))


async def _matched(asking: Asking, asked: Asked) -> dict[str, Any]:
    submitter = asking.who.submitter
    made = await draw(
        asking.api, asking.request, asking.who, lambda studio: submit_all(studio, submitter, asked.wishes)
    )
    # A text is drawn without the blanks around it, and is told as it was sent.
    return await _with_matches(asking, made, replace(asked, text=asked.text or made[0].job.prompt))


async def _with_matches(asking: Asking, made: Sequence[Drawn], asked: Asked) -> dict[str, Any]:
    found = await matches(asking.api, asking.request, asking.who, made, asked, asking.began)
    return as_sent(asking.sent, matches=[*(asking.sent.matches or []), *found])


async def _larger(asking: Asking, endpoint: str, checkpoint: str | None) -> Drawn:
    submitter = asking.who.submitter

    def make(studio: Studio) -> list[Job]:
        picture = needed(picture_of(studio, submitter, asking.sent), endpoint)
        return [_upscaling(studio, submitter, picture, checkpoint or best_upscaler(studio))]

    (large,) = await draw(asking.api, asking.request, asking.who, make)
    return large


def _upscaling(studio: Studio, submitter: Submitter, picture: Picture, checkpoint: str) -> Job:
    if picture.ours:
        return upscale(studio, submitter, *picture.ours, checkpoint=checkpoint)
    assert picture.upload is not None
    check_given(studio, submitter)
    return upscale_upload(studio, submitter, cleaned(studio, picture.upload), checkpoint=checkpoint)


# What each endpoint does, by the executor that is asked alone; "": by all of the flow. Those that only pass on what
# others made (clip_encoder, rerank, store, gateway) do nothing alone, and are not here.
ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "/": {
        "": _diffusion,
        "dalle": _from_text,
        "diffusion": _diffusion,
        "stable": _stable,
        "upscaler": _upscale,
        "realesrgan": _real_esrgan,
    },
    "/stablediffuse": {"": _stable_diffuse, "stable": _stable_diffuse},
    "/upscale": {"": _upscale, "upscaler": _upscale},
    "/realesrgan": {"": _real_esrgan, "realesrgan": _real_esrgan},
}
