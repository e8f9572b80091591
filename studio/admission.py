"""Showing the event's code: once for each visitor, by a link or by typing it, and not by trying all there are."""

from __future__ import annotations

import hmac
import threading
import time
from collections import OrderedDict

from db.rules import event_code
from studio.context import Studio, Submitter
from studio.errors import Refused
from studio.limits import check_welcome_by_ban, code_asked_for

MAX_WRONG, IN_S = 10, 60.0
MAX_ADDRESSES = 10_000


class WrongCode(Refused):
    """What was typed is not the code."""

    def __init__(self) -> None:
        super().__init__("That is not this event's code; it stands on the wall, below the QR code.")


class TooManyCodes(Refused):
    """Too many wrong codes came from one address."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            "Too many wrong codes came from your network; type it again in {seconds} s, or scan the QR code on the "
            "wall, which always works.",
            seconds=max(1, round(wait_s)),
        )
        self.wait_s = wait_s


class Tries:
    """Wrong codes by address, MAX_WRONG in IN_S; one for each process. Nobody waits for another address."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()
        self._counting = threading.Lock()

    def check(self, address: str, now: float) -> None:
        """Counts a try as wrong until `right` is called, so that tries at once are not free. Raises TooManyCodes."""
        with self._counting:
            lately = [at for at in self._wrong.pop(address, []) if now - at < IN_S]
            self._wrong[address] = lately
            if len(lately) >= MAX_WRONG:
                raise TooManyCodes(lately[0] + IN_S - now)
            lately.append(now)
            while len(self._wrong) > MAX_ADDRESSES:
                self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """The last one was none."""
        with self._counting:
            if self._wrong.get(address):
                self._wrong[address].pop()


def link_code(studio: Studio) -> str | None:
    """What a link carries as `?code=`; None where no code is asked for."""
    code = code_asked_for(studio)
    return None if code is None else event_code.stand_in(studio.db, code)


def needs_code(studio: Studio, submitter: Submitter) -> bool:
    """Whether they have to show the code before they may ask for anything."""
    code = code_asked_for(studio)
    if code is None or submitter.admitted or submitter.is_host:
        return False
    return not event_code.has_shown(studio.db, submitter.id, code)


def check_code(studio: Studio, submitter: Submitter, shown: str, tries: Tries) -> None:
    """Whether this is the code, typed or from a link. Raises WrongCode, TooManyCodes."""
    code = code_asked_for(studio)
    if code is None:
        return
    expected = event_code.stand_in(studio.db, code)
    if hmac.compare_digest(shown.strip().encode("utf-8", "replace"), expected.encode()):
        return  # nobody guesses what a link carries
    address = submitter.address or "unknown"
    tries.check(address, time.monotonic())
    if not hmac.compare_digest(event_code.stand_in(studio.db, shown), expected):
        raise WrongCode
    tries.right(address)


def show_code(studio: Studio, submitter: Submitter, shown: str, tries: Tries) -> None:
    """Remember that they have shown the code. Raises WrongCode, TooManyCodes, Banned."""
    code = code_asked_for(studio)
    if code is not None:
        check_welcome_by_ban(studio, submitter)
        check_code(studio, submitter, shown, tries)
        event_code.admit(studio.db, submitter.id, code)
