"""Ends an executor whose main loop is stuck in one call of an engine: in native code nothing else can stop it.

A stuck executor looks alive, since its heartbeat goes on: its jobs would be kept for ever. Two watches look at each
call. A thread sees one that lets other threads run (a driver that waits for its device); it tells the database which
jobs were in it and ends the process. One that holds Python's lock stops that thread and the heartbeat as well: a timer
of faulthandler's, which needs no lock, ends the process, and the leases run out. scripts/run_executor.sh starts it
anew.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from db import queue
from db.errors import DbError
from executor.context import Context
from executor.job import Work

STALLED = 70  # the exit status
STDERR = 2  # its number, whatever has taken the place of sys.stderr
LOOKS = 20  # in T2I_STALL_S
LAST_SHARE = 1.5  # of it, after which the timer ends what the thread could not
STORE_S = 5.0  # how long files of other jobs being written are awaited
END_S = 10.0  # the process ends so long after it was found stuck, also where the database does not answer


class Watch:
    """Looks, once started, until the process ends.

    held: all jobs of the executor. stall_s: how long a call may take; 0: any time.
    """

    def __init__(self, context: Context, held: Callable[[], list[Work]], stall_s: float) -> None:
        self._context, self._held, self._stall_s = context, held, stall_s
        self._calls = 0
        self._within: tuple[int, Sequence[Work]] | None = None

    def start(self) -> None:
        """Begin to look, where it is asked for."""
        if self._stall_s:
            threading.Thread(target=self._look, name="stall", daemon=True).start()

    @contextmanager
    def over(self, works: Sequence[Work]) -> Iterator[None]:
        """Around a call of an engine on behalf of these jobs."""
        if not self._stall_s:
            yield
            return
        self._calls += 1
        self._within = self._calls, works
        faulthandler.dump_traceback_later(LAST_SHARE * self._stall_s, exit=True, file=STDERR)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._within = None

    def _look(self) -> None:
        # Looks are counted, not the time: none is made while the machine sleeps or the process is paused.
        seen, looks = 0, 0
        while True:
            time.sleep(self._stall_s / LOOKS)
            within = self._within
            if within is None or within[0] != seen:
                seen, looks = within[0] if within else 0, 0
                continue
            looks += 1
            if looks >= LOOKS:
                self._end(within[1])

    def _end(self, stuck: Sequence[Work]) -> None:
        faulthandler.cancel_dump_traceback_later()
        context, ids = self._context, [work.job.id for work in stuck]
        last = threading.Timer(END_S, os._exit, (STALLED,))
        last.daemon = True
        last.start()
        context.event("stalled", logging.ERROR, jobs=",".join(ids) or "none", seconds=f"{self._stall_s:g}")
        faulthandler.dump_traceback(STDERR)
        until = time.monotonic() + STORE_S
        for work in stuck:
            work.lost = True  # nobody writes for them any more
        for work in self._held():
            if work not in stuck and work.slot is None:  # its files are being written
                work.ended.wait(max(0.0, until - time.monotonic()))
        try:
            queue.lose(context.db, worker_id=context.worker_id, stuck=ids, stuck_s=self._stall_s)
        except (DbError, sa.exc.SQLAlchemyError) as error:  # their leases will run out
            context.event("database_unavailable", logging.WARNING, error=str(error).splitlines()[0])
        os._exit(STALLED)
