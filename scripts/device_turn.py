"""One process at a time on a device: others make themselves ready meanwhile, and wait before they measure."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

FILE = "DEVICE_TURN"  # the variable that names the file which is locked; unset: nobody else measures


@contextmanager
def turn() -> Iterator[None]:
    """The device to oneself, as soon as who has it is done or has ended."""
    path = os.environ.get(FILE)
    if path is None:
        yield
        return
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
