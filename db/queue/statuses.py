"""What an executor is doing, as it says so in its row: some sentences, one after the other, that pages translate.

Executors write the sentences filled in, and whoever shows them finds again which they were and what was filled in.
"""

from __future__ import annotations

import re

STARTING, IDLE, STORING, STOPPED = "starting", "idle", "storing", "stopped"
LOADING = "loading {engine} {checkpoint}"
TAKEN = "{taken} of {places} places taken"
WAITS_FOR_STORE = "{count} finished, waiting for the store"
_BETWEEN = "; "
SENTENCES = (STARTING, IDLE, STORING, STOPPED, LOADING, TAKEN, WAITS_FOR_STORE)
_PATTERNS = {
    sentence: re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\S+)", re.escape(sentence))) for sentence in SENTENCES
}


def joined(parts: list[str]) -> str:
    """Several of them as one status."""
    return _BETWEEN.join(parts)


def parts_of(status: str) -> list[tuple[str, dict[str, str]]]:
    """The sentences of a status with what was filled in; what is none of them is there as it is, e.g. what is wrong."""
    found: list[tuple[str, dict[str, str]]] = []
    while status:
        part, between, rest = status.partition(_BETWEEN)
        read = _read(part)
        if read is None:  # what is wrong with the machine comes last, in words of its own
            return [*found, (status, {})]
        found.append(read)
        status = rest if between else ""
    return found


def _read(part: str) -> tuple[str, dict[str, str]] | None:
    for sentence, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(part):
            return sentence, match.groupdict()
    return None
