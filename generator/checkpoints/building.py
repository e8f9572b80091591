"""Networks that are built as a foreign file's tensors say: none may become larger than those tensors could fill.

Such networks are built before they are compared with the file, and the shape of one small tensor can ask for gigabytes.
torch's hooks see each tensor and each module as it joins a network, which is before its numbers are drawn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from generator.checkpoints.errors import shown

_building = threading.local()  # what is left to the network that this thread builds
_lock = threading.Lock()
_hooked = False


class TooLarge(ValueError):
    """A file that asks for a network far larger than itself."""


@contextmanager
def within(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, networks built by this thread may have as many numbers and modules as the tensors justify.

    Raises TooLarge, also for tensors that hold no numbers, which claim a size for nothing.
    """
    for name, tensor in tensors.items():
        if not tensor.numel():
            raise TooLarge(f"its tensor {shown(name)} holds no numbers")
    _hook()
    numel = sum(tensor.numel() for tensor in tensors.values())
    _building.parameters = 4 * numel + 1_000_000
    _building.buffers = 4 * numel + 20_000_000  # such as masks, which files may leave out
    _building.modules = 50 * len(tensors) + 1000
    try:
        yield
    finally:
        del _building.parameters, _building.buffers, _building.modules


def _hook() -> None:
    """The hooks stay: to remove them while another thread builds a network would end its loop over them."""
    global _hooked
    with _lock:
        if not _hooked:
            hooks.register_module_parameter_registration_hook(lambda _, name, made: _take("parameters", made))
            hooks.register_module_buffer_registration_hook(lambda _, name, made: _take("buffers", made))
            hooks.register_module_module_registration_hook(lambda _, name, made: _take("modules", made))
            _hooked = True


def _take(what: str, made: Tensor | nn.Module | None) -> None:
    left = getattr(_building, what, None)
    if left is None or made is None:
        return
    left -= made.numel() if isinstance(made, Tensor) else 1
    setattr(_building, what, left)
    if left < 0:
        raise TooLarge(f"it asks for a network with far more {what} than it holds")
