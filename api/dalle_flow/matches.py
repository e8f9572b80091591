"""Finished pictures as matches of the Document that asked, the one that fits its text best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from api.callers import Caller
from api.dalle_flow.wire import document
from api.dalle_flow.wishes import Asked
from api.drawing import Drawn, draw
from api.opened import Api
from api.problems import NotAnswered
from api.sizes import handed_over
from db.sheets import submissions
from generator import registry
from generator.images.encode import data_uri
from studio.context import Studio
from studio.errors import SENTENCES
from studio.rank import rank
from studio.standing import result_of

LOGIT_SCALE = 100.0  # what CLIP multiplies cosines by before its softmax (Radford et al. 2021, section 2.5)


async def matches(
    api: Api, request: Request, who: Caller, made: Sequence[Drawn], asked: Asked, began: float
) -> list[dict[str, Any]]:
    """The pictures with `clip_score` and `clip_score_cosine`, falling. Raises as `drawing.draw` where nobody waits."""
    cosines = await _cosines(api, request, who, made, asked.text)
    chances = softmax([LOGIT_SCALE * (cosine or 0.0) for cosine in cosines])
    order = sorted(range(len(made)), key=lambda n: -chances[n])
    return await api.ask(
        lambda studio: [_match(studio, who, made[n], asked, began, chances[n], cosines[n]) for n in order]
    )


async def _cosines(api: Api, request: Request, who: Caller, made: Sequence[Drawn], text: str) -> list[float | None]:
    """The whole pictures' likeness to the text, by a job that ranks them; what was seen while drawing where there is
    only one, or where they cannot be ranked."""
    own = [one.job.score for one in made]
    if len(made) < 2:
        return own
    clip = made[0].job.params.get("clip") or (registry.TEXT_ENCODER.name,)

    def ranking(studio: Studio) -> list[Any]:
        sheet = submissions.of_jobs(studio.db, [made[0].job.id])[made[0].job.id]
        ids = [one.files["picture"].id for one in made]
        return [rank(studio, who.submitter, sheet, ids, prompt=text, clip=clip)]

    try:
        (ranked,) = await draw(api, request, who, ranking)
    except SENTENCES:
        return own
    except NotAnswered as error:
        if error.problem.kind in ("client_gone", "stopping"):
            raise
        return own
    result = result_of(await api.ask(ranked.bytes, who, "result"))
    scores = {one["picture"]: float(one["score"]) for one in result["ranking"]}
    return [scores.get(one.files["picture"].id) for one in made]


def softmax(values: Sequence[float]) -> list[float]:
    """Positive numbers whose sum is 1."""
    greatest = max(values)
    powers = [math.exp(value - greatest) for value in values]
    return [power / sum(powers) for power in powers]


def _match(
    studio: Studio, who: Caller, drawn: Drawn, asked: Asked, began: float, chance: float, cosine: float | None
) -> dict[str, Any]:
    job = drawn.job
    png = handed_over(drawn.bytes(studio, who), "png", asked.size)
    scores = {"clip_score": _score(chance, "softmax")}
    if cosine is not None:
        scores["clip_score_cosine"] = _score(cosine, "cosine")
    tags = {
        "text": asked.text,
        "generator": f"{job.engine}/{job.checkpoint}",
        "request_time": began,
        "created_time": job.finished_at,
    }
    if "seed" in job.params:
        tags["seed"] = float(job.params["seed"])
    return document(
        id=drawn.files["picture"].id,
        adjacency=1,
        uri=data_uri(png, "image/png"),
        mime_type="image/png",
        text=asked.text,
        tags={**tags, **asked.tags},
        scores=scores,
    )


def _score(value: float, name: str) -> dict[str, Any]:
    return {"value": value, "op_name": name, "description": None, "ref_id": None}
