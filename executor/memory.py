"""How much memory the device and the machine have left, and what is done and said when it is too little."""

from __future__ import annotations

import gc
import time
from collections.abc import Collection, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import generator.device

if TYPE_CHECKING:
    from generator.engines.base import Engine
    from generator.params import JobParams

GIB = 1 << 30
LIMIT_FORGOTTEN_S = 600.0  # after running out of memory, a full batch is tried again so much later
_CGROUP = Path("/sys/fs/cgroup")


class NotEnoughMemory(RuntimeError):
    """The device cannot hold this job; the message says what it needs, what there is and what to lower."""


class BatchLimits:
    """How many jobs of a batch fit the device together, as was learned from running out of memory."""

    def __init__(self) -> None:
        self._limits: dict[Hashable, tuple[int, float]] = {}  # batch -> most jobs, until when

    def set(self, batch: Hashable, jobs: int) -> None:
        """No more than so many of this batch for a while."""
        self._limits[batch] = (jobs, time.monotonic() + LIMIT_FORGOTTEN_S)

    def allow(self, batch: Hashable, beside: int) -> bool:
        """Whether one more of this batch may come beside so many."""
        limit = self._limits.get(batch)
        return limit is None or beside < limit[0]

    def most(self, places: int, active: Collection[Hashable]) -> int:
        """How many of so many places can be taken while jobs of these batches are active."""
        now = time.monotonic()
        self._limits = {batch: limit for batch, limit in self._limits.items() if limit[1] > now}
        return min([places, *(self._limits[batch][0] for batch in active if batch in self._limits)])


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
