"""The settings of an engine as a form offers them, made from its parameter declaration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from db.models import trained
from generator import registry
from generator.checkpoints.inventory import own_clips, own_folders, own_loras
from generator.params import RECORD, BadParams, params_class, validate
from studio.context import Studio

# What a form has its own widget for, or fills in from an upload.
OWN_WIDGET = ("prompt", "style", "seed", "init_image", "image_prompts", "mask_image", "as_typed", "wording")
_TITLES = {
    "rank": "Rank of the matrices",
    "cache_mb": "Cache",
}  # where the name alone says another thing elsewhere on the pages
_ACRONYMS = {"tv": "TV", "ema": "EMA", "clip": "CLIP", "snr": "SNR", "tensorboard": "TensorBoard"}
_CHOICES_OF = {"clip": tuple(registry.CLIP_MODELS)}


@dataclass(frozen=True)
class Field:
    """One setting as the form shows it; bounds are inclusive, None where there is none.

    numbers: several whole numbers in one line; lines: several texts, one a line.
    """

    name: str
    kind: Literal["choice", "choices", "switch", "whole", "number", "text", "numbers", "lines"]
    group: str
    unit: str
    help: str
    choices: tuple[Any, ...] = ()  # texts, or whole numbers
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None  # values are multiples of it

    @property
    def title(self) -> str:
        """The name in words, for people."""
        if self.name in _TITLES:
            return _TITLES[self.name]
        text = " ".join(_ACRONYMS.get(word, word) for word in self.name.split("_"))
        return text[0].upper() + text[1:]


def fields(engine: str, checkpoint: str, checkpoints: Sequence[str]) -> dict[str, list[Field]]:
    """The settings of an engine that this checkpoint reads, by group, in the order of their declaration.

    checkpoints: those to choose from. Raises registry.UnknownName.
    """
    groups: dict[str, list[Field]] = {}
    spec = registry.checkpoint(checkpoint)
    for name, info in params_class(engine).model_fields.items():
        if name in spec.unused or (name in registry.STYLED_ONLY and not spec.styled):
            continue
        field = _field(name, info, checkpoints)
        if field.group == RECORD:
            continue
        if (most := {"steps": spec.max_steps, "width": spec.max_side, "height": spec.max_side}.get(name)) is not None:
            field = replace(field, maximum=float(min(most, field.maximum or most)))
        groups.setdefault(field.group, []).append(field)
    return groups


def run_fields(engine: str, bases: Sequence[str] = ()) -> dict[str, list[Field]]:
    """The settings of an engine that makes models, by group, in the order of their declaration; not its data.

    bases: the checkpoints it can start from. Raises registry.UnknownName.
    """
    groups: dict[str, list[Field]] = {}
    for name, info in params_class(engine).model_fields.items():
        field = _field(name, info, bases)
        if field.group != RECORD and name != "data":
            groups.setdefault(field.group, []).append(field)
    return groups


def checkpoints(studio: Studio, engine: str) -> list[str]:
    """Those of the tables, the host's own that are there, and those trained here. Raises registry.UnknownName."""
    there = [*own_folders(studio.settings.checkpoints_dir), *(model.name for model in trained.listed(studio.db))]
    own = [name for name in dict.fromkeys(there) if "/" in name and _is_offered(engine, name)]
    return [*registry.lookup("engine", registry.ENGINES, engine).checkpoints, *own]


def loras(studio: Studio) -> list[str]:
    """The names of the LoRAs in the folder of checkpoints, and of those trained here or brought along."""
    known = [model.name.removeprefix("lora/") for model in trained.listed(studio.db, "lora")]
    return list(dict.fromkeys([*own_loras(studio.settings.checkpoints_dir), *known]))


def clips(studio: Studio) -> list[str]:
    """The CLIP models of the table, and the host's own that are there."""
    return [*registry.CLIP_MODELS, *own_clips(studio.settings.checkpoints_dir)]


def _is_offered(engine: str, name: str) -> bool:
    """Whether the engine draws with it; a LoRA is no checkpoint."""
    return registry.own_kind(name) is not None and registry.offers(engine, name)


def defaults(engine: str, checkpoint: str) -> dict[str, Any]:
    """What each setting is before anybody changes it, for this checkpoint; the seed is random."""
    # Asked of the declaration itself, since some settings follow from others.
    return {**dict(validate(engine, {"prompt": "x", "checkpoint": checkpoint, "seed": 0})), "seed": None}


def changed(engine: str, checkpoint: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a form's values that are not what follows from the others, each with what does.

    Without what has a widget of its own. Raises registry.UnknownName.
    """
    plain = defaults(engine, checkpoint)
    given = {
        name: value
        for name, value in values.items()
        if name in plain and name not in ("prompt", "seed", "checkpoint") and _listed(value) != _listed(plain[name])
    }
    found = {}
    for name in given.keys() - set(OWN_WIDGET):
        others = {other: value for other, value in given.items() if other != name}
        try:
            usual = dict(validate(engine, {"prompt": "x", "checkpoint": checkpoint, "seed": 0, **others}))[name]
        except BadParams:
            usual = plain[name]
        if _listed(usual) != _listed(given[name]):
            found[name] = usual
    return {name: found[name] for name in values if name in found}


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def follows(engine: str, params: Mapping[str, Any], name: str) -> bool:
    """Whether a setting of a job is what follows from the others."""
    try:
        others = {other: value for other, value in params.items() if other != name}
        return bool(validate(engine, others).model_dump(mode="json")[name] == params[name])
    except (BadParams, registry.UnknownName, KeyError):
        return False


def _field(name: str, info: FieldInfo, checkpoints: Sequence[str]) -> Field:
    extra: Any = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    field = Field(name, "text", str(extra.get("group", "more")), str(extra.get("unit", "")), info.description or "")
    kind: Any = info.annotation
    if name == "checkpoint":
        return replace(field, kind="choice", choices=tuple(checkpoints))
    if name == "base":
        return replace(field, kind="choice", choices=("", *checkpoints))
    if name == "upscaler":
        return replace(field, kind="choice", choices=registry.ENGINES["upscale"].checkpoints)
    if get_origin(kind) is tuple and (get_args(kind)[0] is int or name == "captions"):
        return replace(field, kind="lines" if name == "captions" else "numbers", maximum=_bound(info, "max_length"))
    if get_origin(kind) is tuple:  # where no choices are known here, as of LoRAs, they are written
        return replace(field, kind="choices", choices=_CHOICES_OF.get(name, ()), maximum=_bound(info, "max_length"))
    if get_origin(kind) is Literal:
        return replace(field, kind="choice", choices=get_args(kind))
    if kind is bool:
        return replace(field, kind="switch")
    if kind in (int, float):
        minimum, maximum = _bound(info, "ge", "gt"), _bound(info, "le", "lt")
        step = _bound(info, "multiple_of")
        return replace(field, kind="whole" if kind is int else "number", minimum=minimum, maximum=maximum, step=step)
    return field


def _bound(info: FieldInfo, *names: str) -> float | None:
    for constraint in info.metadata:
        for name in names:
            if (value := getattr(constraint, name, None)) is not None:
                return float(value)
    return None
