"""Which checkpoints there are, by name: those in the tables, and folders of one's own.

CHECKPOINTS are what an engine may be given as `checkpoint`, CLIP_MODELS as `clip`, LOSS_NETWORKS what its losses need.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from generator.registry.embedded import EMBEDDED, EMBEDDED_CLIPS
from generator.registry.generators import CAPTIONED, FLOW, GENERATORS, STABLE, VQModel
from generator.registry.guides import NETWORKS, OWN_CLIP, PUBLISHED_CLIPS
from generator.registry.names import lookup
from generator.registry.rows import Checkpoint

CHECKPOINTS: dict[str, Checkpoint] = EMBEDDED | GENERATORS
CLIP_MODELS: dict[str, Checkpoint] = EMBEDDED_CLIPS | PUBLISHED_CLIPS
LOSS_NETWORKS: dict[str, Checkpoint] = NETWORKS
# What can be downloaded, by the name it is asked for.
PUBLISHED: dict[str, Checkpoint] = GENERATORS | PUBLISHED_CLIPS | LOSS_NETWORKS


@dataclass(frozen=True)
class Own:
    """Checkpoints of one's own of one kind: the engine that draws with them, and the row all of them have."""

    engine: str
    row: Checkpoint


def _own(name: str, like: Checkpoint) -> Checkpoint:
    return replace(like, name=name, own=True, licence="as its publisher says", files=(), shapes={})


# Kinds of checkpoints of one's own. Each is a folder below the checkpoints' folder: KIND/NAME, made by hand, or
# KIND/OWNER/MODEL, which can be fetched from Hugging Face. Nothing else is a path: jobs come from strangers.
OWN: dict[str, Own] = {
    "diffusers": Own("latent-diffusion", _own("diffusers", Checkpoint(name="", title="A diffusers folder", **STABLE))),
    **{
        f"vqgan-f{factor}": Own(
            "vqgan-clip",
            _own(f"vqgan-f{factor}", Checkpoint(name="", title=f"VQGAN f{factor}", factor=factor, **VQModel)),
        )
        for factor in (4, 8, 16, 32)
    },
    **{
        name: Own(engine, _own(name, GENERATORS[name]))
        for engine, names in (
            ("biggan-clip", ("biggan-deep-128", "biggan-deep-256", "biggan-deep-512")),
            ("guided-diffusion", ("guided-diffusion-256", "guided-diffusion-512")),
        )
        for name in names
    },
    "caption-diffusion": Own(
        "latent-diffusion",
        _own("caption-diffusion", Checkpoint(name="", title="Trained from captions", **CAPTIONED)),
    ),
    "flow": Own("latent-diffusion", _own("flow", Checkpoint(name="", title="Flow of the second family", **FLOW))),
}
_NAME = "[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_OWN_FOLDER = re.compile(rf"({'|'.join(OWN)})/{_NAME}(/{_NAME})?")


def own_kind(name: str) -> str | None:
    """The kind, a key of OWN, of a checkpoint of one's own (KIND/NAME or KIND/OWNER/MODEL); None for other names."""
    match = _OWN_FOLDER.fullmatch(name)
    return match[1] if match else None


def is_own_clip(name: str) -> bool:
    """Whether it is the name of a CLIP of one's own: clip/NAME."""
    return re.fullmatch(f"clip/{_NAME}", name) is not None


def clip_model(name: str) -> Checkpoint:
    """The row of a CLIP that guides or ranks; one of one's own has that of all, under its own name. Raises
    UnknownName."""
    return replace(OWN_CLIP, name=name) if is_own_clip(name) else lookup("CLIP model", CLIP_MODELS, name)


def has_latents(name: str) -> bool:
    """Whether a model trained from captions can draw in the latents of this checkpoint: Stable Diffusion 1's, or one of
    one's own, which may be it."""
    return name.startswith("stable-diffusion-1") or own_kind(name) == "diffusers"


def naming(name: str) -> str:
    """What signs the NAME of one's own checkpoint may have, as a sentence, where it looks like one and has others."""
    ours = any(name.startswith(f"{kind}/") for kind in OWN) and own_kind(name) is None
    return "Names of your own files have letters, digits, _, . and - alone: rename it." if ours else ""


def checkpoint(name: str) -> Checkpoint:
    """The row of a checkpoint; one of one's own has that of its kind, under its own name. Raises UnknownName."""
    kind = own_kind(name)
    return replace(OWN[kind].row, name=name) if kind else lookup("checkpoint", CHECKPOINTS, name)
