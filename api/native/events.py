"""A job's events as they happen (server-sent events).

The id of an event is `STATE.STEP`: the last change of state that is in the database, and the step. Who comes back with
it as Last-Event-ID, to this server or to another, is told every change since and how far the job is now.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.callers import Opened, Reader
from api.native.shapes import at, job_of
from api.opened import Api
from api.problems import Stopping
from db import queue
from db.errors import DatabaseUnavailable, UnknownJob
from db.queue import Event
from db.queue.glances import Glance
from studio import access
from studio.context import Submitter

router = APIRouter(tags=["jobs"])

PING_S = 15
AGAIN_MS = 1000  # after which a client that lost the connection comes back
_ID = re.compile(r"(\d{1,15})\.(\d{1,9})")
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["state", "progress", "preview", "done", "gone"]},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}},
)
async def follow_job(
    api: Opened,
    who: Reader,
    job_id: str,
    previews: Annotated[bool, Query(description="With the picture as it forms, in base64.")] = True,
    last_event_id: Annotated[str | None, Header(description="Go on after this event.")] = None,
) -> EventSourceResponse:
    """Events of a job until it has ended: `state` (every change), `progress` (step, score, told wait), `preview` (the
    picture so far), and `done` with the job as it ended."""
    await api.ask(access.job, who.submitter, job_id)
    api.watch.check(who.submitter.id)
    after = _ID.fullmatch(last_event_id or "")
    events = job_events(api, who.submitter, job_id, int(after[1]) if after else 0, previews)
    return EventSourceResponse(events, ping=PING_S, headers={"cache-control": "no-store"})


async def job_events(
    api: Api, submitter: Submitter, job_id: str, after: int, previews: bool
) -> AsyncIterator[ServerSentEvent]:
    """The events of one job, changes of state after the event of this id."""
    state: tuple[Any, ...] = ()
    progress: dict[str, Any] = {}
    preview = None
    try:
        async for found in api.watch.follow([job_id], who=submitter.id, told=True):
            glance = found[job_id]
            if glance.hidden and not submitter.is_host:
                return
            if (glance.state, glance.attempt, glance.cancel_requested) != state:
                state = glance.state, glance.attempt, glance.cancel_requested
                for event in await api.run(lambda: queue.events(api.studio.db, job_id)):
                    if event.id > after:
                        after = event.id
                        yield _event("state", after, glance, {"state": glance.state, **_change(event)})
            if not glance.ended and (now := _progress(api, glance)) != progress:
                progress = now
                yield _event("progress", after, glance, now)
            if previews and glance.preview is not None and glance.preview != preview and not glance.ended:
                preview = glance.preview
                shown = await api.ask(access.preview, submitter, preview[0])
                if shown is not None:
                    told = {"media_type": shown[1], "b64_json": base64.b64encode(shown[0]).decode()}
                    yield _event("preview", after, glance, {"step": glance.step, **told})
        job = await api.ask(lambda studio: job_of(studio, submitter, queue.get(studio.db, job_id)))
        yield _event("done", after, glance, job.model_dump(mode="json"))
    except (Stopping, DatabaseUnavailable):
        return  # the client comes back with the id of the last event
    except UnknownJob as gone:
        yield ServerSentEvent(json.dumps({"detail": str(gone)}), event="gone")


def _event(kind: str, after: int, glance: Glance, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data), event=kind, id=f"{after}.{glance.step}", retry=AGAIN_MS)


def _change(event: Event) -> dict[str, Any]:
    return {"change": event.kind, "at": at(event.at).isoformat(), "detail": event.detail}


def _progress(api: Api, glance: Glance) -> dict[str, Any]:
    place = api.watch.place(glance.id)
    return {
        "state": glance.state,
        "step": glance.step,
        "total_steps": glance.total_steps,
        "score": glance.score,
        "steps_per_s": glance.steps_per_s,
        "position": place.position if place else None,
        "wait_s": place.wait if place else None,
    }
