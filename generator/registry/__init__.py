"""What engines, checkpoints and styles there are: literal tables. Importing this package does not import torch."""

from generator.registry.checkpoints import (
    CHECKPOINTS,
    CLIP_MODELS,
    LOSS_NETWORKS,
    OWN,
    PUBLISHED,
    checkpoint,
    clip_model,
    has_latents,
    is_own_clip,
    naming,
    own_kind,
)
from generator.registry.embedded import (
    DEFAULT_STYLE,
    EMBEDDED_VQGAN,
    RANKING,
    STYLE_CLASSIFIER,
    STYLES,
    TEXT_ENCODER,
    VARYING,
)
from generator.registry.engines import (
    ENGINES,
    NO_CHECKPOINT,
    OWN_UPSCALER,
    STYLED_ONLY,
    EngineSpec,
    choices,
    drawing_engines,
    first_checkpoint,
    imported,
    offers,
)
from generator.registry.names import (
    UnknownName,
    lookup,
)
from generator.registry.rows import (
    Checkpoint,
    File,
)

__all__ = [
    "CHECKPOINTS",
    "CLIP_MODELS",
    "DEFAULT_STYLE",
    "EMBEDDED_VQGAN",
    "ENGINES",
    "LOSS_NETWORKS",
    "NO_CHECKPOINT",
    "OWN",
    "OWN_UPSCALER",
    "PUBLISHED",
    "RANKING",
    "STYLED_ONLY",
    "STYLES",
    "STYLE_CLASSIFIER",
    "TEXT_ENCODER",
    "VARYING",
    "Checkpoint",
    "EngineSpec",
    "File",
    "UnknownName",
    "checkpoint",
    "choices",
    "clip_model",
    "drawing_engines",
    "first_checkpoint",
    "has_latents",
    "imported",
    "is_own_clip",
    "lookup",
    "naming",
    "offers",
    "own_kind",
]
