"""What weights there are and could be: what each is for, how large it is, what it needs and whether it is installed.

Importing this module does not import torch: pages and the command line show what it finds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from generator import registry
from generator.checkpoints.errors import UNFIT
from generator.checkpoints.kinds import kind_of
from generator.checkpoints.loras import own_loras, unusable_loras
from generator.checkpoints.memory import estimate_memory
from generator.checkpoints.own import own_folders, unusable
from generator.checkpoints.own_clips import own_clips, unusable_clips
from generator.checkpoints.store import installed
from generator.checkpoints.torch_save import shapes_in
from generator.params import params_class, validate_job
from generator.registry.rows import Checkpoint

__all__ = [
    "Item",
    "first_installed",
    "inventory",
    "misplaced",
    "missing",
    "own_clips",
    "own_folders",
    "own_loras",
    "own_upscalers",
    "wrong_default",
]

_PICTURE = {"picture": "any", "width": 512, "height": 512}  # to estimate what upscaling takes
SOME = 3  # checkpoints named as examples


@dataclass(frozen=True)
class Item:
    """One checkpoint or CLIP model.

    engines: names in the registry. download_bytes: rough size of its files; memory_bytes: of one job with its default
    settings, of a CLIP model its weights alone.
    """

    name: str
    title: str
    kind: str
    engines: tuple[str, ...]
    state: Literal["embedded", "installed", "not installed"]
    download_bytes: int
    memory_bytes: int
    licence: str

    @property
    def command(self) -> str:
        """What gets it."""
        return f"python -m generator.checkpoints download {self.name}"


def inventory(directory: Path) -> list[Item]:
    """Every checkpoint in the order of the engines, then the CLIP models."""
    items = []
    for name, row in registry.CHECKPOINTS.items():
        engines = tuple(engine for engine, e in registry.ENGINES.items() if name in e.checkpoints)
        if engines:
            items.append(_item(row, engines, directory, _memory(engines[0], name)))
    items += [_item(row, ("guided-diffusion",), directory) for row in registry.LOSS_NETWORKS.values()]
    order = list(registry.ENGINES)
    items.sort(key=lambda item: order.index(item.engines[0]))
    guided = tuple(name for name in registry.ENGINES if "clip" in params_class(name).model_fields)
    return items + [_item(row, guided, directory) for row in registry.CLIP_MODELS.values()]


def missing(name: str, directory: Path) -> bool:
    """Whether this checkpoint or CLIP model could be used but is not installed."""
    return name in registry.PUBLISHED and not installed(registry.PUBLISHED[name], directory)


def first_installed(names: Sequence[str], directory: Path) -> str:
    """The first of these checkpoints that can be used as it is, an embedded one always; the last where none can."""
    return next((name for name in names if not missing(name, directory)), names[-1])


def wrong_default(engine: str, checkpoint: str, directory: Path) -> str | None:
    """What is wrong with the engine and checkpoint that the host wants shown first, in one sentence; None: nothing.

    An embedded checkpoint of another engine is not wrong: each engine has its own.
    """
    drawing = registry.drawing_engines()
    if engine not in drawing:
        return (
            f"T2I_DEFAULT_ENGINE={engine} is no engine that draws, so {drawing[0]} comes first; "
            f"choose one of: {', '.join(drawing)}."
        )
    setting, first = f"T2I_DEFAULT_CHECKPOINT={checkpoint}", registry.ENGINES[engine].checkpoints[0]
    if not registry.offers(engine, checkpoint):
        known = registry.CHECKPOINTS.get(checkpoint)
        if known is not None and known.embedded:
            return None
        some = ", ".join(registry.ENGINES[engine].checkpoints[:SOME])
        return (
            f"{setting} is no checkpoint of {engine}, so {first} comes first; choose one such as {some}. "
            "All of them: python -m generator.checkpoints list"
        )
    if registry.own_kind(checkpoint):
        if checkpoint not in own_folders(directory):
            return f"{setting} is not in {directory}, so {first} comes first; put its folder there."
    elif missing(checkpoint, directory):
        get = f"python -m generator.checkpoints download {checkpoint}"
        return f"{setting} is not installed in {directory}; get it with: {get}"
    return None


def own_upscalers(directory: Path) -> list[str]:
    """Files of the folder that the setting `upscaler` may name: the host's own."""
    return sorted(path.name for path in _own_files(directory) if not _belongs_elsewhere(path, path.stat().st_mtime_ns))


def misplaced(directory: Path) -> dict[str, str]:
    """What lies there and cannot be used: why, as a sentence, by its path below the folder."""
    found = {path.name: _belongs_elsewhere(path, path.stat().st_mtime_ns) for path in _own_files(directory)}
    return (
        unusable(directory)
        | unusable_loras(directory)
        | unusable_clips(directory)
        | {name: f"It cannot be used: {what}." for name, what in found.items() if what}
    )


def _own_files(directory: Path) -> list[Path]:
    known = {Path(file.name).stem for row in registry.PUBLISHED.values() for file in row.files}
    found = directory.glob("*") if directory.is_dir() else ()
    named = [p for p in found if re.fullmatch(rf"{registry.OWN_UPSCALER}|.+\.ckpt", p.name) and p.is_file()]
    return [path for path in named if path.stem not in known]


@lru_cache(maxsize=256)
def _belongs_elsewhere(path: Path, changed: int) -> str | None:
    """What the file is and where it belongs, where that is another place; None where it can be an upscaler."""
    try:
        kind = kind_of(shapes_in(path))
    except UNFIT:
        kind = None  # said when it is used
    if kind is not None and kind.of and kind.of != "upscaler":
        return kind.what
    return "no upscaler is a .ckpt" if path.suffix == ".ckpt" else None


def _item(row: Checkpoint, engines: tuple[str, ...], directory: Path, memory: int | None = None) -> Item:
    """memory: None for what is no engine's own, whose weights alone count."""
    state: Literal["embedded", "installed", "not installed"] = "embedded"
    if not row.embedded:
        state = "installed" if installed(row, directory) else "not installed"
    bytes_needed = row.weight_bytes if memory is None else memory
    return Item(row.name, row.title, row.kind, engines, state, row.about, bytes_needed, row.licence)


def _memory(engine: str, checkpoint: str) -> int:
    fields = params_class(engine).model_fields
    given: dict[str, Any] = {**_PICTURE, "prompt": "any", "checkpoint": checkpoint}
    if "picture" not in fields:
        given = {key: given[key] for key in ("prompt", "checkpoint")}
    return estimate_memory(validate_job(engine, {k: v for k, v in given.items() if k in fields}))
