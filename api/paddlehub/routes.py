"""`POST /predict/NAME`: HTTP 200 with a status of its own, the results as JSON documents."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from api import pictures
from api.callers import Asker, Caller, Opened
from api.drawing import Drawn, draw
from api.paddlehub.film import frames_of, shown_steps
from api.problems import Problem
from api.several import submit_all
from db.errors import StoreFull, TooManyBytesGiven
from generator.output import documents as own
from generator.paddlehub.modules import MODULES, ModuleSpec
from generator.paddlehub.planning import Group, Plan, plan, starts_from_picture
from generator.paddlehub.results import Made, documents
from generator.params import BadParams
from studio.context import Studio
from studio.errors import SENTENCES, Busy, told
from studio.submit import Wish
from studio.uploads import Upload

router = APIRouter(tags=["PaddleHub"])

DONE, FAILED, UNKNOWN_MODULE, NO_JSON = "000", "101", "111", "112"
FORMATS = ("json", "docarray")
MAX_FRAMES = 128  # in one answer, which holds each as a PNG; of more, every second one and so on
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"text_prompts": {"type": "string"}}},
                "example": {"text_prompts": "a red heart", "seed": 7},
            }
        },
    }
}


@router.post("/predict/{name}", response_model=None, openapi_extra=_BODY)
async def predict(api: Opened, who: Asker, request: Request, name: str) -> Response:
    """Draw pictures with the arguments of PaddleHub's `generate_image`; pictures are sent in base64.

    `results_format: docarray` answers with `DocumentArray.to_base64()` where docarray is installed here.
    """
    try:
        given = json.loads(await request.body())
        if not isinstance(given, dict):
            raise ValueError("an object is needed")
    except (ValueError, RecursionError):
        return _told(NO_JSON, "The body is no JSON object: send the arguments of generate_image by name.")
    module = MODULES.get(name)
    if module is None:
        return _told(UNKNOWN_MODULE, f"There is no module {name[:60]!r} here; choose {', '.join(MODULES)}.")
    try:
        form = _format(given.pop("results_format", "json"))
        wanted, upload = await api.ask(_planned, module, given)
        wishes = [_wish(wanted, group, upload) for group in wanted.groups]
        made = await draw(api, request, who, lambda studio: submit_all(studio, who.submitter, wishes))
        return await api.ask(_done, who, wanted, made, form)
    except (StoreFull, TooManyBytesGiven, Busy):
        raise  # with its status, and when to try again
    except SENTENCES as error:
        return _told(FAILED, told(error))


def as_reply(request: Request, problem: Problem) -> Response:
    """A problem in the shape of this serving. Who may not call, and what is no call at all, keep their status."""
    ours = problem.status in (401, 403, 404, 405, 413, 503, 507) and problem.kind != "failed"
    return _told(FAILED, problem.sentence, status=problem.status if ours else 200, headers=dict(problem.headers))


def _told(
    status_code: str, msg: str, results: Any = "", status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    # ASCII, since a name that came in with half a character is told as it came.
    text = json.dumps({"status": status_code, "msg": msg, "results": results}, allow_nan=False)
    return Response(text, status, headers, media_type=JSONResponse.media_type)


def _format(given: Any) -> str:
    if given not in FORMATS:
        raise BadParams(f"results_format = {repr(given)[:40]}: choose one of {', '.join(FORMATS)}.")
    if given == "docarray" and own.document_classes()[0] is own.Document:
        raise BadParams("results_format = 'docarray' needs docarray before 0.30 on the server, which is not there.")
    return str(given)


def _planned(studio: Studio, module: ModuleSpec, given: dict[str, Any]) -> tuple[Plan, Upload | None]:
    for name, value in given.items():
        if isinstance(value, float) and value != value:
            raise BadParams(f"{name[:60]} is no number.")
    image = given.get("init_image")
    if image is not None and not isinstance(image, str):
        raise BadParams("init_image: base64 of a picture file is needed.")
    wanted = plan(module, given, studio.settings.checkpoints_dir)
    return wanted, pictures.decoded("init_image", image) if image and starts_from_picture(wanted) else None


def _wish(wanted: Plan, group: Group, upload: Upload | None) -> Wish:
    values = {**group.values, "save_every": wanted.arguments.named["display_rate"]}
    return Wish(wanted.module.engine, values, group.count, {"init_image": [upload]} if upload else {})


def _done(studio: Studio, who: Caller, wanted: Plan, drawn: Sequence[Drawn], form: str) -> Response:
    return _told(DONE, " ".join(wanted.notes), _results(studio, who, wanted, drawn, form))


def _results(studio: Studio, who: Caller, wanted: Plan, drawn: Sequence[Drawn], form: str) -> Any:
    if len(drawn) < sum(group.count for group in wanted.groups):
        raise BadParams("Some of the pictures could not be drawn, or were cancelled; ask again.")
    waiting = iter(drawn)
    most = max(MAX_FRAMES // len(drawn), 2)
    made = [[_made(studio, who, next(waiting), most) for _ in range(group.count)] for group in wanted.groups]
    if form == "docarray":
        return documents(wanted, made).to_base64()
    return documents(wanted, made, (own.Document, own.DocumentArray)).to_list()


def _made(studio: Studio, who: Caller, drawn: Drawn, max_frames: int) -> Made:
    job = drawn.job
    film = next((kind for kind in ("webp", "gif") if kind in drawn.files), None)
    frames = frames_of(drawn.bytes(studio, who, film), shown_steps(job.params, job.total_steps)) if film else []
    stride = -(-len(frames) // max_frames)
    picture = drawn.bytes(studio, who)
    with Image.open(io.BytesIO(picture)) as finished:
        for _, frame in frames:
            frame.thumbnail(finished.size)  # films may be larger than their picture
    return Made(picture, job.params, job.total_steps, frames[::-1][::stride][::-1] if stride else [])
