"""Networks made to be loaded: nobody draws random weights that are overwritten at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_RANDOM = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_})


class Unfilled(TorchFunctionMode):
    """While open, normal_ and uniform_ leave a tensor as it is, so that new layers hold whatever was in memory.

    All of it must be loaded then, which `load_state_dict(strict=True)` sees to. Random weights of the embedded models
    take a fifth of the time of loading them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func in _RANDOM:
            return args[0]
        return func(*args, **(kwargs or {}))
