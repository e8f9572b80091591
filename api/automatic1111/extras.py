"""Pictures made larger: by a checkpoint of the upscale engine, as jobs on the queue, or by Pillow at once."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from PIL import Image

from api.automatic1111.calls import Asked, Asking, Call
from api.automatic1111.drawing import wait_for
from api.automatic1111.shapes import BatchExtras, BatchUpscaled, Extras, SingleExtras, SingleUpscaled
from api.callers import Caller
from api.drawing import drawn
from api.pictures import decoded
from api.problems import NotAnswered
from api.several import all_or_none
from db.jobs import Job
from generator import registry
from generator.params import BadParams
from generator.registry import UnknownName
from studio.context import Studio
from studio.room import check_given
from studio.uploads import Cleaned, cleaned
from studio.upscale import check_uploads, upscale_upload

router = APIRouter(tags=["automatic1111"])

MAX_SIDE = 4096  # px, of what is handed over
PLAIN = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


@dataclass(frozen=True)
class Task:
    """One picture by one upscaler. size: in px, to which it is resized; job: where an engine upscales it first."""

    png: bytes
    upscaler: str
    size: tuple[int, int]
    job: Job | None


@router.post("/extra-single-image")
async def upscale_one(asked: Asked, body: SingleExtras) -> SingleUpscaled:
    """Make a picture larger and wait for it: of exactly the size asked for."""
    (png,) = await _upscaled(asked, body, [("image", body.image)])
    shown = body.show_extras_results is not False
    return SingleUpscaled(html_info=_told(body), image=base64.b64encode(png).decode() if shown else None)


@router.post("/extra-batch-images")
async def upscale_several(asked: Asked, body: BatchExtras) -> BatchUpscaled:
    """The same, of several pictures."""
    named = [(file.name or f"imageList.{n}", file.data) for n, file in enumerate(body.imageList)]
    made = await _upscaled(asked, body, named)
    return BatchUpscaled(html_info=_told(body), images=[base64.b64encode(png).decode() for png in made])


async def _upscaled(asked: Asking, body: Extras, named: Sequence[tuple[str, str]]) -> list[bytes]:
    api, who = asked.api, asked.who
    upscalers = [_checked(body.upscaler_1)]
    if upscalers[0] != "None" and body.upscaler_2 != "None" and body.extras_upscaler_2_visibility > 0:
        upscalers.append(_checked(body.upscaler_2))

    def begin(studio: Studio) -> list[list[Task]]:
        check_given(studio, who.submitter)
        # All of them are read before the first one is queued.
        sent = [cleaned(studio, decoded(name, text)) for name, text in named]
        sizes = [size_of(body, one.width, one.height) for one in sent]
        begun: list[list[Task]] = []
        engines = [
            (one, upscaler)
            for one, size in zip(sent, sizes, strict=True)
            for upscaler in upscalers
            if _by_engine(one, upscaler, size)
        ]
        if engines:
            check_uploads(studio, who.submitter, engines)
        with all_or_none(studio, who.submitter) as queued:
            for one, size in zip(sent, sizes, strict=True):
                begun.append([])
                for upscaler in upscalers:
                    begun[-1].append(task := _begun(studio, who, one, upscaler, size))
                    queued += [task.job] if task.job else []
        return begun

    tasks = await api.ask(begin)
    jobs = _jobs(tasks)
    if jobs:
        call = Call("extras", who.submitter.id, [job.id for job in jobs])
        await wait_for(asked, call, jobs)
        if call.cut:
            raise NotAnswered(409, "The call was interrupted before its pictures were larger.", "interrupted")
    made = {job.id: (await drawn(api, [job]))[0] for job in jobs}

    def finish(studio: Studio) -> list[bytes]:
        found = []
        for some in tasks:
            images = [
                _finished(task, made[task.job.id].bytes(studio, who) if task.job else task.png, body) for task in some
            ]
            if len(images) == 2:
                images = [Image.blend(images[0], images[1], body.extras_upscaler_2_visibility)]
            out = io.BytesIO()
            images[0].save(out, "PNG")
            found.append(out.getvalue())
        return found

    return await api.ask(finish)


def size_of(body: Extras, width: int, height: int) -> tuple[int, int]:
    """The size in px to which a picture of width x height px is resized, before anything is cut. Raises BadParams."""
    scale = body.upscaling_resize
    if body.resize_mode == 1:
        scale = max(body.upscaling_resize_w / width, body.upscaling_resize_h / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if max(size) > MAX_SIDE:
        raise BadParams(f"The result would have {size[0]} x {size[1]} px; at most {MAX_SIDE} px a side are allowed.")
    return size


def _checked(name: str) -> str:
    """The upscaler of this name. Raises UnknownName with the valid ones."""
    valid = ["None", *PLAIN, *registry.ENGINES["upscale"].checkpoints]
    if name not in valid:
        raise UnknownName("upscaler", name[:80], valid)
    return name


def _begun(studio: Studio, who: Caller, sent: Cleaned, upscaler: str, size: tuple[int, int]) -> Task:
    job = None
    if _by_engine(sent, upscaler, size):
        job = upscale_upload(studio, who.submitter, sent, checkpoint=upscaler)
    return Task(sent.png, upscaler, size, job)


def _by_engine(sent: Cleaned, upscaler: str, size: tuple[int, int]) -> bool:
    larger = max(size[0] / sent.width, size[1] / sent.height) > 1
    return larger and upscaler != "None" and upscaler not in PLAIN


def _jobs(tasks: Sequence[Sequence[Task]]) -> list[Job]:
    return [task.job for some in tasks for task in some if task.job is not None]


def _finished(task: Task, png: bytes, body: Extras) -> Image.Image:
    with Image.open(io.BytesIO(png)) as found:
        image = found.convert("RGB")
    if task.upscaler == "None":
        return image
    if image.size != task.size:
        image = image.resize(task.size, PLAIN.get(task.upscaler, Image.Resampling.LANCZOS))
    if body.resize_mode == 0 or not body.upscaling_crop:
        return image
    width, height = body.upscaling_resize_w, body.upscaling_resize_h
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _told(body: Extras) -> str:
    if body.upscaler_1 == "None":
        return "<div><p>Not upscaled: upscaler_1 is None.</p></div>"
    to = f"{body.upscaling_resize_w}x{body.upscaling_resize_h}"
    words = [f"upscale to: {to}" if body.resize_mode else f"upscale by: {body.upscaling_resize:g}"]
    words.append(f"upscaler: {body.upscaler_1}")
    if body.upscaler_2 != "None" and body.extras_upscaler_2_visibility > 0:
        words.append(f"upscaler 2: {body.upscaler_2}")
    return f"<div><p>{html.escape(', '.join(f'Postprocess {word}' for word in words))}</p></div>"
