"""Lengths of time as sentences and pages say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """About how long, in words: 8 s, 3 min, 1 h 40 min, 30 h."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    hours, tens = divmod(round(seconds / 600), 6)
    return f"{hours} h {tens * 10} min" if tens and hours < 10 else f"{round(seconds / 3600)} h"
