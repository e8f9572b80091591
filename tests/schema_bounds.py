"""Pictures at the ends of what the schema of an engine permits, derived from its declaration: a new setting is among
them by itself. What is tried with a setting is what it needs to have an effect (COMPANIONS)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from generator.engines.base import Engine, Slot, Step
from generator.params import JobParams

Values = dict[str, Any]
# Not the business of numbers: which models, and whether a picture is upscaled afterwards.
LEFT_OUT = (
    *("prompt", "as_typed", "wording", "checkpoint", "clip", "upscaler", "upscale"),
    *("pictures", "picture", "mask_image", "init_loss", "sprite_sheet"),
)
SLOW = ("cutn_batches=64", "candidates=16")  # seconds, and the same arithmetic as with a few
COMPANIONS: dict[str, Values] = {
    "init_class": {"init": "class", "init_class": "food-fruit"},
    "eta": {"sampler": "ddim"},
    "init_strength": {"init_image": "red.png"},
    "init_scale": {"init_image": "red.png", "skip_steps": 0},
    "skip_steps": {"init_image": "red.png"},
    "strength": {"init_image": "red.png"},
    "init_weight_decay": {"init_weight": 1.0},
    "perlin_mode": {"init": "perlin", "skip_steps": 0},
    "cut_innercut": {"cut_overview": "1"},
    "cut_ic_pow": {"cut_innercut": "3"},
    "cut_icgray_p": {"cut_innercut": "3"},
    "class_topk": {"max_classes": 1},
    "class_temperature": {"max_classes": 2, "latent_weight": 0.1},
    "truncation": {"latent_weight": 0.1},
    "transformation_percent": {"use_horizontal_symmetry": True, "use_vertical_symmetry": True},
    "patience": {"steps": 3},
    "ema": {"steps": 3},
    "style_weight": {"style": "noto"},
    "cutn": {"steps": 1},
    "cutn_batches": {"steps": 1, "cutn": 1},
    "candidates": {"steps": 1},
}
TEXTS: dict[str, tuple[str, ...]] = {
    "style": ("noto",),
    "artist": (),  # for real checkpoints
    "init_class": ("food-fruit",),
    "negative_prompt": ("", "fog"),
    "init_image": ("red.png",),
    "image_prompts": ("", "red.png:100", "red.png:-100"),
    "lora": (),  # for real checkpoints
    "cut_overview": ("256", "[1]*9999+[256]", "0"),
    "cut_innercut": ("256", "[0]*9999+[1]"),
    "cut_ic_pow": ("0.01", "100"),
    "cut_icgray_p": ("0", "1"),
}
INIT_NEEDS: dict[str, Values] = {
    "image": {"init_image": "red.png"},
    "class": {"init_class": "food-fruit"},
    "prior": {},
    "components": {"width": 64, "height": 64},
}


def bound(info: FieldInfo, name: str) -> float | None:
    """A bound of a field: ge, gt, le or lt; None where it has none."""
    found = [getattr(one, name) for one in info.metadata if getattr(one, name, None) is not None]
    return found[0] if found else None


def range_of(info: FieldInfo) -> tuple[float, float]:
    """The least and the greatest number a field permits; beside an open end the next number to it in float32."""
    low, high = bound(info, "ge"), bound(info, "le")
    if low is None:
        low = (bound(info, "gt") or 0.0) + 1.2e-38
    if high is None:
        high = math.nextafter(bound(info, "lt") or 0.0, 0.0)
    return (int(low), int(high)) if info.annotation is int else (float(low), float(high))


def numbers(cls: type[JobParams]) -> dict[str, tuple[float, float]]:
    """The fields that are numbers, with their ends."""
    fields = cls.model_fields.items()
    return {name: range_of(info) for name, info in fields if info.annotation in (int, float) and name not in LEFT_OUT}


def ends(cls: type[JobParams]) -> Iterator[tuple[str, Values]]:
    """(what is tried, settings) for the least and the greatest of every number, every choice and every switch; what is
    the default is tried with all others."""
    for name, info in cls.model_fields.items():
        if name in LEFT_OUT:
            continue
        for value in _values(name, info):
            if value == info.default:
                continue
            needed = INIT_NEEDS.get(value, {}) if name == "init" else COMPANIONS.get(name, {})
            yield f"{name}={value}"[:60], {**needed, name: value}


def _values(name: str, info: FieldInfo) -> tuple[Any, ...]:
    if get_origin(info.annotation) is Literal:
        return get_args(info.annotation)
    if info.annotation is bool:
        return (True, False)
    if info.annotation in (int, float):
        return range_of(info)
    if name not in TEXTS:
        raise KeyError(f"{name} is a new setting; say in TEXTS what is to be tried with it.")
    return TEXTS[name]


def pairs(cls: type[JobParams]) -> Iterator[tuple[str, Values]]:
    """The same for the ends of every two numbers at once."""
    for (one, ends_of_one), (other, ends_of_other) in itertools.combinations(numbers(cls).items(), 2):
        for first, second in itertools.product(ends_of_one, ends_of_other):
            needed = {**COMPANIONS.get(one, {}), **COMPANIONS.get(other, {})}
            yield f"{one}={first:g} {other}={second:g}", {**needed, one: first, other: second}


def beyond(cls: type[JobParams]) -> Iterator[tuple[str, Any]]:
    """(name, value) just outside the range of every number, and what is no number at all."""
    for name, (low, high) in numbers(cls).items():
        step: Callable[[float, float], float] = lambda value, to: value + (1 if to > 0 else -1)  # noqa: E731
        whole = cls.model_fields[name].annotation is int
        yield name, step(low, -1) if whole else (low - 1 if low else -1e-30)
        yield name, step(high, 1) if whole else math.nextafter(high, math.inf) + 1e-9
        yield from ((name, wrong) for wrong in (math.nan, math.inf, -math.inf))


def first_and_last(engine: Engine, params: JobParams, most: int) -> list[Step]:
    """The steps of a picture. Of more than `most` only the first ones and the last ones are made, in between its place
    is moved: so the arithmetic of both ends of a long schedule is tried."""
    slot: Slot = engine.open(params)
    steps: list[Step] = []
    while not slot.done:
        if len(steps) == most // 2 and params.total_steps - slot.index > most:
            slot.index = params.total_steps - most // 2
        steps += engine.advance([slot])
    return steps


def trouble(steps: list[Step], params: JobParams) -> str | None:
    """What is wrong with the steps of a picture; None where all is as it should be."""
    for step in steps:
        if step.error is not None:
            return f"step {step.index}: {step.error}"
        if step.total != params.total_steps or not 0 <= step.index <= step.total:
            return f"step {step.index} of {step.total}, and {params.total_steps} were planned"
        if not math.isfinite(step.score) or abs(step.score) > 1.001:
            return f"step {step.index}: score {step.score}"
        if not all(math.isfinite(value) for value in step.losses.values()):
            return f"step {step.index}: losses {step.losses}"
        if step.image is not None and not bool(((step.image >= 0) & (step.image <= 1)).all()):
            return f"step {step.index}: the picture has numbers outside [0, 1], or none"
    return None if steps and steps[-1].done and steps[-1].image is not None else "there is no finished picture"
