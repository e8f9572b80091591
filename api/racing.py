"""Several things awaited at once, of which the first to come decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def racing(
    *steps: Coroutine[Any, Any, Any], timeout_s: float | None = None
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """A task of each, once one of them has ended or the time is over. What goes on then ends with the block."""
    tasks = [asyncio.create_task(one) for one in steps]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
