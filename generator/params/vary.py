"""From a finished picture to settings that draw variations of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from generator import registry
from generator.params.base import NOTHING_YET, BadParams
from generator.params.validation import drawing_class, params_class

COUNT, SKIP_RATE = 4, 0.6  # of variations, unless told: enough to choose from, and rather near
MIN_STRENGTH = 0.05
RANDOM_CODES = 0.15  # of the codes at skip_rate 0: enough for variety, few enough for the picture to stay itself


def takes_pictures() -> list[str]:
    """The engines that can start from a picture."""
    return [name for name in registry.drawing_engines() if "init_image" in params_class(name).model_fields]


def varied(engine: str, values: Mapping[str, Any], picture: str, skip_rate: float) -> dict[str, Any]:
    """The settings of an engine, changed so that they start from a picture.

    picture: its key or id. skip_rate: the share of the way that is skipped, 0 to 1; greater keeps more of the picture
    (Disco Diffusion's skip_steps / steps, DALL-E Flow's skip_rate). Diffusion starts that much later; where z is
    optimised, fewer places of the picture are replaced by random codes and z is held to the picture harder.
    Raises UnknownName, or BadParams for an engine that cannot start from a picture or a rate out of range.
    """
    fields = drawing_class(engine).model_fields
    if engine not in takes_pictures():
        raise BadParams(f"{engine} cannot start from a picture. Choose one of: {', '.join(takes_pictures())}.")
    if not 0 <= skip_rate <= 1:
        raise BadParams(f"skip_rate = {skip_rate:g}: 0 to 1 is allowed.")
    made = {**values, "init_image": picture}
    if "init" in fields:
        made["init"] = "image"
        if values.get("init") in NOTHING_YET and not values.get("style_weight"):
            made.pop("style_weight", None)
    if "skip_steps" in fields:
        steps = int(made.get("steps") or _default(engine, made, "steps"))
        made["skip_steps"] = min(round(steps * skip_rate), steps - 1)
    elif "strength" in fields:
        made["strength"] = max(round(1 - skip_rate, 4), MIN_STRENGTH)
    elif "init_strength" in fields:
        made["init_strength"] = round(1 - RANDOM_CODES * (1 - skip_rate), 4)
        made["init_weight"] = round(2 * skip_rate, 4)
    return made


def kept(engine: str, values: Mapping[str, Any], other: str) -> dict[str, Any]:
    """What a variation by `other` takes over from a picture that `engine` drew with these settings: all of them where
    that is the same engine, else prompt, style and how it is upscaled: the other one's texts are still to be
    understood, which leaves what is understood already. Raises UnknownName."""
    if engine == other:
        return dict(values)
    taken: dict[str, Any] = {"prompt": values.get("prompt")}
    if "prompt" in (values.get("wording") or {}):
        taken["wording"] = {"prompt": values["wording"]["prompt"]}
    if values.get("as_typed"):
        taken["as_typed"] = True
    taken |= {name: values[name] for name in ("upscale", "upscaler") if name in values}
    style = values.get("style")
    if style in registry.STYLES and registry.checkpoint(registry.first_checkpoint(other, "")).styled:
        taken["style"] = style  # elsewhere a style may be any words
    return taken


def _default(engine: str, values: Mapping[str, Any], name: str) -> Any:
    fields = params_class(engine).model_fields
    checkpoint = str(values.get("checkpoint") or fields["checkpoint"].default)
    return registry.checkpoint(checkpoint).defaults.get(name, fields[name].default)
