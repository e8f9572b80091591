"""A source of captioned pictures that can be read anywhere, and the stream made of it: split, shuffled, resumable."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from generator.learning.stream.samples import DataProblem, Sample, Split, is_validation, lot

MAX_CAPTION = 8_000  # characters
MAX_SAMPLES = 20_000_000
MIN_SAMPLES = 5  # fewer teach nothing


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was left out when its source was opened. kind: one of a few words; about: one sentence."""

    id: str
    kind: str
    about: str


class Source(Protocol):
    """Captioned pictures that lie somewhere, each of which can be read at any time.

    name: of the folder or file, for people. kind: folder, zip, parquet, tar or datasets. ids: sorted or in the source's
    own order, the same in every reading, none twice. skipped: what was left out, and why.
    """

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def skipped(self) -> Sequence[Skipped]: ...

    def caption(self, index: int) -> str:
        """Not empty, at most MAX_CAPTION characters."""
        ...

    def image(self, index: int) -> bytes:
        """The encoded file. Raises DataProblem where it is gone or cannot be read."""
        ...

    def close(self) -> None: ...


def why_not(caption: str) -> tuple[str, str] | None:
    """Why a caption cannot be learnt from, as kind and sentence; None where it can."""
    if not caption.strip():
        return "no caption", "It has no caption, or an empty one."
    if len(caption) > MAX_CAPTION:
        return "long caption", f"Its caption has {len(caption):,} characters; at most {MAX_CAPTION:,} are read."
    return None


def order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of range(count), the same on every machine and with every version of numpy.

    Sorted by what PCG64 gives, whose raw bits numpy promises to keep; methods of numpy.random.Generator may change.
    """
    bits = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(count)
    return np.argsort(np.asarray(bits, dtype=np.uint64), kind="stable")


class Without:
    """A source less some of its samples, for instance those whose pictures cannot be read."""

    def __init__(self, source: Source, left_out: Collection[str]) -> None:
        out = {*left_out}
        self.name, self.kind = source.name, source.kind
        self._source = source
        self._indices = [index for index, one in enumerate(source.ids) if one not in out]
        self.ids = [source.ids[index] for index in self._indices]
        gone = (one for one in source.ids if one in out)
        self.skipped = [*source.skipped, *(Skipped(one, "left out", "It is left out as asked for.") for one in gone)]

    def caption(self, index: int) -> str:
        return self._source.caption(self._indices[index])

    def image(self, index: int) -> bytes:
        return self._source.image(self._indices[index])

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()


class SourceStream:
    """A source as a CaptionStream. validation_share: of all samples, in [0, 1); from one sample on, one is kept."""

    def __init__(self, source: Source, validation_share: float) -> None:
        self.source = source
        self.name = source.name
        self.length: int | None = len(source.ids)
        kept = np.fromiter((is_validation(i, validation_share) for i in source.ids), dtype=bool, count=len(source.ids))
        if not kept.any() and validation_share * len(kept) >= 1:
            kept[min(range(len(kept)), key=lambda index: lot(source.ids[index]))] = True
        self._indices: dict[Split, NDArray[np.int64]] = {
            "train": np.flatnonzero(~kept),
            "validation": np.flatnonzero(kept),
        }
        if not len(self._indices["train"]):
            raise DataProblem(
                f"All {len(source.ids)} samples of {source.name} are kept for validation; a validation_share of "
                f"{validation_share:g} leaves none to train on."
            )

    def count(self, split: Split) -> int:
        """How many samples one split has."""
        return len(self._indices[split])

    def samples(self, split: Split, *, start: int = 0, seed: int = 0) -> Iterator[Sample]:
        """As CaptionStream says."""
        indices = self._indices[split]
        if split == "validation":
            for index in indices[start:]:
                yield self._sample(int(index))
            return
        epoch, position = divmod(start, len(indices))
        while True:
            for place in order(len(indices), seed, epoch)[position:]:
                yield self._sample(int(indices[place]))
            epoch, position = epoch + 1, 0

    def close(self) -> None:
        """Let go of the source."""
        self.source.close()

    def _sample(self, index: int) -> Sample:
        return Sample(self.source.ids[index], self.source.caption(index), self.source.image(index))
