"""The studio from Python, for favourites and boards: the client of api/client.py with five words more.

    studio = Keeper("http://localhost:8501", key="...")
    studio.keep([job], "for the poster")  # without a name: among the favourites
    for job in studio.jobs(board="for the poster"):
        job.save(f"{job.id}.png")

Beside api/client.py it may be copied to where it is wanted. `AsyncKeeper` has the same words, to be awaited.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from api.client import ROOT, AsyncStudio, Studio, _now

FAVOURITES = ""


class AsyncKeeper(AsyncStudio):
    """A studio and what is kept of it, to be awaited. jobs: of the studio, or their ids."""

    async def boards(self) -> dict[str, int]:
        """The names of your boards and how many pictures are on each; the favourites under ""."""
        told = await self._wire.get("/boards")
        return {FAVOURITES: told["favourites"]} | {one["name"]: one["pictures"] for one in told["boards"]}

    async def keep(self, jobs: Sequence[Any], board: str = FAVOURITES) -> None:
        """Put finished pictures on a board, which is made where there is none of that name. Raises StudioError."""
        if board != FAVOURITES:
            await self._wire.post("/boards", name=board, job_ids=[_id(job) for job in jobs])
            return
        for job in jobs:
            await self._wire.ask("PUT", f"{ROOT}/jobs/{_id(job)}/favourite")

    async def let_go(self, jobs: Sequence[Any], board: str = FAVOURITES) -> None:
        """Take pictures off a board; they stay in the gallery, and a board goes with its last picture."""
        place = "favourite" if board == FAVOURITES else f"boards?name={quote(board, safe='')}"
        for job in jobs:
            await self._wire.ask("DELETE", f"{ROOT}/jobs/{_id(job)}/{place}")

    async def rename_board(self, board: str, new: str) -> None:
        """Give a board another name. Raises Unknown, BadRequest."""
        await self._wire.ask("PATCH", f"{ROOT}/boards?name={quote(board, safe='')}", name=new)

    async def drop_board(self, board: str) -> None:
        """Take a board away; its pictures stay in the gallery. Raises Unknown."""
        await self._wire.ask("DELETE", f"{ROOT}/boards?name={quote(board, safe='')}")


class Keeper(Studio):
    """A studio and what is kept of it: the words of AsyncKeeper, at once."""

    boards, keep, let_go = _now(AsyncKeeper.boards), _now(AsyncKeeper.keep), _now(AsyncKeeper.let_go)
    rename_board, drop_board = _now(AsyncKeeper.rename_board), _now(AsyncKeeper.drop_board)


def _id(job: Any) -> str:
    return str(getattr(job, "id", job))
