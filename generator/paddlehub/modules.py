"""Which modules there are: a literal table."""

from __future__ import annotations

from dataclasses import dataclass

from generator.paddlehub.arguments import Arguments, DiscoArguments, StableArguments


@dataclass(frozen=True)
class ModuleSpec:
    """One module: its arguments, the engine that draws for it, and the weights it asks for by default.

    real: the checkpoint that it means; embedded: ours where that is not installed. clip: what guides the real one.
    """

    name: str
    arguments: type[Arguments]
    engine: str
    real: str
    embedded: str
    clip: str | None = None


def _disco(name: str, clip: str) -> ModuleSpec:
    return ModuleSpec(name, DiscoArguments, "guided-diffusion", "guided-diffusion-512", "mini-diffusion", clip)


MODULES: dict[str, ModuleSpec] = {
    "disco_diffusion_clip_rn50": _disco("disco_diffusion_clip_rn50", "RN50"),
    "disco_diffusion_clip_rn101": _disco("disco_diffusion_clip_rn101", "RN101"),
    "disco_diffusion_clip_vitb32": _disco("disco_diffusion_clip_vitb32", "ViT-B/32"),
    "stable_diffusion": ModuleSpec(
        "stable_diffusion", StableArguments, "latent-diffusion", "stable-diffusion-1-5", "mini-latent-diffusion"
    ),
}
