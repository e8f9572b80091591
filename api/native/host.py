"""What the host does about the queue, the pictures, the visitors and the rules. Needs a key of the scope `host`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Caller, Host, Opened
from api.native.shapes import JobShape, at, job_of, jobs_of
from api.opened import Api
from db.evening import tables
from db.evening.moderation import Visitor
from db.rules import host_rules
from db.rules.host_rules import (
    MAX_CODE_LENGTH,
    MAX_IN_ALL,
    MAX_JOB_S,
    MAX_PER_HOUR,
    MAX_QUEUED,
    MAX_WORDS,
    MIN_CODE_LENGTH,
    Rules,
)
from studio import access, host, wall
from studio.context import Studio, Submitter
from studio.host import NewRules

router = APIRouter(prefix="/host", tags=["host"])


class Action(StrEnum):
    """front: serve it next. hide, show: take the picture out, or bring it back. cancel: end it, whoever asked. approve,
    decline: let it onto the wall, or keep it off it."""

    FRONT = "front"
    HIDE = "hide"
    SHOW = "show"
    CANCEL = "cancel"
    APPROVE = "approve"
    DECLINE = "decline"


_ACTIONS: dict[Action, Callable[[Studio, Submitter, str], None]] = {
    Action.FRONT: host.to_front,
    Action.HIDE: host.hide,
    Action.SHOW: host.unhide,
    Action.CANCEL: host.cancel,
    Action.APPROVE: wall.approve,
    Action.DECLINE: wall.decline,
}


class PausedShape(BaseModel):
    paused: bool


class VisitorShape(BaseModel):
    """Who has asked for pictures: a browser, a key or an address. handle: stands for them here and in the files of
    votes and jobs; it leads nowhere, since whoever knew a visitor's id could act in their name."""

    handle: str
    name: str | None
    banned_at: datetime | None
    asked: int
    live: int
    last_at: datetime | None


class VisitorsShape(BaseModel):
    visitors: list[VisitorShape]


class WaitingShape(BaseModel):
    """Finished pictures that wait for the host's word, the newest first. count: of all of them, at most 100."""

    jobs: list[JobShape]
    count: int


class Ban(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hide_pictures: bool = Field(False, description="Take all their pictures out as well.")


class RulesShape(BaseModel):
    """What the host has set. null: as configured. engines: those that visitors may use."""

    max_queued: int | None
    max_per_hour: int | None
    max_queued_per_address: int | None
    max_per_hour_per_address: int | None
    max_queued_in_all: int | None
    event_code: str | None
    max_job_s: float | None
    train: bool | None
    wall_approval: bool
    refused_words: list[str]
    engines: list[str]
    default_engine: str | None
    default_checkpoint: str | None


class NewRulesShape(BaseModel):
    """All rules at once; what is left out goes back to what is configured, for engines: all of them."""

    model_config = ConfigDict(extra="forbid")

    max_queued: int | None = Field(None, ge=1, le=MAX_QUEUED)
    max_per_hour: int | None = Field(None, ge=1, le=MAX_PER_HOUR)
    max_queued_per_address: int | None = Field(None, ge=1, le=MAX_IN_ALL)
    max_per_hour_per_address: int | None = Field(None, ge=1, le=MAX_IN_ALL)
    max_queued_in_all: int | None = Field(None, ge=1, le=MAX_IN_ALL)
    event_code: str | None = Field(
        None,
        min_length=MIN_CODE_LENGTH,
        max_length=MAX_CODE_LENGTH,
        description="What visitors show once before they draw, vote or send pictures.",
    )
    max_job_s: float | None = Field(
        None,
        ge=0,
        le=MAX_JOB_S,
        allow_inf_nan=False,
        description="What one job may cost, in s of an executor that works on nothing else; 0: no limit.",
    )
    train: bool | None = Field(None, description="Whether visitors may have models trained.")
    wall_approval: bool = Field(False, description="Whether the wall shows only what the host has approved.")
    refused_words: list[str] = Field(default_factory=list, max_length=MAX_WORDS)
    engines: list[str] | None = Field(None, max_length=100)
    default_engine: str | None = Field(None, max_length=64)
    default_checkpoint: str | None = Field(None, max_length=128)


@router.post("/pause")
async def pause(api: Opened, who: Host) -> PausedShape:
    """Executors finish what they have and claim nothing."""
    return await _after(api, who, host.pause)


@router.post("/resume")
async def resume(api: Opened, who: Host) -> PausedShape:
    """Executors claim again."""
    return await _after(api, who, host.resume)


@router.post("/jobs/{job_id}/{action}")
async def act_on_job(api: Opened, who: Host, job_id: str, action: Action) -> JobShape:
    """Serve a job next, hide or show its picture, let it onto the wall or not, or end it."""

    def act(studio: Studio) -> JobShape:
        access.job(studio, who.submitter, job_id)
        _ACTIONS[action](studio, who.submitter, job_id)
        return job_of(studio, who.submitter, access.job(studio, who.submitter, job_id))

    return await api.ask(act)


@router.get("/wall")
async def list_waiting_for_wall(
    api: Opened, who: Host, limit: Annotated[int, Query(ge=1, le=access.MAX_PAGE)] = 24
) -> WaitingShape:
    """What is finished and was neither approved nor declined for the wall."""

    def waiting(studio: Studio) -> WaitingShape:
        found, count = wall.waiting(studio, who.submitter, limit=limit)
        return WaitingShape(jobs=jobs_of(studio, who.submitter, found), count=count)

    return await api.ask(waiting)


@router.get("/visitors")
async def list_visitors(
    api: Opened, who: Host, limit: Annotated[int, Query(ge=1, le=host.MAX_LOOKED_AT)] = 50
) -> VisitorsShape:
    """Who has asked for pictures, the last one first, behind everybody who is banned."""

    def recent(studio: Studio) -> VisitorsShape:
        found = host.recent_visitors(studio, who.submitter, limit=limit)
        return VisitorsShape(visitors=[_visitor(one) for one in found])

    return await api.ask(recent)


@router.post("/visitors/{handle}/ban")
async def ban(api: Opened, who: Host, handle: str, how: Ban | None = None) -> VisitorShape:
    """Close queue and votes to a visitor; what they have in progress ends."""

    def close(studio: Studio) -> VisitorShape:
        visitor = host.visitor_called(studio, who.submitter, handle)
        host.ban(studio, who.submitter, visitor.id, bool(how and how.hide_pictures))
        return _visitor(host.visitor_called(studio, who.submitter, handle))

    return await api.ask(close)


@router.post("/visitors/{handle}/lift")
async def lift_ban(api: Opened, who: Host, handle: str) -> VisitorShape:
    """Let a visitor come back; what was hidden stays so."""

    def lift(studio: Studio) -> VisitorShape:
        host.lift_ban(studio, who.submitter, host.visitor_called(studio, who.submitter, handle).id)
        return _visitor(host.visitor_called(studio, who.submitter, handle))

    return await api.ask(lift)


@router.get("/rules")
async def get_rules(api: Opened, who: Host) -> RulesShape:
    """What holds for visitors."""
    return await api.ask(lambda studio: _rules(host_rules.get(studio.db)))


@router.put("/rules")
async def set_rules(api: Opened, who: Host, new: NewRulesShape) -> RulesShape:
    """Set all rules, or none where one of them cannot be set; they hold from the next request on."""

    def change(studio: Studio) -> RulesShape:
        wanted = NewRules(
            max_queued=new.max_queued,
            max_per_hour=new.max_per_hour,
            max_queued_per_address=new.max_queued_per_address,
            max_per_hour_per_address=new.max_per_hour_per_address,
            max_queued_in_all=new.max_queued_in_all,
            event_code=new.event_code,
            max_job_s=new.max_job_s,
            train=new.train,
            wall_approval=new.wall_approval,
            refused_words=new.refused_words,
            shown=host.may_be_withheld() if new.engines is None else new.engines,
            default_engine=new.default_engine,
            default_checkpoint=new.default_checkpoint,
        )
        return _rules(host.set_rules(studio, who.submitter, wanted))

    return await api.ask(change)


async def _after(api: Api, who: Caller, action: Callable[[Studio, Submitter], None]) -> PausedShape:
    def act(studio: Studio) -> PausedShape:
        action(studio, who.submitter)
        return PausedShape(paused=host_rules.get(studio.db).paused)

    return await api.ask(act)


def _visitor(found: Visitor) -> VisitorShape:
    return VisitorShape(
        handle=tables.alias(found.id),
        name=found.name,
        banned_at=None if found.banned_at is None else at(found.banned_at),
        asked=found.asked,
        live=found.live,
        last_at=None if found.last_at is None else at(found.last_at),
    )


def _rules(found: Rules) -> RulesShape:
    return RulesShape(
        max_queued=found.max_queued,
        max_per_hour=found.max_per_hour,
        max_queued_per_address=found.max_queued_per_address,
        max_per_hour_per_address=found.max_per_hour_per_address,
        max_queued_in_all=found.max_queued_in_all,
        event_code=found.event_code,
        max_job_s=found.max_job_s,
        train=found.train,
        wall_approval=found.wall_approval,
        refused_words=list(found.refused_words),
        engines=[name for name in host.may_be_withheld() if name not in found.withheld],
        default_engine=found.default_engine,
        default_checkpoint=found.default_checkpoint,
    )
