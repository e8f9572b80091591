"""One part kept running: started, watched, ended where it hangs, started again, and given up in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from starter.backoff import MAX_SOON, MAX_UNREADY, SOON_S, Backoff
from starter.health import Watch
from starter.left_over import Process, born
from starter.log_files import Pump, Sink
from starter.parts import Part

START_S = 180.0  # until its first sign of life
MISSES = 3  # looks in a row without a sign of life, before silence is taken for one that hangs
STACKS_S = 1.0  # for writing where it stands
TERM_S = 15.0  # from the request to end until it is ended
CANNOT_WORK = 2  # the status that says so
TERMINAL = "above"

Say = Callable[[str], None]


class Keeper:
    """Call `tick` a few times a second. given_up: why it is not started any more. ended: it ended as it may."""

    def __init__(self, part: Part, sink: Sink, say: Say, check_every_s: float, where: str) -> None:
        """sink: what it writes. where: how its log is called, TERMINAL where that is in front of the reader."""
        self.part, self.given_up, self.ended, self.status = part, "", False, 0
        self._sink, self._say, self._every_s, self._where = sink, say, check_every_s, where
        self._backoff = Backoff(part.longest_wait_s)
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: Watch | None = None
        self._pump: Pump | None = None
        self._started = self._start_at = 0.0
        self._born = ""
        self._to_send: list[tuple[float, Callable[[], None]]] = []  # what ends it, and when
        self._hangs = self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether it runs and has given a sign of life."""
        return self._watch is not None and self._watch.ready and not self._hangs

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    @property
    def state(self) -> str:
        """A word for it."""
        if self._process is None:
            return "given up" if self.given_up else "ended" if self.ended or self._stopping else "waiting"
        return "stopping" if self._stopping else "hung" if self._hangs else "ready" if self.ready else "starting"

    def noted(self) -> Process | None:
        """What the next start must end if this starter is killed."""
        if self._process is None:
            return None
        return Process(self.part.name, self._process.pid, self._born, self.ready)

    def tail(self) -> list[str]:
        """The last lines it wrote."""
        return self._pump.tail() if self._pump else []

    def tick(self) -> None:
        """Do what is due now."""
        now = time.monotonic()
        if self._process is None:
            if not (self._stopping or self.given_up or self.ended) and now >= self._start_at:
                self._start()
            return
        status = self._process.poll()
        if status is not None:
            self._died(status, now)
            return
        while self._to_send and now >= self._to_send[0][0]:
            self._to_send.pop(0)[1]()
        if not self._hangs and not self._stopping and self._silent(now):
            self._end_hung(now)

    def stop(self) -> None:
        """End it in order, and do not start it again."""
        if not self._stopping:
            self._stopping, now = True, time.monotonic()
            self._to_send = [(now, self._term), (now + TERM_S, self.kill)]

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        if self._process is not None:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _start(self) -> None:
        # Checked each time: somebody else may have taken the port meanwhile.
        if obstacle := self.part.obstacle():
            self._say(f"{self.part.name} cannot start: {obstacle}")
            self._again(None, 0.0, False)
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "starter.child", str(os.getpid()), *self.part.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.part.environment},
            start_new_session=True,  # Ctrl-C reaches the starter alone, which ends the parts in order
        )
        assert self._process.stdout
        self._born, self._started = born(self._process.pid), time.monotonic()
        self._pump = Pump(self._process.stdout, self._sink)
        self._watch = Watch(self.part.look, self._process.pid, self._every_s)
        self._hangs, self._to_send = False, []

    def _silent(self, now: float) -> bool:
        watch = self._watch
        assert watch is not None
        # Both: where the starter itself slept (a laptop's lid) time alone says nothing.
        return watch.misses >= MISSES and now - watch.alive_at > (self.part.silent_s if watch.ready else START_S)

    def _end_hung(self, now: float) -> None:
        assert self._watch is not None and self._process is not None
        self._hangs = True
        silent_s = now - self._watch.alive_at
        self._say(
            f"{self.part.name} hangs: {self._watch.why}, no sign of life for {silent_s:.0f} s. It writes where it "
            f"stands to its log ({self._where}) if it can, and is ended."
        )
        with suppress(OSError):
            self._process.send_signal(signal.SIGUSR1)
        self._to_send = [(now + STACKS_S, self._term), (now + STACKS_S + TERM_S, self.kill)]

    def _term(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def _died(self, status: int, now: float) -> None:
        assert self._process is not None and self._watch is not None and self._pump is not None
        self.kill()  # what it had started and left
        was_ready = self._watch.ready
        self._watch.end()
        self._pump.join(2.0)
        self._process = None
        if self._stopping:
            return
        if status == 0 and self.part.may_end and not self._hangs:
            self.ended = True
            return
        self._again(status, now - self._started, was_ready)

    def _again(self, status: int | None, lived_s: float, was_ready: bool) -> None:
        """Start it again after a while, or never. status: None where it did not even start."""
        name, how = self.part.name, "did not start" if status is None else _how(status)
        wait = None if status == CANNOT_WORK else self._backoff.died(lived_s, was_ready)
        if wait is not None:
            self._start_at = time.monotonic() + wait
            self._say(f"{name} {how} after {lived_s:.0f} s; it is started again in {wait:.0f} s.")
            return
        self.status = CANNOT_WORK if status == CANNOT_WORK else 1
        if status == CANNOT_WORK:
            why = "it cannot work as it is, and has said why (status 2)"
        elif self._backoff.unready >= MAX_UNREADY:
            why = f"it has died {MAX_UNREADY} times in a row before it was ready, the last time it {how}"
        else:
            why = f"it has died {MAX_SOON} times in a row within {SOON_S:.0f} s, the last time it {how}"
        lines = "".join(f"    {line}\n" for line in self.tail()) or "    (nothing)\n"
        last = f" The last lines it wrote ({self._where}):\n{lines}" if self._where != TERMINAL else " See above. "
        self.given_up = (
            f"{name} is given up: {why}.{last}Mend what it tells, then start anew. "
            f"What it says by itself: {self.part.by_hand}"
        )
        self._say(self.given_up)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
