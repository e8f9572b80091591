"""Which device to compute on, and what an engine is given of the machine it runs on. Imports torch only when asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from characters.brief import Brief

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


def _as_named(reference: str) -> Path | str:
    """Data as the command line names them."""
    return reference if reference.startswith(("ws://", "wss://")) else Path(reference)


@dataclass(frozen=True)
class Host:
    """Where an engine runs. device: a name for torch.device; checkpoints_dir: where downloaded weights lie; exact: as
    generator.engines.base.Engine.

    compiled: whether networks are compiled for CUDA, see generator/compiled.py.

    read_image turns a reference found in the parameters (an artefact key on a server, a path on the command line) into
    a decoded picture; an engine never opens files itself. open_data does the same for data to learn from: a path on
    this machine, or the address of a server. show is given a picture (3, H, W) in [0, 1] on the CPU that can be seen
    before a job's first step, while the job is being opened.
    """

    device: str
    checkpoints_dir: Path
    read_image: Callable[[str], Image.Image]
    exact: bool | None = None
    open_data: Callable[[str], Path | str] = _as_named
    show: Callable[[Tensor], None] | None = None
    compiled: bool = False


class DeviceUnavailable(Brief, ValueError):
    """A device this machine does not have; the message names those it has."""


def available_devices() -> list[str]:
    """Names `pick_device` accepts here, the fastest first: cuda:0 ..., mps, cpu."""
    import torch

    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def pick_device(name: str = "auto") -> str:
    """auto (cuda before mps before cpu), cpu, cuda, cuda:N or mps -> a name for torch.device.

    Raises DeviceUnavailable.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise DeviceUnavailable(f"Unknown device {name!r}. Choose one of: auto, {', '.join(available_devices())}.")
    have = available_devices()
    if name == "auto":
        return have[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in have:
        reason = "" if "cuda" not in name or have[0].startswith("cuda") else " (no CUDA device is seen by PyTorch)"
        raise DeviceUnavailable(f"Device {name!r} is not available here{reason}. Available: {', '.join(have)}.")
    return wanted


def peak_memory(device: str) -> int | None:
    """Bytes that were in use at once at most: of the device's memory, as torch allocates it, or where that is the CPU,
    of this process since it began. None where that is not known."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    if device == "mps":
        return torch.mps.driver_allocated_memory()
    try:
        import resource
    except ImportError:  # on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, others KiB


def free_memory(device: str) -> int | None:
    """Bytes that torch can still allocate in the device's own memory; None for the CPU, which has none."""
    import torch

    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        # What torch has reserved and does not use is free for the next step.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return None
