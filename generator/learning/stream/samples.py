"""The contract of captioned data: samples with stable ids, a validation split by id, an order that can be resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from characters.brief import Brief

Split = Literal["train", "validation"]


class DataProblem(Brief, ValueError):
    """Data nothing can be learnt from, or that cannot be read; a sentence that says what is needed."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One captioned picture. id: the source's own, the same in every reading and on every machine, never a position.

    caption: as its source has it, not empty. image: an encoded file (PNG, JPEG, WebP, ...), not decoded yet.
    """

    id: str
    caption: str
    image: bytes


class CaptionStream(Protocol):
    """Captioned pictures from one source.

    length: how many samples both splits have together, None where the source cannot tell (a WebSocket).
    """

    name: str
    length: int | None

    def samples(self, split: Split, *, start: int = 0, seed: int = 0) -> Iterator[Sample]:
        """Samples of one split from position `start` on.

        train goes on for ever, one epoch after the other, each shuffled by (seed, epoch) where the source allows that:
        position n is the same sample in every run, so that a run that is resumed at n sees what it would have seen.
        validation is read once, in one order. Raises DataProblem.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


def is_validation(sample_id: str, share: float) -> bool:
    """Whether a sample is kept from training: decided by its id alone, so that no order and no reset makes it leak.

    share: of all samples, in [0, 1).
    """
    return lot(sample_id) < share * 2**64


def lot(sample_id: str) -> int:
    """What a sample draws, in [0, 2 ** 64): the lowest are kept from training."""
    return int.from_bytes(hashlib.sha256(b"validation\0" + sample_id.encode()).digest()[:8], "big")
