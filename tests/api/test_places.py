"""Many who ask at once where their jobs wait are answered by few looks at the queue, each as of after they asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from api.places import Places
from db import queue
from tests.pages.visits import Studio


def counted(visits: Studio) -> tuple[Places, list[int]]:
    """Places of that studio, and a list that grows with each look."""
    looks: list[int] = []

    async def run(call: Callable[[], Any]) -> Any:
        looks.append(1)
        return await asyncio.to_thread(call)

    return Places(run, lambda: visits.db), looks


def test_fifty_who_ask_at_once_share_a_look(visits: Studio) -> None:
    waiting = [visits.enqueue(f"picture {n}").id for n in range(50)]
    places, looks = counted(visits)

    async def ask() -> list[Any]:
        return await asyncio.gather(*(places.of([job_id]) for job_id in waiting))

    found = asyncio.run(ask())
    assert [one[job_id].position for one, job_id in zip(found, waiting, strict=True)] == list(range(1, 51))
    assert len(looks) == 1


def test_who_asks_during_a_look_is_told_what_is_so_afterwards(visits: Studio) -> None:
    first = visits.enqueue("first").id
    places, looks = counted(visits)

    async def ask() -> tuple[Any, Any]:
        earlier = asyncio.create_task(places.of([first]))
        while not looks:
            await asyncio.sleep(0)
        second = visits.enqueue("second").id
        return await earlier, (await places.of([second]))[second]

    earlier, later = asyncio.run(ask())
    assert earlier[first].position == 1 and later.position == 2 and len(looks) == 2


def test_one_that_goes_away_takes_nobody_along(visits: Studio) -> None:
    ids = [visits.enqueue(f"picture {n}").id for n in range(2)]
    places, _ = counted(visits)

    async def ask() -> Any:
        leaving, staying = (asyncio.create_task(places.of([job_id])) for job_id in ids)
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(ask())[ids[1]].position == 2


def test_a_job_that_is_gone_or_has_ended_spoils_nothing(visits: Studio) -> None:
    waiting, ended = visits.enqueue("waits").id, visits.enqueue("ends").id
    queue.request_cancel(visits.db, ended)
    places, looks = counted(visits)
    found = asyncio.run(places.of([waiting, ended, "0" * 26]))  # type: ignore[arg-type]
    assert found[waiting].position == 1 and found[ended].position == 0 and len(found) == 2
    assert asyncio.run(places.of([])) == {} and len(looks) == 1  # type: ignore[arg-type]
