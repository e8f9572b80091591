"""The gallery: finished pictures and other jobs, narrowed down and in some order, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from db import boards, queue
from db.jobs import Job, State
from db.queue import Narrowed
from generator.wording import Notice
from studio import access
from studio.context import Studio, Submitter
from studio.search import Query, search

PAGE = 24
WAIT_S = 2.0  # for what is searched for to be read
Order = Literal["newest", "best", "score"]
ORDERS: tuple[Order, ...] = ("newest", "best", "score")


@dataclass(frozen=True)
class Page:
    """Jobs, whether there are more, and where the next page begins; notices: sentences about what was searched.

    scored: they are in the order in which they are near to what is searched for. reading: that is being read by an
    executor; ask again.
    """

    jobs: list[Job]
    more: bool
    next: str | None = None
    notices: tuple[Notice, ...] = ()
    scored: bool = False
    reading: bool = False


@dataclass(frozen=True)
class Look:
    """What somebody wants to see of the gallery.

    search: a part of the prompt; meant: pictures that show that, or are like another, are looked for instead, and order
    is how near they are. engine, or without these engines. states: None for any. mine: their own alone. board:
    by its name, "" for their favourites, None for no board. settings: names with values as people write them. since,
    until: when it was asked for, in UTC s. order: newest, best (those that did well in votes), score (CLIP's). page:
    from 1. from_id: the newest job when page 1 was seen, so that the next pages go on from it.
    """

    search: str = ""
    meant: Query | None = None
    engine: str | None = None
    without: tuple[str, ...] = ()
    states: tuple[State, ...] | None = (State.SUCCEEDED,)
    mine: bool = False
    board: str | None = None
    settings: tuple[tuple[str, str], ...] = ()
    since: float | None = None
    until: float | None = None
    order: Order = "newest"
    page: int = 1
    from_id: str | None = None


def page(studio: Studio, submitter: Submitter, look: Look, rated: Sequence[str] = ()) -> Page:
    """The jobs of one page. rated: the ids of pictures, best first, for that order.

    Raises as studio.search.search where pictures are looked for by what they show.
    """
    skip = (max(look.page, 1) - 1) * PAGE
    board = None if look.board is None else (submitter.id, board_name(look.board))
    narrowed = Narrowed(look.from_id, look.until, board, look.settings)
    only: dict[str, Any] = {"search": look.search.strip() or None, "engine": look.engine, "without": look.without}
    only |= {"states": look.states, "since": look.since}
    if look.meant is not None:
        narrowed = replace(narrowed, from_id=None)
        after = look.from_id if look.page > 1 else None
        met = search(
            studio,
            submitter,
            look.meant,
            after=after,
            limit=PAGE,
            wait_s=WAIT_S,
            mine=look.mine,
            **{**only, "search": None},
            narrowed=narrowed,
        )
        return Page(met.jobs, met.after is not None, met.after, met.notices, True, met.waits is not None)
    if look.order == "best":
        of = submitter.id if look.mine else None
        seen = queue.seen_among(studio.db, rated, **only, submitter=of, narrowed=narrowed)
        found = queue.get_each(studio.db, seen[skip : skip + PAGE + 1])
    else:
        narrowed = replace(narrowed, by_score=look.order == "score", skip=skip)
        found = access.jobs(studio, submitter, limit=PAGE + 1, mine=look.mine, **only, narrowed=narrowed)
    begins = look.from_id
    if begins is None and found:  # what is asked for from now on is newer than this
        begins = found[0].id if look.order == "newest" else access.jobs(studio, submitter, limit=1)[0].id
    return Page(found[:PAGE], len(found) > PAGE, begins)


def keep(studio: Studio, submitter: Submitter, job_ids: Sequence[str], board: str = boards.FAVOURITES) -> None:
    """Keep pictures on a board of theirs. Raises UnknownJob, BadValue."""
    boards.put(studio.db, submitter.id, job_ids, board_name(board))


def take_away(studio: Studio, submitter: Submitter, job_ids: Collection[str], board: str = boards.FAVOURITES) -> None:
    """Take pictures off a board of theirs; they stay in the gallery. Raises BadValue."""
    boards.take(studio.db, submitter.id, job_ids, board_name(board))


def take_board(studio: Studio, submitter: Submitter, board: str) -> int:
    """Take a board of theirs away; its pictures stay in the gallery. How many there were on it. Raises BadValue."""
    return boards.take_all(studio.db, submitter.id, board_name(board))


def rename_board(studio: Studio, submitter: Submitter, board: str, new: str) -> str:
    """Give a board of theirs another name; that name as it is kept. Raises UnknownBoard, BoardTaken, BadValue."""
    kept = board_name(new)
    boards.rename(studio.db, submitter.id, board_name(board), kept)
    return kept


def boards_of(studio: Studio, submitter: Submitter) -> dict[str, int]:
    """Their boards by name and how many pictures are on each; favourites, under "", first and always there."""
    found = boards.of_submitter(studio.db, submitter.id)
    return {boards.FAVOURITES: found.pop(boards.FAVOURITES, 0), **found}


def on_boards(studio: Studio, submitter: Submitter, job_ids: Collection[str]) -> dict[str, set[str]]:
    """The names of their boards that each picture is on."""
    return boards.of_jobs(studio.db, submitter.id, job_ids)


def board_name(typed: str) -> str:
    """A board's name as it is kept: without blanks too many."""
    return " ".join(typed.split())
