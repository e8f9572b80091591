"""What the executor has in memory: engines with their weights, and whether one more job fits beside them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from executor.context import Context
from executor.memory import free_cached, free_memory
from generator import params as parameters
from generator import registry
from generator.checkpoints.memory import estimate_memory, weight_bytes
from generator.device import Host
from generator.engines import loading

if TYPE_CHECKING:
    from generator.engines.base import Engine
    from generator.params import JobParams

WARM_UP = "warm-up"  # the prompt of what is drawn for nobody


@dataclass(frozen=True)
class EngineKey:
    """What one loaded engine serves: jobs of one engine, checkpoint and set of CLIP models, of any size."""

    engine: str
    checkpoint: str
    clip: tuple[str, ...]
    weights: tuple[tuple[str, str], ...] = ()  # one's own among them, by name and sha256: changed ones are loaded anew

    @classmethod
    def of(cls, engine: str, params: JobParams, weights: Mapping[str, str] | None = None) -> EngineKey:
        return cls(engine, *params.loads, tuple((weights or {}).items()))


class Engines:
    """The engines loaded last, at most `keep` of them unless jobs in progress need more: a chain from candidates to an
    upscaled picture goes through four. Where memory is short, those not in use go earlier."""

    def __init__(self, host: Host, *, keep: int = 4) -> None:
        self.host = host
        self._keep = keep
        self.warm = False  # whether `warm_up` was called
        self._loaded: OrderedDict[EngineKey, Engine] = OrderedDict()

    def __contains__(self, key: EngineKey) -> bool:
        return key in self._loaded

    def get(self, key: EngineKey, in_use: set[EngineKey]) -> Engine:
        """The engine, loaded if it is not there; engines neither `in_use` nor recent make room.

        Raises what loading.load raises.
        """
        if key not in self._loaded:
            while len(self._loaded) >= self._keep and self.drop_unused(in_use, limit=1):
                pass
            self._loaded[key] = loading.load(key.engine, key.checkpoint, key.clip, self.host)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def drop_unused(self, in_use: set[EngineKey], limit: int | None = None) -> int:
        """Free the engines that no job needs, the one used longest ago first; returns how many there were."""
        unused = [key for key in self._loaded if key not in in_use][:limit]
        for key in unused:
            del self._loaded[key]
        if unused:
            free_cached(self.host.device)
        return len(unused)

    def room_for(self, key: EngineKey, params: JobParams, beside: int) -> tuple[int, int | None]:
        """(bytes one more job needs, bytes free or None where the device does not tell).

        beside: jobs of the same batch that take the same step; between steps their activations are not held.
        """
        params = params.sparing  # what does not fit as a whole is drawn with less in memory, where it may be
        whole = estimate_memory(params, self.host.checkpoints_dir)
        weights = weight_bytes(params, self.host.checkpoints_dir)
        needed = (whole - weights) * (beside + 1) + (0 if key in self._loaded else weights)
        return needed, free_memory(self.host.device)


def warm_up(engines: Engines, names: Collection[str], context: Context) -> None:
    """Load the default engine's embedded models, if it is one of these, and draw with them once, so that the first
    visitor need not wait."""
    engines.warm = True
    settings = context.settings
    if settings.default_engine not in {*names} & {*registry.drawing_engines()}:
        return
    name = registry.first_checkpoint(settings.default_engine, settings.default_checkpoint)
    if not registry.checkpoint(name).embedded:
        return
    try:
        params = parameters.validate_job(settings.default_engine, {"prompt": WARM_UP, "checkpoint": name})
        engine = engines.get(EngineKey.of(settings.default_engine, params), set())
        engine.advance([engine.open(params)])
    except Exception as error:  # the first job will fail with the same, in its own name
        context.event("not_loaded", logging.WARNING, error=f"{type(error).__name__}: {error}".splitlines()[0])
    else:
        context.event("loaded", engine=settings.default_engine, checkpoint=name)
