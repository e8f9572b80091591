"""Tools for favourites and boards: pictures kept together, for whoever keeps them alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.mcp.arguments import Keep, OfBoard
from api.mcp.calls import Call
from api.mcp.results import Answer, JobsTold, jobs_answer
from api.native.boards import named, put_on, told_apart
from db.boards import FAVOURITES
from db.queue import Narrowed
from studio import access, gallery
from studio.context import Studio, Submitter


class BoardsTold(BaseModel):
    """How many pictures are kept, and where."""

    favourites: int
    boards: dict[str, int] = Field(description="The names of the boards, and how many pictures are on each.")


class KeptTold(JobsTold, BoardsTold):
    """Pictures that are kept, the newest first, beside all boards."""


async def keep(call: Call, args: Keep) -> Answer:
    """Keep finished pictures among your favourites or on a board, which is made where there is none of that name; or
    take them off it. They stay in the gallery, and what you keep is shown to nobody else."""
    mine = told_apart(call.api, call.caller)
    name = FAVOURITES if args.board is None else named(args.board)

    def change(studio: Studio) -> BoardsTold:
        if args.off:
            gallery.take_away(studio, mine, args.job_ids, name)
        else:
            put_on(studio, mine, args.job_ids, name)
        return BoardsTold(**_boards(studio, mine))

    return Answer(await call.api.ask(change))


async def kept(call: Call, args: OfBoard) -> Answer:
    """See the pictures you keep among your favourites or on a board, and which boards there are."""
    mine = told_apart(call.api, call.caller)
    narrowed = Narrowed(board=(mine.id, FAVOURITES if args.board is None else named(args.board)))
    found = await call.ask(access.jobs, limit=args.limit, narrowed=narrowed)
    answer = await jobs_answer(call, [job.id for job in found])
    boards = await call.ask(_boards)
    return Answer(KeptTold.model_validate(answer.told.model_dump() | boards), answer.images)


def _boards(studio: Studio, submitter: Submitter) -> dict[str, Any]:
    found = gallery.boards_of(studio, submitter)
    return {"favourites": found.pop(FAVOURITES), "boards": found}
