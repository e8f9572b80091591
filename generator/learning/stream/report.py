"""What is in a data set and what is wrong with it, before anything is learnt from it. Imports no torch."""

from __future__ import annotations

import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from generator.images.decode import BadImage, decode_image, open_image
from generator.learning.stream.contact_sheet import chosen
from generator.learning.stream.opening import open_source
from generator.learning.stream.samples import DataProblem
from generator.learning.stream.sources import MIN_SAMPLES, Source

MAX_LOOKED_AT = 20_000  # pictures that are decoded; of more, so many evenly chosen ones are
_EXAMPLES = 5
_SMALL = 32  # px
_LOOK = 16  # px: two pictures that agree in so few are called the same
_LONG_WORDS = 60  # about what CLIP's text encoder takes


@dataclass(frozen=True)
class Problem:
    """Samples with one fault. kind: a few words; examples: (id, sentence); unusable: they are left out of training."""

    kind: str
    count: int
    examples: tuple[tuple[str, str], ...]
    unusable: bool


@dataclass(frozen=True)
class Spread:
    """Smallest, median and largest of some numbers."""

    least: float
    median: float
    most: float


@dataclass(frozen=True)
class Report:
    """What `inspect` found. samples: captioned pictures; looked_at: how many of them were decoded; unreadable: their
    ids, of those looked at; width, height: px; caption: characters; formats: how many pictures of each.

    trainable: whether it can be learnt from; reason: one sentence that says so, or says what is missing.
    """

    name: str
    kind: str
    samples: int
    looked_at: int
    trainable: bool
    reason: str
    problems: tuple[Problem, ...] = ()
    unreadable: tuple[str, ...] = ()
    width: Spread | None = None
    height: Spread | None = None
    caption: Spread | None = None
    distinct_captions: int = 0
    formats: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a row, an answer of the API or a file."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The report as text, a line for each finding."""
        said = [f"{self.name} ({self.kind}): {self.samples:,} captioned pictures", self.reason]
        if self.width and self.height and self.caption:
            sizes = f"{self.width.least:g} x {self.height.least:g} to {self.width.most:g} x {self.height.most:g} px"
            said += [
                f"Pictures: {sizes}, median {self.width.median:g} x {self.height.median:g}; "
                + ", ".join(f"{count} {name}" for name, count in self.formats.items()),
                f"Captions: {self.caption.least:g} to {self.caption.most:g} characters, median "
                f"{self.caption.median:g}; {self.distinct_captions:,} different ones",
            ]
        for problem in self.problems:
            example = f", e.g. {problem.examples[0][0]}: {problem.examples[0][1]}" if problem.examples else ""
            said.append(f"{problem.count} x {problem.kind}{' (left out)' if problem.unusable else ''}{example}")
        return said


class _Findings:
    """Faults by kind, of which a few are kept as examples."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self._unusable: set[str] = set()

    def add(self, kind: str, sample_id: str, about: str, *, unusable: bool) -> None:
        self._counts[kind] += 1
        if unusable:
            self._unusable.add(kind)
        if len(self._examples[kind]) < _EXAMPLES:
            self._examples[kind].append((sample_id, about))

    def problems(self) -> tuple[Problem, ...]:
        return tuple(
            Problem(kind, count, tuple(self._examples[kind]), kind in self._unusable)
            for kind, count in self._counts.most_common()
        )


def inspect(
    where: Path | Source,
    *,
    min_samples: int = MIN_SAMPLES,
    max_looked_at: int = MAX_LOOKED_AT,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Read captions, and decode pictures, of a data set. Raises nothing for what data may be: a source that cannot be
    opened is a report that says so.

    on_progress: told how many pictures of how many have been looked at.
    """
    if isinstance(where, Path):
        try:
            source = open_source(where)
        except DataProblem as error:
            return Report(where.name, "", 0, 0, False, str(error))
        try:
            return inspect(source, min_samples=min_samples, max_looked_at=max_looked_at, on_progress=on_progress)
        finally:
            source.close()
    findings = _Findings()
    for one in where.skipped:
        findings.add(one.kind, one.id, one.about, unusable=True)
    captions = [where.caption(index) for index in range(len(where.ids))]
    for sample_id, caption in zip(where.ids, captions, strict=True):
        if (words := len(caption.split())) > _LONG_WORDS:
            about = f"It has {words} words; models read about the first {_LONG_WORDS}."
            findings.add("caption longer than models read", sample_id, about, unusable=False)
    looked_at = chosen(len(where.ids), max_looked_at)
    pictures = _look(where, looked_at, findings, on_progress)
    usable = len(where.ids) - len(pictures.unreadable)
    trainable = usable >= min_samples
    return Report(
        name=where.name,
        kind=where.kind,
        samples=len(where.ids),
        looked_at=len(looked_at),
        trainable=trainable,
        reason=_reason(usable, min_samples, len(where.ids), len(looked_at)),
        problems=findings.problems(),
        unreadable=tuple(pictures.unreadable),
        width=_spread(pictures.widths),
        height=_spread(pictures.heights),
        caption=_spread([len(caption) for caption in captions]),
        distinct_captions=len({*captions}),
        formats=dict(pictures.formats.most_common()),
        bytes=pictures.bytes,
    )


@dataclass
class _Pictures:
    widths: list[int] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    bytes: int = 0


def _look(
    source: Source, indices: Sequence[int], findings: _Findings, on_progress: Callable[[int, int], None] | None
) -> _Pictures:
    found, seen = _Pictures(), dict[bytes, str]()
    for done, index in enumerate(indices, 1):
        sample_id = source.ids[index]
        try:
            data = source.image(index)
            opened = open_image(data)
            small = decode_image(data, max_side=256)
        except (BadImage, DataProblem) as error:
            found.unreadable.append(sample_id)
            findings.add("unreadable picture", sample_id, str(error), unusable=True)
            continue
        finally:
            if on_progress is not None and (done % 50 == 0 or done == len(indices)):
                on_progress(done, len(indices))
        found.bytes += len(data)
        width, height = opened.size
        found.widths.append(width)
        found.heights.append(height)
        found.formats[opened.format or "unknown"] += 1
        if min(width, height) < _SMALL:
            about = f"It is {width} x {height} px; less than {_SMALL} px say little."
            findings.add("small picture", sample_id, about, unusable=False)
        look = hashlib.sha256(small.resize((_LOOK, _LOOK)).tobytes() + bytes(repr(opened.size), "ascii")).digest()
        if (first := seen.setdefault(look, sample_id)) != sample_id:
            findings.add("duplicate picture", sample_id, f"It looks the same as {first}.", unusable=False)
    return found


def _reason(usable: int, needed: int, samples: int, looked_at: int) -> str:
    if usable < needed:
        return f"{usable} captioned pictures can be read; at least {needed} are needed."
    part = "" if looked_at == samples else f" ({looked_at:,} of them were looked at)"
    return f"It can be learnt from: {usable:,} captioned pictures{part}."


def _spread(values: Sequence[int]) -> Spread | None:
    return Spread(min(values), statistics.median(values), max(values)) if values else None
