"""The starter's loop: keeps its parts, heeds signals, and ends when told to or when what is needed is given up."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence

from starter.keeper import TERM_S, Keeper
from starter.left_over import Note
from starter.notify import Systemd

TICK_S = 0.5
NEWS_S = 5.0  # how often the note and systemd are told that all goes on
SAME_SIGNAL_S = 0.5  # Ctrl-C in a terminal may come twice, through the shell that runs this
START_S = 180.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
AT_ONCE = 130


def say(line: str) -> None:
    """A line for whoever runs the studio; a terminal that was closed costs it."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


class Loop:
    """on_ready: called when all parts are ready for the first time. must_begin: where they are not within START_S, or
    one of them is given up before, all ends."""

    def __init__(
        self, keepers: Sequence[Keeper], note: Note, on_ready: Callable[[], None], must_begin: bool = False
    ) -> None:
        self._keepers, self._note, self._on_ready, self._must_begin = keepers, note, on_ready, must_begin
        self._systemd = Systemd()
        self._read_end, write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._announced, self._told, self._told_at = False, "", 0.0
        self._first_signal_at: float | None = None

    def run(self) -> int:
        """Keep all running; the exit status."""
        began, status = time.monotonic(), None
        self._systemd.tell(READY="1")
        while status is None:
            for keeper in self._keepers:
                keeper.tick()
            self._tell()
            if not self._announced and all(keeper.ready for keeper in self._keepers):
                self._announced = True
                self._on_ready()
            status = self._over(time.monotonic() - began)
            if status is None and self._wait(TICK_S):
                status = 0
        return self._stop(status)

    def _over(self, ran_s: float) -> int | None:
        """The exit status where it is no use to go on."""
        if all(keeper.ended for keeper in self._keepers):
            return 0
        up = [keeper for keeper in self._keepers if keeper.given_up]
        gone = [keeper for keeper in self._keepers if keeper.given_up or keeper.ended]
        needed = [keeper for keeper in up if keeper.part.needed]
        executors = [keeper for keeper in self._keepers if not keeper.part.needed]
        none_left = bool(executors) and all(keeper in gone for keeper in executors)
        if up and (needed or none_left or (self._must_begin and not self._announced)):
            return max(keeper.status for keeper in up)
        if self._must_begin and not self._announced and ran_s > START_S:
            late = [keeper for keeper in self._keepers if not keeper.ready]
            for keeper in late:
                lines = "".join(f"    {line}\n" for line in keeper.tail())
                say(
                    f"{keeper.part.name} did not become ready within {START_S:.0f} s. The last lines it wrote:\n{lines}"
                )
            return 1
        return None

    def _stop(self, status: int) -> int:
        if any(keeper.runs for keeper in self._keepers):
            say("\nStopping: running jobs are saved and go on at the next start ...")
        self._systemd.tell(STOPPING="1")
        for keeper in self._keepers:
            keeper.stop()
        until = time.monotonic() + TERM_S + 5.0
        while any(keeper.runs for keeper in self._keepers) and time.monotonic() < until:
            for keeper in self._keepers:
                keeper.tick()
            self._tell()
            if self._wait(0.1):
                status = AT_ONCE
                for keeper in self._keepers:
                    keeper.kill()
        say("Stopped.")
        return status

    def _wait(self, seconds: float) -> bool:
        """True as soon as a signal asks for the end, another one than the first."""
        ready, _, _ = select.select([self._read_end], [], [], seconds)
        if not ready:
            return False
        try:
            numbers = os.read(self._read_end, 4096)
        except BlockingIOError:
            return False
        if not set(numbers) & set(STOP_SIGNALS):
            return False
        now = time.monotonic()
        if self._first_signal_at is None:
            self._first_signal_at = now
            return True
        return now - self._first_signal_at >= SAME_SIGNAL_S

    def _tell(self) -> None:
        """Where something has changed, and every few seconds: the note for the next start, and the news for systemd."""
        states = ", ".join(f"{keeper.part.name}: {keeper.state}" for keeper in self._keepers)
        now = time.monotonic()
        if states == self._told and now - self._told_at < NEWS_S:
            return
        self._told, self._told_at = states, now
        self._note.write([one for keeper in self._keepers if (one := keeper.noted())])
        self._systemd.tell(WATCHDOG="1", STATUS=states)
