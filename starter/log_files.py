"""What the parts write: to files of bounded size, the older ones numbered, or to the terminal."""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from typing import IO, Protocol

MAX_BYTES = 10 * 1024 * 1024  # of one file
OLDER = 5  # files that are kept beside the newest: webapp.log.1 to webapp.log.5
TAIL = 15  # lines that are shown of a part that is given up
LONGEST = 2000  # characters of a line that are shown there


class Sink(Protocol):
    """Where lines go."""

    def write(self, data: bytes, /) -> object: ...
    def flush(self) -> object: ...


class LogFile:
    """A file of at most `max_bytes` and `older` numbered ones before it; lines are not cut in two, nor lost between.

    A disk that is full or gone costs lines, never the part that writes them: `write` raises nothing.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, older: int = OLDER) -> None:
        self.path, self.max_bytes, self.older = path, max_bytes, older
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append whole lines."""
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab", buffering=0)
                self._size = os.fstat(self._file.fileno()).st_size
            if self._size and self._size + len(data) > self.max_bytes:
                self._rotate()
            if self._file is not None:
                self._file.write(data)
                self._size += len(data)
        except OSError:
            self._file = None  # the next line tries again from the beginning

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Let go of the file; a line after this opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> None:
        self.close()
        for number in range(self.older, 0, -1):
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(self._numbered(number))
        self._file, self._size = self.path.open("ab", buffering=0), 0

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path


class Terminal:
    """The starter's own output, as a container or systemd collects it."""

    def write(self, data: bytes) -> None:
        """Write whole lines; a terminal that was closed costs them."""
        try:
            while data:
                data = data[os.write(2, data) :]
        except OSError:
            return

    def flush(self) -> None:
        """Nothing is held back."""


class Pump(threading.Thread):
    """Carries what one process writes into a sink, line by line, until the process and its children have closed it."""

    def __init__(self, pipe: IO[bytes], sink: Sink) -> None:
        super().__init__(name="log", daemon=True)
        self._pipe, self._sink = pipe, sink
        self._tail: deque[bytes] = deque(maxlen=TAIL)
        self.start()

    def run(self) -> None:
        """Reads as fast as the process writes: it must never wait for its log."""
        half = b""
        while data := os.read(self._pipe.fileno(), 65536):
            lines = (half + data).split(b"\n")
            half = lines.pop()
            if len(half) > self._most:
                lines, half = [*lines, half], b""
            self._keep(lines)
        self._keep([half] if half else [])
        self._pipe.close()

    def tail(self) -> list[str]:
        """The last lines, the oldest first."""
        return [line.decode(errors="replace")[:LONGEST] for line in self._tail]

    _most = 1024 * 1024  # a line that never ends is cut here

    def _keep(self, lines: list[bytes]) -> None:
        if lines:
            self._tail.extend(lines)
            self._sink.write(b"\n".join(lines) + b"\n")
