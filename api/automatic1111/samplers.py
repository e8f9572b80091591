"""Samplers by the names that A1111 gives them, and ours."""

from __future__ import annotations

from api.problems import NotAnswered
from generator.output import infotext
from generator.params import BadParams, params_class, validate
from generator.registry import UnknownName

AUTOMATIC = "Automatic"
# Ours -> its aliases there (modules/sd_samplers_kdiffusion.py, sd_samplers_timesteps.py).
_ALIASES: dict[str, tuple[str, ...]] = {
    "dpm-solver-2m": ("k_dpmpp_2m",),
    "euler-ancestral": ("k_euler_a", "k_euler_ancestral"),
    "euler": ("k_euler",),
    "ddim": ("ddim",),
    "pndm": ("plms",),
}
# A1111's name -> ours, and its aliases.
SAMPLERS = {theirs: (ours, _ALIASES[ours]) for ours, theirs in infotext.SAMPLERS.items()}
# Before 1.9 a sampler's name said how its noise levels are spaced.
_SPACINGS = ("_ka", " karras", " exponential", " sgm uniform", " uniform")
_AUTOMATIC = ("", "automatic", "default", "none", "use same sampler")


def sampler_of(engine: str, checkpoint: str, name: str | None) -> str | None:
    """Our name of a sampler; None where the choice is left to us or where the engine has but one way to draw.

    Raises NotAnswered (404) with the names of those that there are.
    """
    if "sampler" not in params_class(engine).model_fields or name is None or name.strip().lower() in _AUTOMATIC:
        return None
    found = _named(name.strip().lower())
    offered = {SAMPLERS[one][0] for one in names(engine, checkpoint)}
    if found not in offered:
        valid = ", ".join(names(engine, checkpoint))
        raise NotAnswered(404, f"Sampler not found: {name[:80]!r}. Choose one of: {valid}.", "sampler_not_found")
    return found


def names(engine: str, checkpoint: str) -> list[str]:
    """A1111's names of the samplers that this checkpoint takes; none where its engine has but one way to draw."""
    if "sampler" not in params_class(engine).model_fields:
        return []
    return [name for name, (ours, _) in SAMPLERS.items() if _takes(engine, checkpoint, ours)]


def _named(name: str) -> str | None:
    for spacing in ("", *_SPACINGS):
        if name.endswith(spacing):
            bare = name.removesuffix(spacing)
            for theirs, (ours, aliases) in SAMPLERS.items():
                if bare in (theirs.lower(), ours, *aliases):
                    return ours
    return None


def _takes(engine: str, checkpoint: str, sampler: str) -> bool:
    try:
        validate(engine, {"prompt": "x", "seed": 0, "checkpoint": checkpoint, "sampler": sampler})
        return True
    except (BadParams, UnknownName):
        return False
