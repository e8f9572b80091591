"""What was freed goes back to the system.

Glibc keeps it for each thread that has ever read a large picture: ten threads that did, one after the other, hold what
ten pictures took, and the system has it no more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Hand freed pages of all threads to the system, where its C library can; some ms. Nothing where it cannot."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Glibc's malloc_trim(3); other libraries have none, and keep less."""
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    return found
