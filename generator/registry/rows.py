"""What a checkpoint is: one row that says everything, which is asked for once and passed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a checkpoint. about: rough bytes; sha256: None where none is published; size: exact bytes."""

    name: str
    urls: tuple[str, ...]
    about: int
    sha256: str | None = None
    size: int | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One model: its files, its memory, and what the parameters of a job start from before anyone changes them.

    kind: says which loader reads it, a key of generator.checkpoints.loading.LOADERS. shapes: of a few tensors by which
    one checkpoint is told from another. Memory is in bytes, of fp32 on the device.
    """

    name: str
    kind: str
    title: str
    licence: str = "see generator/weights/"
    files: tuple[File, ...] = ()
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    embedded: bool = False  # whether its weights come with the project
    styled: bool = False  # whether `style` names one of STYLES
    own: bool = False  # a folder of one's own below the checkpoints' folder

    weight_bytes: int  # of the embedded models, with those of the CLIP that tells styles apart
    min_weight_bytes: int | None = None  # with memory=low: the largest network alone
    activation_bytes_per_px: int = 0  # of a generator, kept for the backward pass
    guided_bytes_per_px: int = 0  # more of them where CLIP guides what need not be guided
    activation_bytes_per_cutout: int = 0  # of a CLIP model

    factor: int = 1  # px per code: width and height are floored to a multiple of it
    max_side: int = 4096  # px
    only_side: int | None = None  # px, where the model draws or sees one size
    scale: int = 1  # of an upscaler: how many times wider and higher it makes a picture
    max_steps: int | None = None  # of a sampler, where the model has fewer noise levels than its engine takes steps
    defaults: Mapping[str, Any] = field(default_factory=dict)
    unused: tuple[str, ...] = ()  # settings of its engine that it does not read
    architecture: str | None = None  # of a kind that has several, its name in the network's own table
    engine: str | None = None  # "module:function" that loads this kind of model where the engine's own does not

    @property
    def about(self) -> int:
        """Rough bytes of the whole download."""
        return sum(file.size or file.about for file in self.files)


def table(*rows: Checkpoint) -> dict[str, Checkpoint]:
    """Rows by their names, in their order."""
    return {row.name: row for row in rows}
