"""PyTorch's optimisers without its compiler, whose import takes a second of a process's first picture."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

_METHODS = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")


def optimiser(name: str, z: torch.Tensor, learning_rate: float) -> torch.optim.Optimizer:
    """One of the class of torch.optim with this name, which moves z."""
    made: torch.optim.Optimizer = _uncompiled(name)([z], lr=learning_rate)
    return made


@cache
def _uncompiled(name: str) -> Any:
    """The class of torch.optim with this name; nothing of it is compiled.

    PyTorch wraps these methods to tell its compiler where to stop, and imports torch._dynamo for that when the first of
    them is called. Here they are what is wrapped; where a version of PyTorch wraps none, this is its own class.
    """
    kind = getattr(torch.optim, name)
    methods = {method: getattr(getattr(kind, method), "__wrapped__", getattr(kind, method)) for method in _METHODS}
    methods["step"] = torch.no_grad()(methods["step"])
    return type(kind.__name__, (kind,), methods)
