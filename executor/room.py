"""Whether there is room for what a job would make: asked before each claim, so that jobs wait instead of failing."""

from __future__ import annotations

import logging
import math
import os
import threading
import time

from db.artefacts import free_space
from db.errors import DiskNearlyFull, StoreUnavailable
from executor.context import Context

LOOK_EVERY_S = 0.5
MAX_WAIT_S = 15.0  # between two tries of a store that could not be written
MAX_PROBE_BYTES = 64 << 20


class Room:
    """The store and the disks of one executor. Used by the main loop, which does not wait here."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._nearly_full: str | None = None
        self._looked_at = -math.inf
        self._probing: threading.Thread | None = None

    def trouble(self) -> str | None:
        """What stands against claiming a job, as visitors may read it; None where there is room.

        A store that could not be written is tried by a thread of its own until it takes, and gives back, as many bytes
        as a job makes: where it is full, a few always fit.
        """
        context = self._context
        if context.store_trouble is not None:
            if self._probing is None or not self._probing.is_alive():
                self._probing = threading.Thread(target=self._probe, name="store-probe", daemon=True)
                self._probing.start()
            return context.store_trouble
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._look_at_disks()
        return self._nearly_full

    def _look_at_disks(self) -> None:
        context, before = self._context, self._nearly_full
        try:
            free_space.check(context.db, context.store, context.settings.min_free_bytes, work_dir=context.work_dir)
        except DiskNearlyFull as error:
            self._nearly_full = error.public
            if before is None:
                context.event("waiting", logging.WARNING, error=str(error))
        else:
            self._nearly_full = None
            if before is not None:
                context.event("room_again")

    def _probe(self) -> None:
        context, wait = self._context, 0.5
        context.event("waiting", logging.WARNING, error=context.store_trouble)
        while not context.stop.wait(wait):
            try:
                self._try_store()
            except StoreUnavailable as error:
                context.store_trouble = error.public
            except Exception as error:  # whatever a client of a store elsewhere raises
                context.event("store_unavailable", logging.WARNING, error=f"{type(error).__name__}: {error}")
            else:
                context.store_trouble = None
                context.event("store_back")
                return
            wait = min(2 * wait, MAX_WAIT_S)

    def _try_store(self) -> None:
        context = self._context
        key = f"executors/{context.worker_id}/probe.bin"
        data = os.urandom(min(context.probe_bytes, MAX_PROBE_BYTES))  # which no file system makes smaller
        try:
            context.store.put(key, data)
            if context.store.get(key) != data:
                raise StoreUnavailable("The artefact store gives back other bytes than were put into it.")
        finally:
            context.store.delete(key)
