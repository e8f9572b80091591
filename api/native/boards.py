"""Boards and favourites: pictures you keep together, under a name or without one. Nobody else is shown them.

They are a key's own, or of the programs on this machine; elsewhere callers without a key are not told apart, and have
none.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from api.callers import Asker, Caller, Opened, Reader, is_told_apart
from api.opened import Api
from api.problems import NotAnswered
from db.boards import FAVOURITES
from db.errors import UnknownBoard
from db.queue import NOT_NARROWED, Narrowed
from studio import access, gallery
from studio.context import Studio, Submitter
from studio.errors import BadWish

router = APIRouter(tags=["boards"])

MAX_TYPED = 200  # characters of a name as it comes; blanks too many are taken out of it
Name = Annotated[str, Field(min_length=1, max_length=MAX_TYPED, description="Of a board: 1 to 40 characters.")]
Named = Annotated[str, Query(min_length=1, max_length=MAX_TYPED, description="Of the board.")]
JobIds = Annotated[list[str], Field(min_length=1, max_length=access.MAX_PAGE, description="Jobs with a picture.")]


class BoardShape(BaseModel):
    """A board of yours. It is there as long as a picture is on it."""

    name: str
    pictures: int


class BoardsShape(BaseModel):
    """Your boards by name, and how many favourites you have."""

    favourites: int
    boards: list[BoardShape]


class KeptShape(BaseModel):
    """Where you keep a picture."""

    job_id: str
    favourite: bool
    boards: list[str]


class NewBoard(BaseModel):
    """Pictures to be put on a board."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    job_ids: JobIds


class Renamed(BaseModel):
    """The new name of a board."""

    model_config = ConfigDict(extra="forbid")

    name: Name


async def _whose(api: Opened, who: Reader) -> Submitter:
    """Whose boards are looked at. Raises NotAnswered (403) for a program not told from others at its address."""
    return told_apart(api, who)


async def _whose_to_change(api: Opened, who: Asker) -> Submitter:
    """The same, of boards that are changed."""
    return told_apart(api, who)


def told_apart(api: Api, who: Caller) -> Submitter:
    """Who is asked for, where they are told from everybody else. Raises NotAnswered (403)."""
    if not is_told_apart(api, who):
        raise NotAnswered(
            403,
            "Without a key you are not told from others at your address, so nothing is kept for you; ask with a key.",
            "needs_key",
        )
    return who.submitter


def named(typed: str) -> str:
    """The name of a board as it is kept. Raises BadWish for blanks alone: what has no name are the favourites."""
    name = gallery.board_name(typed)
    if name == FAVOURITES:
        raise BadWish("A board has a name; what is kept without one are your favourites.")
    return name


Looker = Annotated[Submitter, Depends(_whose)]
Keeper = Annotated[Submitter, Depends(_whose_to_change)]


async def _kept_alone(
    api: Opened,
    who: Reader,
    favourite: Annotated[bool, Query(description="Only your favourites.")] = False,
    board: Annotated[
        str | None, Query(min_length=1, max_length=MAX_TYPED, description="Only what is on this board of yours.")
    ] = None,
) -> Narrowed:
    """What a list of pictures is narrowed to. Raises BadWish, and NotAnswered as for boards."""
    if not favourite and board is None:
        return NOT_NARROWED
    if favourite and board is not None:
        raise BadWish("Ask for favourites or for a board, not for both.")
    name = FAVOURITES if board is None else named(board)
    return Narrowed(board=(told_apart(api, who).id, name))


OnlyKept = Annotated[Narrowed, Depends(_kept_alone)]


@router.get("/boards")
async def list_boards(api: Opened, mine: Looker) -> BoardsShape:
    """Your boards by name, with how many pictures are on each, and how many favourites you have."""
    found = await api.ask(gallery.boards_of, mine)
    favourites = found.pop(FAVOURITES)
    return BoardsShape(
        favourites=favourites, boards=[BoardShape(name=name, pictures=count) for name, count in found.items()]
    )


@router.post("/boards", status_code=201)
async def put_on_board(api: Opened, mine: Keeper, new: NewBoard) -> BoardShape:
    """Put pictures on a board of yours, all of them or none; where there is none of this name, one is made. What is on
    it already stays."""

    def put(studio: Studio) -> BoardShape:
        put_on(studio, mine, new.job_ids, named(new.name))
        return _board(studio, mine, named(new.name))

    return await api.ask(put)


@router.patch("/boards")
async def rename_board(api: Opened, mine: Keeper, name: Named, new: Renamed) -> BoardShape:
    """Give a board of yours another name; one that another board has is refused (409)."""

    def rename(studio: Studio) -> BoardShape:
        was = _board(studio, mine, named(name))
        gallery.rename_board(studio, mine, was.name, named(new.name))
        return BoardShape(name=named(new.name), pictures=was.pictures)

    return await api.ask(rename)


@router.delete("/boards")
async def delete_board(api: Opened, mine: Keeper, name: Named) -> BoardShape:
    """Take a board of yours away; its pictures stay in the gallery. Answers what it was."""

    def take(studio: Studio) -> BoardShape:
        was = _board(studio, mine, named(name))
        gallery.take_board(studio, mine, was.name)
        return was

    return await api.ask(take)


@router.get("/jobs/{job_id}/boards")
async def list_boards_of_job(api: Opened, mine: Looker, job_id: str) -> KeptShape:
    """Whether a picture is among your favourites, and which boards of yours it is on."""
    return await api.ask(_kept, mine, job_id)


@router.put("/jobs/{job_id}/favourite")
async def add_favourite(api: Opened, mine: Keeper, job_id: str) -> KeptShape:
    """Keep a picture among your favourites."""
    return await api.ask(_put, mine, job_id, FAVOURITES)


@router.delete("/jobs/{job_id}/favourite")
async def remove_favourite(api: Opened, mine: Keeper, job_id: str) -> KeptShape:
    """Take a picture out of your favourites; it stays in the gallery."""
    return await api.ask(_take, mine, job_id, FAVOURITES)


@router.put("/jobs/{job_id}/boards")
async def add_to_board(api: Opened, mine: Keeper, job_id: str, name: Named) -> KeptShape:
    """Put a picture on a board of yours, as `POST boards` does with several."""
    return await api.ask(_put, mine, job_id, named(name))


@router.delete("/jobs/{job_id}/boards")
async def remove_from_board(api: Opened, mine: Keeper, job_id: str, name: Named) -> KeptShape:
    """Take a picture off a board of yours; it stays in the gallery. A board goes with its last picture."""
    return await api.ask(_take, mine, job_id, named(name))


def _put(studio: Studio, submitter: Submitter, job_id: str, name: str) -> KeptShape:
    put_on(studio, submitter, [job_id], name)
    return _kept(studio, submitter, job_id)


def _take(studio: Studio, submitter: Submitter, job_id: str, name: str) -> KeptShape:
    access.job(studio, submitter, job_id)
    gallery.take_away(studio, submitter, [job_id], name)
    return _kept(studio, submitter, job_id)


def put_on(studio: Studio, submitter: Submitter, job_ids: list[str], name: str) -> None:
    """Keep these finished pictures on a board. Raises UnknownJob, BadValue, and BadParams for what has none."""
    access.finished(studio, submitter, job_ids)
    gallery.keep(studio, submitter, job_ids, name)


def _kept(studio: Studio, submitter: Submitter, job_id: str) -> KeptShape:
    access.job(studio, submitter, job_id)
    names = gallery.on_boards(studio, submitter, [job_id])[job_id]
    return KeptShape(job_id=job_id, favourite=FAVOURITES in names, boards=sorted(names - {FAVOURITES}))


def _board(studio: Studio, submitter: Submitter, name: str) -> BoardShape:
    """The board of this name as it is now. Raises UnknownBoard."""
    found = gallery.boards_of(studio, submitter)
    if name not in found:
        raise UnknownBoard(name)
    return BoardShape(name=name, pictures=found[name])
