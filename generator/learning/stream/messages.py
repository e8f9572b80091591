"""The messages of EIR's streaming protocol 1.0 as JSON texts, for our server and our client.

handshake, getInfo, getData, setValidationIds, reset, status and heartbeat; each is answered in order. What is ours is
only ever added where the protocol leaves room, and peers that do not know it read past it: the payload of `reset` may
hold a Place, and a server that goes on from there says so in the payload of `resetConfirmation`.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Literal

from characters.brief import Brief
from generator.learning.stream.samples import Split

VERSION = "1.0"
MAX_BATCH = 4096  # samples in one message, whatever is asked for
MAX_FRAME = 64 << 20  # bytes of one message
MAX_VALUES = 2_000_000  # in one message
TERMINATE = '{"type":"data","payload":["terminate"]}'
_PLAIN = re.compile(r"[A-Za-z0-9._-]{1,120}")


class BadMessage(Brief, ValueError):
    """What the other side sent is no message of the protocol; one sentence."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to go on. share: of validation, by generator.learning.stream.samples.is_validation; position: sample of
    the epoch, counted from 0, in the order of (seed, epoch)."""

    split: Split
    share: float
    seed: int
    epoch: int
    position: int

    def as_payload(self) -> dict[str, Any]:
        """What a reset carries."""
        return {"go_on": asdict(self)}


def message(kind: str, payload: Any = None, **more: Any) -> str:
    """One message as it is sent. payload: left out where None."""
    said = {"type": kind, **more} if payload is None else {"type": kind, "payload": payload, **more}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def read(text: str | bytes) -> dict[str, Any]:
    """A message as received: an object with a `type`. Raises BadMessage."""
    if isinstance(text, bytes):
        raise BadMessage("A message must be a text.")
    # A few MB of brackets would become gigabytes of lists.
    if any(text.count(sign) > MAX_VALUES for sign in ",[{"):
        raise BadMessage(f"A message holds more than {MAX_VALUES:,} values.")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("type"), str):
        raise BadMessage("A message must be a JSON object with a type.")
    return said


def place_in(payload: Any) -> Place | None:
    """The Place a reset's payload holds, None for a plain reset. Raises BadMessage."""
    found = payload.get("go_on") if isinstance(payload, dict) else None
    if found is None:
        return None
    split: Literal["train", "validation"]
    try:
        split, share = found["split"], float(found["share"])
        whole = [found[name] for name in ("seed", "epoch", "position")]
    except (KeyError, TypeError, ValueError):
        raise BadMessage("go_on needs split, share, seed, epoch and position.") from None
    if split not in ("train", "validation") or not 0 <= share < 1:
        raise BadMessage("go_on needs a split of train or validation and a share of at least 0 and below 1.")
    if any(not isinstance(number, int) or not 0 <= number < 2**63 for number in whole):
        raise BadMessage("go_on needs a seed, an epoch and a position that are whole numbers from 0 on.")
    return Place(split, share, *whole)


def wire_id(sample_id: str) -> str:
    """An id as it is sent: EIR writes files of this name, so it is one on every system; the same for the same id."""
    if _PLAIN.fullmatch(sample_id) and not sample_id.startswith("."):
        return sample_id
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", sample_id).lstrip(".")[-80:]
    return f"{plain}-{sha256(sample_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
