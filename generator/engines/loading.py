"""An engine by its name, with its weights on a device. Importing this module does not import torch; `load` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from generator import registry
from generator.checkpoints.resolve import resolve, resolve_clip
from generator.device import Host

if TYPE_CHECKING:
    from generator.engines.base import Engine


def load(engine: str, checkpoint: str, clip: tuple[str, ...], host: Host) -> Engine:
    """Loads an engine's weights onto the host's device. The names are asked for here and nowhere below.

    Raises UnknownName, CheckpointMissing, CheckpointDamaged.
    """
    spec = registry.lookup("engine", registry.ENGINES, engine)
    if not registry.offers(engine, checkpoint):
        raise registry.UnknownName(f"checkpoint for {engine}", checkpoint, registry.choices(engine))
    clips = [resolve_clip(name) for name in clip]
    weights = None if checkpoint == registry.NO_CHECKPOINT else resolve(checkpoint, host.checkpoints_dir)
    loaded: Engine = registry.imported((weights and weights.engine) or spec.engine)(weights, clips, host)
    if weights and weights.styled:
        loaded = registry.imported("generator.engines.finishing:finished")(loaded, host.device)
    loaded.exact = host.exact
    if host.compiled and host.device.startswith("cuda"):
        registry.imported("generator.compiled:compile_networks")(loaded)
    return loaded
