"""Numbers on their way to a device, and pictures on their way back, without the program waiting for the device.

A copy from or to ordinary memory makes CUDA finish all it was given first. From memory that stays in its place (pinned)
it is one more thing in the device's queue; PyTorch keeps that memory until the copy is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def to_device(values: Tensor | Sequence[float] | Sequence[bool], device: torch.device | str) -> Tensor:
    """A tensor of the CPU, or one of these numbers, on the device."""
    made = values if isinstance(values, Tensor) else torch.tensor(values)
    if torch.device(device).type != "cuda" or made.is_cuda:
        return made.to(device)
    return made.pin_memory().to(device, non_blocking=True)


def begin_to_cpu(values: Tensor) -> Tensor:
    """A copy on the CPU. Of one on CUDA it is whole only once the device has come so far: when a later number of it has
    been read, as by `tolist`."""
    if not values.is_cuda:
        return values.cpu()
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return target.copy_(values, non_blocking=True)
