"""Signs of life of a part, looked for in a thread of their own: looking may take as long as its timeout."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from db.engine import connect
from db.errors import DbError
from db.queue import workers

ANSWER_S = 10.0  # how long the web app may take to answer
PATHS = ("/_stcore/health", "/healthz")  # the pages and the API
BUSY_S = 2.0  # how long a look waits for the database
ROOM = 1 << 20  # bytes that a disk must have left for heartbeats to be written
SETTLE_S = 1.0  # between the clocks of this process and of the database's
STARTING_EVERY_S = 0.5


class NoSign(Exception):
    """The part gave no sign of life; the message is half a sentence about it."""


class CannotTell(Exception):
    """Whether it is alive cannot be seen now, which is no fault of the part: the database is away."""


@dataclass(frozen=True)
class Sign:
    """value: another one each time, as long as the part is alive. sure: whether one alone shows that it is."""

    value: Hashable
    sure: bool = True


Look = Callable[[int, float], Sign]  # process id, when it was started in UTC s; raises NoSign, CannotTell


def web_app(host: str, port: int) -> Look:
    """Whether the pages and the API answer."""

    def look(pid: int, since: float) -> Sign:
        for path in PATHS:
            try:
                try:
                    status = _status(http.client.HTTPConnection(local(host), port, timeout=ANSWER_S), path)
                except (http.client.BadStatusLine, ConnectionResetError):  # where Streamlit was given a certificate
                    # Nothing is told to it, and nothing of what it says is believed: it may be anybody's.
                    unchecked = ssl._create_unverified_context()
                    line = http.client.HTTPSConnection(local(host), port, timeout=ANSWER_S, context=unchecked)
                    status = _status(line, path)
            except TimeoutError:
                raise NoSign(f"{path} did not answer within {ANSWER_S:.0f} s") from None
            except (OSError, http.client.HTTPException) as error:
                raise NoSign(f"{path} does not answer ({type(error).__name__})") from None
            if status >= 500:  # any other answer shows that it is alive; its address may have a prefix
                raise NoSign(f"{path} answers {status}")
        return Sign(time.monotonic())

    return look


def _status(line: http.client.HTTPConnection, path: str) -> int:
    try:
        line.request("GET", path)
        return line.getresponse().status
    finally:
        line.close()


def local(host: str) -> str:
    """The address under which this machine reaches what listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def executor(database_url: str) -> Look:
    """Whether an executor's heartbeats arrive in the database."""

    before: dict[int, float] = {}  # the last heartbeat seen, by process

    def look(pid: int, since: float) -> Sign:
        try:
            _check_file(database_url)
            # Opened anew each time: a file that was replaced is not watched any more.
            db = connect(database_url, busy_timeout_s=BUSY_S)
            try:
                found = workers.of_process(db, socket.gethostname(), pid)
                if found is None or before.get(pid) == found.beat_at:
                    workers.check_heard(db, found.id if found else "")  # is it silent, or is nobody heard?
            finally:
                db.dispose()
        except (DbError, sa.exc.SQLAlchemyError) as error:
            raise CannotTell(str(error)) from None
        if found is None:
            raise NoSign("it has not announced itself in the database")
        before[pid] = found.beat_at
        # Another process may have had this id before.
        return Sign((found.id, found.beat_at), sure=found.started_at >= since - SETTLE_S)

    return look


def _check_file(database_url: str) -> None:
    """Raises CannotTell where the file of SQLite is not there, which making is not the starter's business, or where its
    disk is full."""
    if database_url.startswith("sqlite"):
        file = Path(str(sa.make_url(database_url).database))
        if not file.exists():
            raise CannotTell("there is no database file")
        if shutil.disk_usage(file.parent).free < ROOM:
            raise CannotTell("the database's disk is full")


class Watch(threading.Thread):
    """Looks for signs of life of one process until `end()`.

    ready: there was one. alive_at: when the last one came, on time.monotonic(); misses: looks without one since.
    """

    def __init__(self, look: Look, pid: int, every_s: float) -> None:
        super().__init__(name="watch", daemon=True)
        self.ready, self.alive_at, self.misses, self.why = False, time.monotonic(), 0, "it has not been looked at"
        self._look, self._pid, self._every_s, self._since = look, pid, every_s, time.time()
        self._end = threading.Event()
        self.start()

    def end(self) -> None:
        """No more looks."""
        self._end.set()

    def run(self) -> None:
        """Look, and wait, shorter until there was a sign."""
        last: Sign | None = None
        while not self._end.wait(self._every_s if self.ready else min(STARTING_EVERY_S, self._every_s)):
            try:
                sign = self._look(self._pid, self._since)
                new = sign.sure if last is None else sign.value != last.value
                last = sign
                if not new:
                    raise NoSign("no new heartbeat in the database")
            except NoSign as error:
                self.misses, self.why = self.misses + 1, str(error)
            except Exception as error:  # CannotTell, or a fault of ours: nobody is killed for it
                self.misses, self.alive_at, self.why = 0, time.monotonic(), str(error)
            else:
                self.ready, self.misses, self.alive_at = True, 0, time.monotonic()
