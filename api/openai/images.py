"""/v1/images: pictures, waited for or streamed while they form."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.datastructures import UploadFile

from api.callers import Asker, Caller, Opened
from api.drawing import Drawn, cancelled_unless_done, draw, drawn, not_drawn
from api.openai import wishes
from api.openai.envelope import body as error_body
from api.openai.shapes import ImageRequest, ImageShape, ImagesShape
from api.openai.wishes import Given
from api.opened import Api
from api.problems import NotAnswered, in_words, problem_of
from api.ranges import part
from api.sizes import FORMATS, handed_over
from db.errors import DbError, UnknownArtefact
from db.jobs import Job, State
from generator.params import BadParams
from studio import access
from studio.context import Studio, Submitter
from studio.submit import Wish, submit
from studio.uploads import Upload

router = APIRouter(prefix="/images", tags=["OpenAI images"])

PING_S = 15
MAX_FILES = 16
_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def _form(*files: str, needed: Sequence[str]) -> dict[str, Any]:
    """How the document describes a form with these files."""
    kept = {name: {"type": "string", "format": "binary"} for name in files}
    fields = {
        name: {"type": "string"}
        for name in ("prompt", "model", "n", "size", "quality", "response_format", "output_format", "stream")
    }
    schema = {"type": "object", "properties": {**kept, **fields}, "required": list(needed)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


@router.post("/generations", response_model=ImagesShape, responses=_STREAM)
async def generate(api: Opened, who: Asker, request: Request, asked: ImageRequest) -> Any:
    """Pictures from a prompt."""
    return await _answer(api, who, request, asked, lambda studio: wishes.generation(studio, asked), "image_generation")


@router.post(
    "/edits",
    response_model=ImagesShape,
    responses=_STREAM,
    openapi_extra=_form("image", "mask", needed=("image", "prompt")),
)
async def edit(api: Opened, who: Asker, request: Request) -> Any:
    """Pictures from a picture and a prompt; a mask says what of it is drawn anew."""
    asked, given = await _read_form(request)
    return await _answer(api, who, request, asked, lambda studio: wishes.edit(studio, asked, given), "image_edit")


@router.post("/variations", response_model=ImagesShape, openapi_extra=_form("image", needed=("image",)))
async def vary(api: Opened, who: Asker, request: Request) -> Any:
    """Pictures like a picture."""
    asked, given = await _read_form(request)
    if len(given.pictures) > 1:
        raise BadParams("One image is varied at a time.")
    return await _answer(api, who, request, asked, lambda studio: wishes.variation(studio, asked, given), "variation")


@router.get(
    "/{artefact_id}/content",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in (*FORMATS.values(), "image/gif")}}},
)
async def content(
    api: Opened,
    request: Request,
    artefact_id: str,
    size: Annotated[str | None, Query(max_length=16)] = None,
    form: Annotated[str | None, Query(alias="format", max_length=8)] = None,
) -> Response:
    """The picture that an answer's url names. Who has the address needs no key: it cannot be guessed."""
    anybody = Submitter("anybody")
    found = await api.ask(access.artefact, anybody, artefact_id)
    if found.kind not in ("picture", "gif"):
        raise UnknownArtefact(f"There is no picture with the id {artefact_id!r}.")
    headers = {"cache-control": "private, no-cache"}
    data = await api.ask(access.file, anybody, found)
    if found.kind == "gif" or not (size or form):
        return part(request, data, found.media_type, headers)
    if form not in (None, *FORMATS):
        raise BadParams(f"format = {form!r}: {', '.join(FORMATS)} is allowed.")
    form = form or "png"
    data = await api.run(handed_over, data, form, ImageRequest(size=size).wanted_size)
    return part(request, data, FORMATS[form], headers)


async def _answer(api: Api, who: Caller, request: Request, asked: ImageRequest, make: Any, kind: str) -> Any:
    form, size = asked.format, asked.wanted_size  # bad ones are told before anything is queued

    def queue(studio: Studio) -> list[Job]:
        wish: Wish = make(studio)
        return submit(studio, who.submitter, wish)

    api.watch.check(who.submitter.id)
    if asked.stream:
        if form == "gif":
            raise BadParams("output_format = 'gif' is not streamed; leave out stream.")
        jobs = await api.ask(queue)
        return EventSourceResponse(_events(api, who, asked, jobs, kind), ping=PING_S)
    made = await draw(api, request, who, queue)
    root = api.address_of(request)
    data = await api.run(lambda: [_image(api.studio, who, asked, one, root) for one in made])
    return ImagesShape(
        created=int(time.time()),
        data=data,
        output_format=form,
        size=_size_of(asked, made[0]) if size is None else "{}x{}".format(*size),
        quality=asked.quality or "auto",
    )


def _image(studio: Studio, who: Caller, asked: ImageRequest, made: Drawn, root: str) -> ImageShape:
    kind = "gif" if asked.format == "gif" else "picture"
    shape = ImageShape(revised_prompt=made.job.prompt, job_id=made.job.id, seed=made.job.params["seed"])
    if asked.response_format != "b64_json":
        shape.url = f"{root}/v1/images/{made.files[kind].id}/content"
        if kind == "picture" and (asked.wanted_size or asked.format != "png"):
            size = "&size={}x{}".format(*asked.wanted_size) if asked.wanted_size else ""
            shape.url += f"?format={asked.format}{size}"
    if asked.response_format != "url":
        shape.b64_json = base64.b64encode(_bytes(asked, made.bytes(studio, who, kind))).decode()
    return shape


def _bytes(asked: ImageRequest, png: bytes) -> bytes:
    if asked.format == "gif":
        return png
    quality = 90 if asked.output_compression is None else asked.output_compression
    return handed_over(png, asked.format, asked.wanted_size, quality=quality)


def _size_of(asked: ImageRequest, made: Drawn) -> str:
    file = made.files["gif" if asked.format == "gif" else "picture"]
    return f"{file.width}x{file.height}"


async def _events(
    api: Api, who: Caller, asked: ImageRequest, jobs: Sequence[Job], kind: str
) -> AsyncIterator[ServerSentEvent]:
    """Up to `partial_images` of each picture while it forms, evenly over its steps, and each one when it is done."""
    partial, shown, ended = asked.partial_images or 0, dict.fromkeys((job.id for job in jobs), 0), set[str]()
    by_id = {job.id: job for job in jobs}
    try:
        async with cancelled_unless_done(api, who, jobs):
            async for found in api.watch.follow(list(by_id), who=who.submitter.id):
                for glance in found.values():
                    number = shown[glance.id]
                    due = glance.total_steps * (number + 1) / (partial + 1)
                    if number < partial and glance.preview and glance.step >= due and not glance.ended:
                        data = await api.ask(_preview, who, asked, glance.preview[0])
                        if data is not None:
                            shown[glance.id] += 1
                            yield _event(f"{kind}.partial_image", asked, data, partial_image_index=number)
                    if glance.ended and glance.id not in ended:
                        ended.add(glance.id)
                        if glance.state != State.SUCCEEDED:
                            raise not_drawn(await api.ask(access.job, who.submitter, glance.id))
                        (made,) = await drawn(api, [by_id[glance.id]])
                        data = await api.run(_finished, api.studio, who, asked, made)
                        more = {"job_id": glance.id, "seed": made.job.params["seed"], "size": _size_of(asked, made)}
                        yield _event(f"{kind}.completed", asked, data, **more)
    except (NotAnswered, DbError) as error:
        problem = error.problem if isinstance(error, NotAnswered) else problem_of(error)
        yield ServerSentEvent(json.dumps({"error": error_body(problem)}), event="error")


def _finished(studio: Studio, who: Caller, asked: ImageRequest, made: Drawn) -> bytes:
    return _bytes(asked, made.bytes(studio, who))


def _preview(studio: Studio, who: Caller, asked: ImageRequest, artefact_id: str) -> bytes | None:
    found = access.preview(studio, who.submitter, artefact_id)
    return None if found is None else _bytes(asked, found[0])


def _event(kind: str, asked: ImageRequest, data: bytes, **more: Any) -> ServerSentEvent:
    told = {
        "type": kind,
        "b64_json": base64.b64encode(data).decode(),
        "background": "opaque",
        "created_at": int(time.time()),
        "output_format": asked.format,
        "quality": asked.quality or "auto",
        **more,
    }
    told["size"] = "{}x{}".format(*asked.wanted_size) if asked.wanted_size else told.get("size", "auto")
    return ServerSentEvent(json.dumps(told), event=kind)


def _plain(text: str) -> Any:
    """A form holds texts alone: a setting that is written as a number or a switch is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text


async def _read_form(request: Request) -> tuple[ImageRequest, Given]:
    """The fields and the files of a form. Raises BadParams, and NotAnswered (413) for one that is too large."""
    async with request.form(max_files=MAX_FILES + 1, max_fields=100) as form:
        files: dict[str, list[Upload]] = {}
        fields: dict[str, Any] = {}
        for name, value in form.multi_items():
            plain = name.removesuffix("[]")
            if isinstance(value, UploadFile):
                files.setdefault(plain, []).append(Upload(value.filename or plain, await value.read()))
            elif value != "":
                fields[plain] = value if plain in ImageRequest.model_fields else _plain(value)
    unknown = files.keys() - {"image", "mask"}
    if unknown:
        raise BadParams(f"The file {min(unknown)!r} is not read here; image and mask are.")
    if not files.get("image"):
        raise BadParams("There is no picture in the field image, or image[].")
    try:
        asked = ImageRequest.model_validate(fields)
    except ValidationError as error:
        raise BadParams(in_words(error.errors()[:1])) from None
    return asked, Given(tuple(files["image"]), next(iter(files.get("mask", [])), None))
