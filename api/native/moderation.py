"""Who did what, by visitor and by address, and what the host does about several at once. Needs the scope `host`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Host, Opened
from api.native.shapes import at
from db.errors import UnknownVisitor
from db.evening import tables
from db.evening.bulk import Action, Doings
from studio import moderation
from studio.context import Studio
from studio.moderation import MAX_AT_ONCE, MAX_BAN_S, Bulk

router = APIRouter(prefix="/host", tags=["host"])

MAX_LISTED = 1000
Limit = Annotated[int, Query(ge=1, le=MAX_LISTED)]
Named = Annotated[str, Field(max_length=128)]


class DoingsShape(BaseModel):
    """What a visitor, or all of one address, did. handle: of the visitor, see VisitorShape, or what stands for the
    address; neither leads back. address: the last known one of a visitor. banned_until: null: until it is lifted."""

    handle: str
    name: str | None
    address: str | None
    visitors: int
    asked: int
    waiting: int
    running: int
    votes: int
    uploads: int
    datasets: int
    dataset_bytes: int
    first_at: datetime | None
    last_at: datetime | None
    banned_at: datetime | None
    banned_until: datetime | None


class DoingsListShape(BaseModel):
    found: list[DoingsShape]


class NewBulk(BaseModel):
    """To whom, and what: at least one of each. A ban ends what they have in progress as well."""

    model_config = ConfigDict(extra="forbid")

    visitors: list[Named] = Field(default_factory=list, max_length=MAX_AT_ONCE, description="Their handles.")
    addresses: list[Named] = Field(default_factory=list, max_length=MAX_AT_ONCE, description="Their handles.")
    cancel: bool = Field(False, description="End what waits and runs.")
    hide: bool = Field(False, description="Take all their pictures out.")
    ban: bool = Field(False, description="Close queue and votes to them.")
    ban_s: float | None = Field(
        None,
        gt=0,
        le=MAX_BAN_S,
        allow_inf_nan=False,
        description="How long addresses stay banned, in s; null: until it is lifted.",
    )


class ActionShape(BaseModel):
    """What was done: jobs ended, pictures hidden, who was banned that was not before (handles)."""

    id: str
    at: datetime
    cancelled: int
    hidden: int
    visitors: list[str]
    addresses: list[str]
    undone_at: datetime | None


class ActionsShape(BaseModel):
    actions: list[ActionShape]


@router.get("/doings/visitors")
async def list_doings_of_visitors(api: Opened, who: Host, limit: Limit = 50) -> DoingsListShape:
    """Who asked, voted or sent pictures: the last one first, behind everybody who is banned."""
    return await api.ask(lambda studio: _list(moderation.people(studio, who.submitter, limit=limit), people=True))


@router.get("/doings/addresses")
async def list_doings_of_addresses(api: Opened, who: Host, limit: Limit = 50) -> DoingsListShape:
    """The same, of all who share an address together."""
    return await api.ask(lambda studio: _list(moderation.addresses(studio, who.submitter, limit=limit), people=False))


@router.post("/bulk", status_code=201)
async def act_on_many(api: Opened, who: Host, new: NewBulk) -> ActionShape:
    """Cancel, hide and ban, of several visitors and addresses at once: all of it or nothing."""

    def act(studio: Studio) -> ActionShape:
        wanted = Bulk(
            visitors=_ids(studio, who, new.visitors),
            addresses=new.addresses,
            cancel=new.cancel,
            hide=new.hide,
            ban=new.ban,
            ban_s=new.ban_s,
        )
        return _action(moderation.act(studio, who.submitter, wanted))

    return await api.ask(act)


@router.get("/bulk")
async def list_actions_on_many(api: Opened, who: Host, limit: Limit = 20) -> ActionsShape:
    """What was done to several at once, the last first."""

    def look(studio: Studio) -> ActionsShape:
        found = moderation.actions(studio, who.submitter, limit=limit)
        return ActionsShape(actions=[_action(one) for one in found])

    return await api.ask(look)


@router.post("/bulk/{action_id}/undo")
async def undo_action_on_many(api: Opened, who: Host, action_id: str) -> ActionShape:
    """Show again what it hid and lift the bans it made; jobs that it ended stay so."""
    return await api.ask(lambda studio: _action(moderation.undo(studio, who.submitter, action_id)))


@router.post("/addresses/{handle}/lift")
async def lift_ban_of_address(api: Opened, who: Host, handle: str) -> DoingsListShape:
    """Who comes from there may come back; the addresses as they are then."""

    def lift(studio: Studio) -> DoingsListShape:
        moderation.lift_address(studio, who.submitter, handle)
        return _list(moderation.addresses(studio, who.submitter), people=False)

    return await api.ask(lift)


def _ids(studio: Studio, who: Host, handles: list[str]) -> list[str]:
    """The visitors whom these handles stand for. Raises UnknownVisitor."""
    if not handles:
        return []
    known = {tables.alias(one.id): one.id for one in moderation.people(studio, who.submitter, limit=MAX_LISTED)}
    for handle in handles:
        if handle not in known:
            raise UnknownVisitor(handle)
    return [known[handle] for handle in handles]


def _list(found: list[Doings], *, people: bool) -> DoingsListShape:
    return DoingsListShape(
        found=[
            DoingsShape(
                handle=tables.alias(one.id) if people else one.id,
                name=one.name,
                address=one.address,
                visitors=one.visitors,
                asked=one.asked,
                waiting=one.waiting,
                running=one.running,
                votes=one.votes,
                uploads=one.uploads,
                datasets=one.datasets,
                dataset_bytes=one.dataset_bytes,
                first_at=_at(one.first_at),
                last_at=_at(one.last_at),
                banned_at=_at(one.banned_at),
                banned_until=_at(one.banned_until),
            )
            for one in found
        ]
    )


def _action(done: Action) -> ActionShape:
    return ActionShape(
        id=done.id,
        at=at(done.at),
        cancelled=done.cancelled,
        hidden=done.hidden,
        visitors=[tables.alias(visitor) for visitor in done.visitors],
        addresses=list(done.addresses),
        undone_at=_at(done.undone_at),
    )


def _at(seconds: float | None) -> datetime | None:
    return None if seconds is None else at(seconds)
