"""Why the studio does not do what it was asked for: one sentence that may be shown to whoever asked."""

from __future__ import annotations

from characters.brief import Translatable
from db.errors import DbError
from generator.params import BadParams
from generator.registry import UnknownName
from masking import for_visitors


class Refused(Translatable):
    """Base of the studio's own errors."""


class BadWish(Refused, BadParams):
    """What is asked for cannot be drawn, ranked or compared, and what is permitted."""


class Busy(Refused):
    """The machine is at work on too much at once; the same may be asked for again soon."""


class NotHost(Refused):
    """Somebody who is not the host asks for what only the host may do."""

    def __init__(self) -> None:
        super().__init__("Only the host may do this; sign in on the Host page.")


class DownloadsOff(Refused):
    """Checkpoints are not downloaded for visitors here."""

    def __init__(self) -> None:
        super().__init__("Downloads are not allowed here; the host can allow them with T2I_DOWNLOADS=true.")


class TrainingOff(Refused):
    """No models are trained for visitors here."""

    def __init__(self) -> None:
        super().__init__("Training is not open to visitors here; the host can allow it.")


def told(error: Exception) -> str:
    """The sentence that whoever asked may read; what names the machine's addresses and folders is for the log."""
    public: str | None = getattr(error, "public", None)
    return public or for_visitors(str(error))


# Whatever a function of this package raises because of what was asked for, or of the machine, is one of these.
SENTENCES = (Refused, DbError, BadParams, UnknownName)
