"""The parameters of DALL-E Flow's executors, read one by one: numbers arrive as floats.

Unknown names are passed over, as it does: its client sends some of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from generator.params import BadParams, drawing_class

STABLE = "latent-diffusion"  # what draws for its stable executor
MAX_IMAGES = 9
MAX_STEPS, MAX_STEPS_OURS = 250, 20_000
MAX_AREA = 589_824  # px
_NOT_SETTINGS = ("prompt", "checkpoint", "seed", "init", "init_image", "mask_image", "image_prompts")
# Its samplers by what comes nearest of ours; the second-order ones are multistep here.
SAMPLERS = {
    "ddim": "ddim",
    "plms": "pndm",
    "k_lms": "dpm-solver-2m",
    "dpm2": "dpm-solver-2m",
    "dpm2_ancestral": "euler-ancestral",
    "heun": "dpm-solver-2m",
    "euler": "euler",
    "euler_ancestral": "euler-ancestral",
    "dpm_fast": "dpm-solver-2m",
    "dpm_adaptive": "dpm-solver-2m",
    "dpmpp_2m": "dpm-solver-2m",
}


@dataclass(frozen=True)
class Parameters:
    """What came with a request, by name."""

    given: Mapping[str, Any]

    @property
    def images(self) -> int:
        """How many pictures of each Document. Raises BadParams."""
        return self.whole("num_images", 1, MAX_IMAGES) or 1

    def number(self, name: str, minimum: float, maximum: float) -> float | None:
        """Raises BadParams for what is no number from `minimum` to `maximum`."""
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= maximum:
            shown = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else repr(value)[:40]
            raise BadParams(f"{name} = {shown}: {minimum:g} to {maximum:g} is allowed.")
        return float(value)

    def whole(self, name: str, minimum: int, maximum: int) -> int | None:
        """The same, of a whole number."""
        value = self.number(name, minimum, maximum)
        if value is None:
            return None
        if value != int(value):
            raise BadParams(f"{name} = {value:g}: a whole number is needed.")
        return int(value)

    def text(self, name: str) -> str | None:
        """Raises BadParams for what is no text."""
        value = self.given.get(name)
        if value is not None and not isinstance(value, str):
            raise BadParams(f"{name} = {repr(value)[:40]}: text is needed.")
        return value

    def settings(self, engine: str) -> dict[str, Any]:
        """What is a setting of the engine by its name, as `steps`. Raises BadParams for a seed out of range."""
        names = set(drawing_class(engine).model_fields) & self.given.keys() - set(_NOT_SETTINGS)
        found = {name: _whole_again(self.given[name]) for name in names if self.given[name] is not None}
        if "steps" in found:
            found["steps"] = self.whole("steps", 0, MAX_STEPS_OURS)
        seed = self.whole("seed", 0, 2**32 - 1)
        return found if seed is None else {**found, "seed": seed}

    def stable(self) -> dict[str, Any]:
        """What the stable executor takes, under our names. Raises BadParams."""
        sampler = self.text("sampler")
        if sampler is not None and sampler not in SAMPLERS:
            raise BadParams(f"sampler = {sampler[:40]!r}: choose one of {', '.join(SAMPLERS)}.")
        found: dict[str, Any] = {
            "cfg_scale": self.number("scale", 0, 30),
            "steps": self.whole("steps", 1, MAX_STEPS),
            "sampler": SAMPLERS.get(sampler or ""),
        }
        theirs = ("sampler", "strength", "width", "height")  # names that we have as well
        ours = {name: value for name, value in self.settings(STABLE).items() if name not in theirs}
        return {**ours, **{name: value for name, value in found.items() if value is not None}}

    def size(self) -> tuple[int, int] | None:
        """Width and height in px where one of them is given; 512 for the other one. Raises BadParams."""
        width, height = (self.whole(name, 16, 2048) for name in ("width", "height"))
        if width is None and height is None:
            return None
        size = width or 512, height or 512
        if size[0] * size[1] > MAX_AREA:
            raise BadParams(f"width x height = {size[0]} x {size[1]} px: at most {MAX_AREA} px in all are allowed.")
        return size


def _whole_again(value: Any) -> Any:
    """The client makes floats of whole numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
