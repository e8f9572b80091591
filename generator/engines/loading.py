"""An engine by its name, with its weights on a device. Importing this module does not import torch; `load` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from generator import registry

if TYPE_CHECKING:
    from PIL import Image

    from generator.engines.base import Engine


def load(
    engine: str,
    checkpoint: str,
    clip: tuple[str, ...],
    *,
    device: str,
    checkpoints_dir: str,
    read_image: Callable[[str], Image.Image],
) -> Engine:
    """Loads an engine's weights onto a device.

    `read_image` turns a reference found in the parameters (an artefact key on a server, a path on the
    command line) into a decoded picture; the engine never opens files itself.
    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    spec = registry.lookup("engine", registry.ENGINES, engine)
    if not registry.offers(engine, checkpoint):
        raise registry.UnknownName(f"checkpoint for {engine}", checkpoint, registry.choices(engine))
    for name in clip:
        registry.lookup("CLIP model", registry.CLIP_MODELS, name)
    own = None if checkpoint == registry.NO_CHECKPOINT else registry.checkpoint_spec(checkpoint)
    loaded: Engine = registry.imported((own and own.engine) or spec.engine)(
        checkpoint, clip, device=device, checkpoints_dir=checkpoints_dir, read_image=read_image
    )
    if own and own.styled:
        loaded = registry.imported("generator.engines.finishing:finished")(loaded, device)
    return loaded
