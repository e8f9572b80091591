"""txt2img and img2img: calls that wait for their pictures, and that their caller may end early."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from fastapi import APIRouter
from PIL import Image

from api import sizes
from api.automatic1111 import models
from api.automatic1111.calls import Asked, Asking, Call, over
from api.automatic1111.infotext import info, infotext
from api.automatic1111.shapes import ImageToImage, Pictures, TextToImage
from api.automatic1111.wishes import wanted
from api.callers import Caller
from api.drawing import cancelled_unless_done, not_drawn
from db import artefacts, queue
from db.jobs import Job, State
from generator.output.metadata import NoMetadata, read_sources
from generator.output.sources import NONE
from studio import access
from studio.context import Studio
from studio.submit import submit

router = APIRouter(tags=["automatic1111"])


@dataclass(frozen=True)
class Made:
    """A picture of a call: what was drawn, or what there was of it when it was ended."""

    job: Job
    png: bytes
    text: str
    size: tuple[int, int]


@router.post("/txt2img")
async def text_to_image(asked: Asked, body: TextToImage) -> Pictures:
    """Draw pictures and wait for them."""
    return await _drawn(asked, body, "txt2img")


@router.post("/img2img")
async def image_to_image(asked: Asked, body: ImageToImage) -> Pictures:
    """Draw pictures that start from one, and wait for them."""
    return await _drawn(asked, body, "img2img")


async def _drawn(asked: Asking, body: TextToImage, kind: str) -> Pictures:
    api, who, kept = asked.api, asked.who, asked.kept
    chosen = kept.chosen(who.submitter.id)

    def ask(studio: Studio) -> tuple[list[Job], tuple[int, int] | None, str]:
        model = models.current(studio, chosen, body.checkpoint)
        wish = wanted(studio, model, body)
        return submit(studio, who.submitter, wish.wish), wish.size, models.title_of(model)

    jobs, size, title = await api.ask(ask)
    if body.override_settings_restore_afterwards is False:
        kept.choose(who.submitter.id, title)
    call = Call(kind, who.submitter.id, [job.id for job in jobs])
    await wait_for(asked, call, jobs)

    def answer(studio: Studio) -> Pictures:
        made = _made(studio, who, call, body, size)
        of = made or [Made(job, b"", infotext(body, job, size or _size(job)), size or _size(job)) for job in jobs]
        encoded = [base64.b64encode(one.png).decode() for one in made] if body.send_images is not False else []
        told = info(body, [one.job for one in of], [one.text for one in of], of[0].size, call.timestamp)
        return Pictures(images=encoded, parameters=body.echo(), info=told)

    return await api.ask(answer)


async def wait_for(asked: Asking, call: Call, jobs: list[Job]) -> None:
    """Returns when the call is over. Where the client goes away, its jobs are cancelled. Raises NotAnswered."""
    api = asked.api
    with asked.kept.in_flight(call):
        async with cancelled_unless_done(api, asked.who, jobs):
            await api.while_there(asked.request, over(api, call))


def _made(studio: Studio, who: Caller, call: Call, body: TextToImage, size: tuple[int, int] | None) -> list[Made]:
    """The pictures of a call in their order. Raises NotAnswered where there is none and the caller did not end it."""
    jobs = queue.get_each(studio.db, call.job_ids)
    files, found = artefacts.of_jobs(studio.db, call.job_ids), []
    for job in jobs:
        data = call.cut.get(job.id)
        if job.state == State.SUCCEEDED:
            data = access.file(studio, who.submitter, files[job.id]["picture"])
        if data is not None:
            found.append(_handed_over(body, job, data, size))
    if not found and not call.cut:
        raise not_drawn(jobs[0])
    return found


def _handed_over(body: TextToImage, job: Job, data: bytes, size: tuple[int, int] | None) -> Made:
    with Image.open(io.BytesIO(data)) as image:
        size = size or image.size
    try:
        sources = read_sources(data)
    except NoMetadata:  # cut short, it is a preview
        sources = NONE
    text = infotext(body, job, size, sources)
    return Made(job, sizes.handed_over(data, size=size, texts={"parameters": text}), text, size)


def _size(job: Job) -> tuple[int, int]:
    return job.params["width"] * job.params["upscale"], job.params["height"] * job.params["upscale"]
