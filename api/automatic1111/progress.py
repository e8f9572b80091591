"""How far a caller's calls are, and ending them early: what there is of the pictures is their answer then."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query
from PIL import Image

from api.automatic1111.calls import Remembered
from api.automatic1111.shapes import Progress
from api.callers import Asker, Opened, Reader
from api.opened import Api
from db.errors import UnknownJob
from db.jobs import State
from db.queue.glances import Glance, glances
from studio import access
from studio.context import Studio, Submitter
from studio.sheets import cancel_all

router = APIRouter(tags=["automatic1111"])


@router.get("/progress")
async def progress(
    api: Opened,
    who: Reader,
    kept: Remembered,
    skip_current_image: Annotated[bool, Query(description="Without the picture so far.")] = False,
) -> Progress:
    """The caller's own calls in flight: all zero where there is none."""
    calls = kept.calls_of(who.submitter.id)
    ids = [job_id for call in calls for job_id in call.job_ids]
    found = await api.ask(lambda studio: glances(studio.db, ids)) if ids else {}
    shown = _in_progress(ids, found)
    image = None
    if shown is not None and shown.preview is not None and not skip_current_image:
        image = await api.ask(picture_of, who.submitter, shown)
    ended = sum(found[job_id].ended for job_id in ids if job_id in found)
    return Progress(
        progress=round(sum(map(_share, found.values())) / len(ids), 4) if ids else 0.0,
        eta_relative=round(max((_left(api, glance, found.values()) for glance in found.values()), default=0.0), 2),
        state={
            "skipped": any(call.cut for call in calls),
            "interrupted": any(call.interrupted.is_set() for call in calls),
            "stopping_generation": False,
            "job": calls[0].kind if calls else "",
            "job_count": len(ids),
            "job_timestamp": calls[0].timestamp if calls else "0",
            "job_no": ended,
            "sampling_step": shown.step if shown else 0,
            "sampling_steps": shown.total_steps if shown else 0,
        },
        current_image=base64.b64encode(image).decode() if image else None,
        textinfo=_told(api, ids, shown),
    )


@router.post("/interrupt")
async def interrupt(api: Opened, who: Asker, kept: Remembered) -> dict[str, str]:
    """End the caller's own calls: each is answered at once, with what there is of its pictures."""
    for call in kept.calls_of(who.submitter.id):
        call.cut |= await api.ask(_cut, who.submitter, call.job_ids)
        call.interrupted.set()
    return {}


@router.post("/skip")
async def skip(api: Opened, who: Asker, kept: Remembered) -> dict[str, str]:
    """End the picture that `progress` shows; its call goes on with the others."""
    calls = kept.calls_of(who.submitter.id)
    ids = [job_id for call in calls for job_id in call.job_ids]
    shown = _in_progress(ids, await api.ask(lambda studio: glances(studio.db, ids)) if ids else {})
    for call in calls:
        if shown is not None and shown.id in call.job_ids:
            call.cut |= await api.ask(_cut, who.submitter, [shown.id])
    return {}


def picture_of(studio: Studio, submitter: Submitter, glance: Glance) -> bytes | None:
    """The newest picture of a job so far as PNG; None where there is none that they may see."""
    found = access.preview(studio, submitter, glance.preview[0]) if glance.preview else None
    if found is None:
        return None
    out = io.BytesIO()
    with Image.open(io.BytesIO(found[0])) as image:
        image.convert("RGB").save(out, "PNG")
    return out.getvalue()


def _cut(studio: Studio, submitter: Submitter, job_ids: Iterable[str]) -> dict[str, bytes | None]:
    """Cancel those of the jobs that have not ended; the picture so far of each."""
    live = [one for one in glances(studio.db, list(job_ids)).values() if not one.ended]
    pictures = {one.id: picture_of(studio, submitter, one) for one in live}
    with suppress(UnknownJob):
        cancel_all(studio, submitter, pictures)
    return pictures


def _in_progress(ids: Iterable[str], found: Mapping[str, Glance]) -> Glance | None:
    """The first that runs."""
    running = (found[one] for one in ids if one in found and found[one].state == State.RUNNING)
    return next((one for one in running if not one.cancel_requested), None)


def _share(glance: Glance) -> float:
    if glance.ended:
        return 1.0
    return min(glance.step / max(glance.total_steps, 1), 1.0) if glance.state == State.RUNNING else 0.0


def _left(api: Api, glance: Glance, around: Iterable[Glance]) -> float:
    """s until the job has ended: the told wait, then its steps at the speed of the caller's jobs, as far as known."""
    if glance.ended:
        return 0.0
    place = api.watch.place(glance.id)
    wait = place.wait if place is not None and place.wait is not None else 0.0
    speed = glance.steps_per_s or next((one.steps_per_s for one in around if one.steps_per_s), None)
    done = glance.step if glance.state == State.RUNNING else 0
    return wait + (max(glance.total_steps - done, 0) / speed if speed else 0.0)


def _told(api: Api, ids: Iterable[str], shown: Glance | None) -> str | None:
    """Where the first of the jobs waits, while none of them runs."""
    place = next((place for job_id in ids if (place := api.watch.place(job_id)) is not None), None)
    if shown is not None or place is None or place.position < 1:
        return None
    return f"Waiting: number {place.position} in the queue" + (
        "." if place.wait is None else f", about {place.wait:.0f} s until it starts."
    )
