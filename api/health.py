"""Whether the server is alive, and whether it could queue a job."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from api.callers import Opened
from db import engine, queue
from db.jobs import State
from db.queue import workers
from studio.context import Studio
from studio.room import check_room

liveness = APIRouter(tags=["operations"])
router = APIRouter(tags=["operations"])


class AliveShape(BaseModel):
    status: str = "ok"


class ReadyShape(AliveShape):
    """How many executors are alive, and how many jobs wait and run."""

    executors: int
    queued: int
    running: int


@liveness.get("/healthz")
async def alive() -> AliveShape:
    """The server answers."""
    return AliveShape()


@router.get("/readyz")
async def ready(api: Opened) -> ReadyShape:
    """The database and the store can be used: 503 where not, 507 where too little room is left on a disk. Jobs are
    taken also while no executor is alive."""

    def look(studio: Studio) -> ReadyShape:
        engine.check(studio.db)
        studio.store.check()
        check_room(studio)
        counts = queue.counts(studio.db)
        executors = len(workers.live(studio.db))
        return ReadyShape(executors=executors, queued=counts[State.QUEUED], running=counts[State.RUNNING])

    return await api.ask(look)


router.include_router(liveness)
