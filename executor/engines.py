"""What the executor has in memory: engines with their weights, and whether one more job fits beside them."""

from __future__ import annotations

import gc
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import generator.device
from generator import registry

if TYPE_CHECKING:
    from PIL import Image

    from generator.engine import Engine
    from generator.params import JobParams

GIB = 1 << 30
_CGROUP = Path("/sys/fs/cgroup")


class NotEnoughMemory(RuntimeError):
    """The device cannot hold this job; the message says what it needs, what there is and what to lower."""


@dataclass(frozen=True)
class EngineKey:
    """What one loaded engine serves: jobs of one engine, checkpoint and set of CLIP models, of any size."""

    engine: str
    checkpoint: str
    clip: tuple[str, ...]

    @classmethod
    def of(cls, engine: str, params: JobParams) -> EngineKey:
        return cls(engine, *params.loads)


class Engines:
    """The engines loaded last, at most `keep` of them unless jobs in progress need more: a chain from candidates to an
    enlarged picture goes through four. Where memory is short, those not in use go earlier."""

    def __init__(
        self, device: str, checkpoints_dir: Path, read_image: Callable[[str], Image.Image], *, keep: int = 4
    ) -> None:
        self.device = device
        self._checkpoints_dir = checkpoints_dir
        self._read_image = read_image
        self._keep = keep
        self._loaded: OrderedDict[EngineKey, Engine] = OrderedDict()

    def __contains__(self, key: EngineKey) -> bool:
        return key in self._loaded

    def get(self, key: EngineKey, in_use: set[EngineKey]) -> Engine:
        """The engine, loaded if it is not there; engines neither `in_use` nor recent make room.

        Raises what registry.load raises.
        """
        if key not in self._loaded:
            while len(self._loaded) >= self._keep and self.drop_unused(in_use, most=1):
                pass
            self._loaded[key] = registry.load(
                key.engine,
                key.checkpoint,
                key.clip,
                device=self.device,
                checkpoints_dir=str(self._checkpoints_dir),
                read_image=self._read_image,
            )
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def drop_unused(self, in_use: set[EngineKey], most: int | None = None) -> int:
        """Free the engines that no job needs, the one used longest ago first; returns how many there were."""
        unused = [key for key in self._loaded if key not in in_use][:most]
        for key in unused:
            del self._loaded[key]
        if unused:
            free_cached(self.device)
        return len(unused)

    def room_for(self, key: EngineKey, params: JobParams, beside: int) -> tuple[int, int | None]:
        """(bytes one more job needs, bytes free or None where the device does not tell).

        beside: jobs of the same batch that take the same step; between steps their activations are not held.
        """
        params = params.sparing  # what does not fit as a whole is drawn with less in memory, where it may be
        whole = registry.estimate_memory(params, self._checkpoints_dir)
        weights = registry.weight_bytes(params, self._checkpoints_dir)
        needed = (whole - weights) * (beside + 1) + (0 if key in self._loaded else weights)
        return needed, free_memory(self.device)


def too_large(params: JobParams, needed: int, free: int, device: str) -> NotEnoughMemory:
    """The sentence for a job that does not fit even when it is alone."""
    at = "" if params.actual_size is None else " at {} x {} px".format(*params.actual_size)
    name = next((name for name in ("cutn", "candidates") if hasattr(params, name)), None)
    seen = "" if name is None else f" with {params.cutouts_per_step} {'cutouts' if name == 'cutn' else name}"
    return NotEnoughMemory(
        f"This job needs about {needed / GIB:.1f} GiB of memory{at}{seen}, and {device} has {free / GIB:.1f} GiB free; "
        f"{params.memory_advice}."
    )


def too_large_even_alone(params: JobParams, device: str) -> str:
    """The sentence for a job that ran out of memory with nothing beside it."""
    at = "" if params.actual_size is None else " at {} x {} px".format(*params.actual_size)
    parts = ", even with one job and one cutout at a time" if params.cutouts_per_step else ""
    more = ", or switch checkpoint_activations on" if hasattr(params, "checkpoint_activations") else ""
    return f"{device} ran out of memory{at}{parts}; {params.memory_advice}{more}."


def free_memory(device: str) -> int | None:
    """Bytes that can still be allocated on the device; None where it does not tell."""
    own = generator.device.free_memory(device)
    if own is not None:
        return own
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    free_kib = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    if free_kib is None:
        return None
    return min(free_kib * 1024, _container_memory() or free_kib * 1024)


def _container_memory() -> int | None:
    # A container may be allowed less than the machine has (control groups, version 2).
    try:
        limit, used = (_CGROUP / "memory.max").read_text().strip(), int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else int(limit) - used + int(stat.get("inactive_file", 0))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch (or Python) could not allocate: the device's own error or the CPU allocator's RuntimeError."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "defaultcpuallocator" in text)


def is_device_lost(error: BaseException) -> bool:
    """Whether the device is in a state that only a new process can leave (a failed kernel, a lost GPU)."""
    return isinstance(error, torch.AcceleratorError) and not is_out_of_memory(error)


def free_cached(device: str) -> None:
    """Give memory that nothing refers to back to the device."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def halve_micro_batch(engine: Engine, cutn: int) -> int | None:
    """Let CLIP see half as many cutouts at a time from now on; the new number, or None when it was 1."""
    now: Any = engine.micro_batch or cutn
    if now <= 1:
        return None
    engine.micro_batch = now // 2
    return engine.micro_batch


def sentence_for(error: Exception, *, step: int, size: tuple[int, int] | None, device: str) -> tuple[str, str]:
    """(kind, sentence) a job fails with. Our own errors speak for themselves; others are introduced.

    size: (width, height) in px where it is known.
    """
    if is_out_of_memory(error):
        at = "" if size is None else f" for {size[0]} x {size[1]} px"
        return "out_of_memory", f"{device} has too little memory{at}; lower width and height."
    if is_ours(error):
        kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(error).__name__).lower()
        return kind, str(error)
    first = (str(error).strip() or "it gave no reason").splitlines()[0]
    return "engine_error", f"The engine stopped at step {step}: {type(error).__name__}: {first}"


def is_ours(error: Exception) -> bool:
    """Whether the error is one of the studio's named ones, whose message is written for people."""
    return type(error).__module__.partition(".")[0] in ("generator", "db", "executor")
