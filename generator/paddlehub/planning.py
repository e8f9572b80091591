"""From the arguments of a module to the settings of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator import registry
from generator.checkpoints.inventory import first_installed
from generator.paddlehub.arguments import Arguments, DiscoArguments, StableArguments, as_schedule, checked
from generator.paddlehub.modules import ModuleSpec
from generator.params import BadParams
from generator.prompts import append_words

START = "init_image"  # what the picture to start from is called in the settings
MAX_PROMPTS = 8
SAME = (
    *("steps", "skip_steps", "init_scale", "clip_guidance_scale", "tv_scale", "range_scale", "sat_scale"),
    *("cutn_batches", "eta", "clamp_grad", "clamp_max", "clip_denoised"),
)
SCHEDULES = ("cut_ic_pow", "cut_overview", "cut_innercut", "cut_icgray_p")


@dataclass(frozen=True)
class Group:
    """Pictures of one prompt that are drawn together. values: of the engine, the seed of the first one among them."""

    prompt: str
    values: dict[str, Any]
    count: int


@dataclass(frozen=True)
class Plan:
    """What is to be drawn, group by group; notes: what is not as it was asked for, in sentences."""

    module: ModuleSpec
    arguments: Arguments
    checkpoint: str
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def plan(module: ModuleSpec, values: dict[str, Any], checkpoints_dir: Path) -> Plan:
    """Raises BadParams for arguments out of range, UnknownName for the checkpoint."""
    arguments = checked(module.arguments, values)
    row, notes = _checkpoint(module, arguments.checkpoint, checkpoints_dir)
    if arguments.ignored:
        notes.append(f"Without effect here: {', '.join(arguments.ignored)}.")
    make = _disco if isinstance(arguments, DiscoArguments) else _stable
    groups = make(module, arguments, row, notes)
    return Plan(module, arguments, row.name, groups, tuple(notes))


def starts_from_picture(wanted: Plan) -> bool:
    """Whether a picture to start from is needed."""
    arguments = wanted.arguments
    return isinstance(arguments, DiscoArguments) and not arguments.perlin_init and arguments.init_image is not None


def with_words(prompt: str, style: str | None, artist: str | None) -> str:
    """The prompt as PaddleHub builds it: `a tree` -> `a tree,oil painting,Monet,trending on artstation`.

    A weight stays at its end, where PaddleHub loses it: `a tree:2` -> `a tree,oil painting:2`.
    """
    words = [*([style] if style else []), *([f"{artist},trending on artstation"] if artist else [])]
    return append_words(prompt, ",".join(words)) if words else prompt.rstrip(",.，。")


def _checkpoint(module: ModuleSpec, wanted: str | None, checkpoints_dir: Path) -> tuple[registry.Checkpoint, list[str]]:
    if wanted is not None:
        if not registry.offers(module.engine, wanted):
            raise registry.UnknownName("checkpoint", wanted, registry.choices(module.engine))
        return registry.checkpoint(wanted), []
    row = registry.checkpoint(first_installed((module.real, module.embedded), checkpoints_dir))
    if row.name == module.real:
        return row, []
    get = f"python -m generator.checkpoints download {module.real}"
    return row, [f"{module.real} is not installed, so {_own_size(row)}. Get it with: {get}"]


def _disco(module: ModuleSpec, given: DiscoArguments, row: registry.Checkpoint, notes: list[str]) -> tuple[Group, ...]:
    texts = _texts(given.text_prompts)[:1]
    prompt = with_words(texts[0], given.style, given.artist)
    values: dict[str, Any] = {"checkpoint": row.name, "prompt": prompt, **_size(given, row, notes)}
    # An embedded model was trained for other settings: what is not said is its own there.
    said = given.model_fields_set if row.embedded else set(type(given).model_fields)
    values |= {name: getattr(given, name) for name in SAME if name in said}
    values |= {name: as_schedule(getattr(given, name)) for name in SCHEDULES if name in said}
    if not row.embedded:
        values["clip"] = (module.clip,)
    if given.perlin_init:
        values |= {"init": "perlin", "perlin_mode": given.perlin_mode}
    elif given.init_image is not None:
        values |= {"init": "image", "init_image": START}
    else:
        values.pop("skip_steps", None)  # there is nothing to keep of
        values |= {} if row.embedded else {"init": "noise"}
    if given.diffusion_sampling_mode == "plms":
        values |= {"sampler": "dpm-solver-2m", "eta": 0.0}
        notes.append("plms: the multistep sampler here is DPM-Solver++(2M), which draws no noise anew (eta 0).")
    if given.n_batches * given.batch_size > MAX_PROMPTS:
        raise BadParams(
            f"n_batches = {given.n_batches} of batch_size = {given.batch_size}: at most {MAX_PROMPTS} pictures in all "
            "are allowed."
        )
    seeds = [{} if given.seed is None else {"seed": (given.seed + n * given.batch_size) % 2**32} for n in range(8)]
    return tuple(Group(prompt, {**values, **seeds[n]}, given.batch_size) for n in range(given.n_batches))


def _stable(
    module: ModuleSpec, given: StableArguments, row: registry.Checkpoint, notes: list[str]
) -> tuple[Group, ...]:
    values: dict[str, Any] = {"checkpoint": row.name, **_size(given, row, notes)}
    said = given.model_fields_set if row.embedded else set(type(given).model_fields)
    if "num_inference_steps" in said:
        values["steps"] = given.num_inference_steps
    if "guidance_scale" in said:
        values["cfg_scale"] = given.guidance_scale
    if not row.embedded:
        values |= {"sampler": "pndm", "candidates": 1}
    if given.seed:
        values["seed"] = given.seed
    texts = _texts(given.text_prompts)
    if len(texts) > MAX_PROMPTS or len(texts) * given.batch_size > MAX_PROMPTS * MAX_PROMPTS // 2:
        raise BadParams(
            f"{len(texts)} prompts of {given.batch_size} pictures each are too many: {MAX_PROMPTS} prompts."
        )
    prompts = [with_words(text, given.style, given.artist) for text in texts]
    return tuple(Group(prompt, {**values, "prompt": prompt}, given.batch_size) for prompt in prompts)


def _texts(given: str | list[str]) -> list[str]:
    texts = [given] if isinstance(given, str) else list(given)
    if not texts:
        raise BadParams("text_prompts is empty. Write what you want to see, for example: a red heart")
    return texts


def _size(given: Any, row: registry.Checkpoint, notes: list[str]) -> dict[str, int]:
    """width and height of a real model; of an embedded one its own, which is said where another one was asked for."""
    width, height = given.width_height
    if not row.embedded:
        return {"width": width, "height": height}
    if given.checkpoint is not None and "width_height" in given.model_fields_set:
        notes.append(f"Not {width} x {height} px: {_own_size(row)}.")
    return {}


def _own_size(row: registry.Checkpoint) -> str:
    own = row.defaults
    return f"the embedded {row.name} draws {own['width']} x {own['height']} px, upscaled"
