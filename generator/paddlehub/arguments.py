"""The arguments of `generate_image`, declared once: the Python call, the command line and the serving are derived.

Names, order and defaults are PaddleHub's (modules/image/text_to_image, 2023). Those said to have no effect here are
accepted so that programs written for it run.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from generator.params import BadParams

MAX_PICTURES = 8
NO_EFFECT = "No effect here."
Schedule = str | int | float | list[float]


def _argument(default: Any, description: str, **bounds: Any) -> Any:
    return Field(default, description=description, **bounds)


class Arguments(BaseModel):
    """What both modules take; `checkpoint` is this project's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    cli_defaults: ClassVar[Mapping[str, Any]] = {}  # where PaddleHub's command line differs from its Python call
    unused: ClassVar[Mapping[str, Any]] = {}  # without effect here -> the value that asks for none

    @property
    def named(self) -> dict[str, Any]:
        """All of them by name, as they were checked."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    @property
    def ignored(self) -> list[str]:
        """What was asked for and has no effect here."""
        return [name for name, value in self.unused.items() if getattr(self, name) != value]


class DiscoArguments(Arguments):
    """Of disco_diffusion_clip_rn50, rn101 and vitb32."""

    cli_defaults = {"rand_mag": 0.5}
    unused = {"randomize_class": True, "fuzzy_prompt": False}

    text_prompts: str | list[str] = _argument(..., "What to draw; of a list the first text. text:2 weighs it.")
    style: str | None = _argument(None, "Words for the style, added to the prompt.", max_length=200)
    artist: str | None = _argument(None, "An artist, added to the prompt.", max_length=200)
    init_image: Any = _argument(None, "A picture to start from: a file's path or a Pillow image.")
    width_height: tuple[int, int] = _argument((1280, 768), "Size in px, floored to multiples of 64.")
    skip_steps: int = _argument(0, "Of a start picture: noisy steps left out.", ge=0, le=999)
    steps: int = _argument(250, "Steps from noise to picture.", ge=1, le=1000)
    cut_ic_pow: Schedule = _argument(1, "Above 1 favours small inner cuts.")
    init_scale: float = _argument(1000, "Weight of the likeness to the start picture.", ge=0, le=1e6)
    clip_guidance_scale: float = _argument(5000, "Scale of CLIP's gradient.", ge=0, le=1e6)
    tv_scale: float = _argument(0, "Weight of smoothness.", ge=0, le=1e6)
    range_scale: float = _argument(0, "Weight of colours out of range.", ge=0, le=1e6)
    sat_scale: float = _argument(0, "Weight of extreme colours.", ge=0, le=1e6)
    cutn_batches: int = _argument(4, "Times per step that cutouts are drawn.", ge=1, le=64)
    diffusion_sampling_mode: Literal["ddim", "plms"] = _argument(
        "ddim", "plms: DPM-Solver++(2M) here, a multistep method as well."
    )
    perlin_init: bool = _argument(False, "Start from clouds of Perlin noise.")
    perlin_mode: Literal["mixed", "color", "gray"] = _argument("mixed", "Their colours.")
    seed: int | None = _argument(None, "None: a random one.", ge=0, le=2**32 - 1)
    eta: float = _argument(0.8, "Noise drawn anew in each DDIM step.", ge=0, le=1)
    clamp_grad: bool = _argument(True, "Limit the gradient to clamp_max.")
    clamp_max: float = _argument(0.05, "Greatest root mean square of the gradient.", gt=0, le=100)
    randomize_class: bool = _argument(True, NO_EFFECT)
    clip_denoised: bool = _argument(False, "Keep denoised pictures in the range of colours.")
    fuzzy_prompt: bool = _argument(False, NO_EFFECT)
    rand_mag: float = _argument(0.05, NO_EFFECT)
    cut_overview: Schedule = _argument("[12]*400+[4]*600", "Cutouts of the whole picture over the run.")
    cut_innercut: Schedule = _argument("[4]*400+[12]*600", "Cutouts inside the picture over the run.")
    cut_icgray_p: Schedule = _argument("[0.2]*400+[0]*600", "Share of grey inner cutouts over the run.")
    display_rate: int = _argument(10, "Steps between the pictures on the way.", ge=1, le=1000)
    n_batches: int = _argument(1, "Results: one Document each.", ge=1, le=MAX_PICTURES)
    batch_size: int = _argument(1, "Pictures drawn together for each of them.", ge=1, le=MAX_PICTURES)
    batch_name: str = _argument("", "A part of the files' names.", max_length=100)
    use_gpu: bool = _argument(True, "Where there is one; False: the CPU.")
    output_dir: str | None = _argument("disco_diffusion_clip_rn50_out", "Folder of the files; None: no files.")
    checkpoint: str | None = _argument(None, "Weights by our name; none: the real ones if installed, else embedded.")


class StableArguments(Arguments):
    """Of stable_diffusion."""

    cli_defaults = {"display_rate": 10}
    unused = {"enable_fp16": False}

    text_prompts: str | list[str] = _argument(..., "What to draw; each text of a list is a picture of its own.")
    style: str | None = _argument(None, "Words for the style, added to every prompt.", max_length=200)
    artist: str | None = _argument(None, "An artist, added to every prompt.", max_length=200)
    width_height: tuple[int, int] = _argument((512, 512), "Size in px, floored to multiples of 8.")
    batch_size: int = _argument(1, "Pictures of each prompt.", ge=1, le=MAX_PICTURES)
    num_inference_steps: int = _argument(50, "Steps from noise to picture.", ge=1, le=500)
    guidance_scale: float = _argument(7.5, "Scale of the prompt.", ge=0, le=30)
    enable_fp16: bool = _argument(False, f"{NO_EFFECT} The precision is what the device does best.")
    seed: int | None = _argument(None, "None or 0: a random one.", ge=0, le=2**32 - 1)
    display_rate: int = _argument(5, "Steps between the pictures on the way.", ge=1, le=1000)
    use_gpu: bool = _argument(True, "Where there is one; False: the CPU.")
    output_dir: str | None = _argument("stable_diffusion_out", "Folder of the files; None: no files.")
    checkpoint: str | None = _argument(None, "Weights by our name; none: the real ones if installed, else embedded.")


def checked(cls: type[Arguments], values: Mapping[str, Any]) -> Any:
    """The arguments. Raises BadParams with one sentence for each that is unknown, missing or out of range."""
    unknown = [name for name in values if name not in cls.model_fields]
    if unknown:
        raise BadParams(f"Unknown argument {unknown[0][:60]!r}. Arguments: {', '.join(cls.model_fields)}.")
    try:
        return cls(**values)
    except ValidationError as error:
        raise BadParams(" ".join(dict.fromkeys(_sentence(one) for one in error.errors()))) from None


def _sentence(error: Any) -> str:
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return f"{name} is missing."
    message = str(error["msg"])
    return f"{name} = {repr(error.get('input'))[:60]}: {message[0].lower()}{message[1:]}."


def signature(cls: type[Arguments]) -> inspect.Signature:
    """As `generate_image` would declare them, `checkpoint` by its name only."""
    made = []
    for name, field in cls.model_fields.items():
        own = name == "checkpoint"
        made.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY if own else inspect.Parameter.POSITIONAL_OR_KEYWORD,
                default=inspect.Parameter.empty if field.is_required() else field.default,
                annotation=field.annotation,
            )
        )
    return inspect.Signature(made)


def described(cls: type[Arguments]) -> str:
    """One line for each argument."""
    return "\n".join(f"{name}: {field.description}" for name, field in cls.model_fields.items())


def as_schedule(value: str | float | Sequence[float]) -> str:
    """A schedule as our engines read it; a list with its repetitions counted."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return f"{value:g}"
    runs: list[tuple[float, int]] = []
    for one in value:
        if runs and runs[-1][0] == one:
            runs[-1] = one, runs[-1][1] + 1
        else:
            runs.append((one, 1))
    return "+".join(f"[{one:g}]*{times}" for one, times in runs)
