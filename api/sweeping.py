"""What was given and is of no use any more goes also while no executor is alive, which else sweep."""

from __future__ import annotations

import asyncio

from api.opened import Api, log
from db.artefacts import sweeping
from db.artefacts.sweeping import Swept
from db.errors import DbError
from db.queue import workers
from studio.context import Studio

FIRST_S, EVERY_S = 60.0, 600.0


async def sweep(api: Api) -> None:
    """Sweeps now and then for as long as the server runs."""
    wait_s = FIRST_S
    while True:
        try:
            await asyncio.wait_for(api.stopping.wait(), wait_s)
            return
        except TimeoutError:
            wait_s = EVERY_S
        try:
            swept = await api.ask(swept_unless_executors_do)
            if swept.due or swept.strays:
                log.info("swept: %d pictures that were due, %d files without a row", swept.due, swept.strays)
        except DbError:
            continue  # the next look may find it back
        except Exception:
            log.exception("nothing could be swept")


def swept_unless_executors_do(studio: Studio) -> Swept:
    """One sweep where no executor is alive. Raises StoreUnavailable, DatabaseUnavailable."""
    return Swept() if workers.live(studio.db) else sweeping.sweep(studio.db, studio.store)
