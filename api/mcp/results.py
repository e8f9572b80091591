"""What tools answer with: jobs in a few plain fields, and their pictures, small, as image content."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from mcp_types import ImageContent
from PIL import Image
from pydantic import BaseModel, Field

from api.mcp.calls import Call
from api.native.shapes import JobShape, jobs_of
from db import artefacts
from db.errors import UnknownArtefact
from db.jobs import State
from studio import access
from studio.context import Studio, Submitter
from studio.standing import result_of

MAX_SHOWN = 8  # pictures in one answer; the others by their addresses
SIDE = 512  # px, of a picture in an answer
SHEET_SIDE = 1024


class Place(BaseModel):
    """A picture in a ranking."""

    job_id: str | None
    score: float = Field(description="How much CLIP sees the prompt in it, -1 to 1.")


class JobTold(BaseModel):
    """A job."""

    job_id: str
    state: State
    engine: str
    prompt: str
    seed: int | None = Field(None, description="Makes the same picture again with the same settings.")
    score: float | None = Field(None, description="How much CLIP sees the prompt in the picture, -1 to 1.")
    step: int
    total_steps: int
    position: int | None = Field(None, description="In the queue; 1 is next. null where it does not wait.")
    wait_s: float | None = Field(None, description="Estimated seconds until it starts.")
    error: str | None = Field(None, description="Why it failed.")
    picture_url: str | None = Field(None, description="The picture in full size, a PNG with its settings.")
    film_url: str | None = Field(None, description="How it formed, a GIF.")
    ranking: list[Place] | None = Field(None, description="Of a ranking: best first.")

    @classmethod
    def of(cls, studio: Studio, submitter: Submitter, address: str, job: JobShape) -> JobTold:
        """A job as tools tell it. address: as of a Call."""
        urls = {file.kind: address + file.url for file in job.files}
        seed = job.params.get("seed")
        return cls(
            job_id=job.id,
            **{name: getattr(job, name) for name in _SAME},
            seed=seed if isinstance(seed, int) else None,
            error=job.error.message if job.error else None,
            picture_url=urls.get("picture"),
            film_url=urls.get("gif"),
            ranking=_ranking(studio, submitter, job),
        )


_SAME = ("state", "engine", "prompt", "score", "step", "total_steps", "position", "wait_s")


class JobsTold(BaseModel):
    """Jobs, in the order in which they were asked for."""

    jobs: list[JobTold]
    sheet_id: str | None = Field(None, description="Where they were asked for together.")
    unfinished: list[str] = Field(description="Those that wait or run still: pass them to `wait`.")


@dataclass(frozen=True)
class Answer:
    """What a tool answers: structured content, and pictures beside it."""

    told: BaseModel
    images: Sequence[ImageContent] = ()


async def jobs_answer(call: Call, job_ids: Sequence[str], shown: bytes | None = None) -> Answer:
    """Jobs as they are now, with their pictures; shown: one picture in place of those."""

    def look(studio: Studio, submitter: Submitter) -> Answer:
        jobs = jobs_of(studio, submitter, [access.job(studio, submitter, job_id) for job_id in job_ids])
        told = [JobTold.of(studio, submitter, call.address, job) for job in jobs]
        sheets = {job.sheet_id for job in jobs}
        live = [job.id for job in jobs if job.state in (State.QUEUED, State.RUNNING)]
        whole = JobsTold(jobs=told, sheet_id=sheets.pop() if len(sheets) == 1 else None, unfinished=live)
        if shown is not None:
            return Answer(whole, [small(shown, SHEET_SIDE)])
        made = [data for job in jobs if (data := _file(studio, submitter, job, "picture")) is not None]
        return Answer(whole, [small(data) for data in made[:MAX_SHOWN]])

    return await call.ask(look)


def small(data: bytes, side: int = SIDE) -> ImageContent:
    """A picture of at most `side` px, as WebP."""
    with Image.open(io.BytesIO(data)) as found:
        image = found.convert("RGB")
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "WEBP", quality=85)
    return ImageContent(type="image", data=base64.b64encode(out.getvalue()).decode(), mime_type="image/webp")


def _file(studio: Studio, submitter: Submitter, job: JobShape, kind: str) -> bytes | None:
    named = next((file.id for file in job.files if file.kind == kind), None)
    if named is None:
        return None
    try:
        return access.file(studio, submitter, artefacts.get(studio.db, named))
    except UnknownArtefact:  # deleted just now
        return None


def _ranking(studio: Studio, submitter: Submitter, job: JobShape) -> list[Place] | None:
    data = _file(studio, submitter, job, "result") if job.engine == "rank" else None
    if data is None:
        return None
    ranking = result_of(data)["ranking"]
    return [Place(job_id=_job_of(studio, one["picture"]), score=one["score"]) for one in ranking]


def _job_of(studio: Studio, artefact_id: str) -> str | None:
    try:
        return artefacts.get(studio.db, artefact_id).job_id
    except UnknownArtefact:
        return None
