"""The kind and the sentence a job fails with."""

from __future__ import annotations

import re

from executor.memory import is_out_of_memory


class DownloadsOff(RuntimeError):
    """A download job on a machine whose host has not allowed them; the message says what the host can do."""


def sentence_for(error: Exception, *, step: int, size: tuple[int, int] | None, device: str) -> tuple[str, str]:
    """(kind, sentence) a job fails with. Our own errors speak for themselves; others are introduced.

    size: (width, height) in px where it is known.
    """
    if is_out_of_memory(error):
        at = "" if size is None else f" for {size[0]} x {size[1]} px"
        return "out_of_memory", f"{device} has too little memory{at}; lower width and height."
    if is_ours(error):
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
        return kind, getattr(error, "public", None) or str(error)
    first = (str(error).strip() or "it gave no reason").splitlines()[0]
    return "engine_error", f"The engine stopped at step {step}: {type(error).__name__}: {first}"


def is_ours(error: Exception) -> bool:
    """Whether the error is one of the studio's named ones, whose message is written for people."""
    return type(error).__module__.partition(".")[0] in ("generator", "db", "executor")
