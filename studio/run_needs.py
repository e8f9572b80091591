"""What a run will need of disk and memory, told before it is asked for; and the models that runs can start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.datasets import records
from db.errors import DiskNearlyFull, UnknownDataset
from generator import registry
from generator.checkpoints import training_needs
from generator.checkpoints.inventory import missing, own_folders
from generator.checkpoints.training_needs import Needs
from generator.params import problems, validate_job
from generator.params.learning import LearningParams
from studio import datasets
from studio.context import Studio, Submitter
from studio.engines import check_trains
from studio.room import check_room

# The setting in which each engine names what it starts from, and settings that are sound with any of them.
_STARTS_FROM: dict[str, tuple[str, dict[str, Any]]] = {
    "train": ("base", {"preset": "large"}),
    "train-lora": ("checkpoint", {}),
}


@dataclass(frozen=True)
class Told:
    """needs: in bytes. missing: checkpoints that are not on this machine yet. fits: whether the studio's disk has
    so much room now."""

    needs: Needs
    missing: tuple[str, ...]
    fits: bool


def told(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any]) -> Told:
    """What a run with these settings needs, nothing being queued. How many pictures there are counts of data they may
    see. Raises BadParams, UnknownName, BadWish."""
    check_trains(engine)
    params = validate_job(engine, dict(values))
    assert isinstance(params, LearningParams)
    folder = studio.settings.checkpoints_dir
    needs = training_needs.needs(params, folder, _pictures(studio, submitter, params))
    name = getattr(params, _STARTS_FROM[engine][0])
    absent = (name,) if name and not _is_there(studio, name) else ()
    try:
        check_room(studio, needs.disk)
    except DiskNearlyFull:
        return Told(needs, absent, fits=False)
    return Told(needs, absent, fits=True)


def _pictures(studio: Studio, submitter: Submitter, params: LearningParams) -> int | None:
    """How many there are, where that is known to them."""
    match = records.REFERENCE.fullmatch(params.data)
    try:
        return None if match is None else datasets.get(studio, submitter, match[1]).count
    except UnknownDataset:
        return None


def bases(studio: Studio, engine: str) -> list[str]:
    """The models that a run of this engine can start from and that are on this machine."""
    setting, sound = _STARTS_FROM[engine]
    drawing = registry.ENGINES["latent-diffusion"].checkpoints
    names = [*drawing, *own_folders(studio.settings.checkpoints_dir)]
    wished = {**sound, "data": "x", "name": "x"}
    return [
        name for name in names if _is_there(studio, name) and setting not in problems(engine, {**wished, setting: name})
    ]


def _is_there(studio: Studio, name: str) -> bool:
    folder = studio.settings.checkpoints_dir
    return name in own_folders(folder) if registry.own_kind(name) else not missing(name, folder)
