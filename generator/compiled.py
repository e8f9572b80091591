"""Networks compiled for the shapes they are given, where the host asks for it on CUDA: torch.compile (Ansel et al.
2024, doi:10.1145/3620665.3640366) makes kernels for one shape and tries several of each.

The kernels are kept in the user's cache and found there at the next start. Only what is stepped through is compiled,
forwards and back, and only shapes of 1, 2, 4, 8, ... rows, of which there are few whoever joins or leaves a batch. Each
is first tried on what it is given: where it cannot be compiled, or is not what it was but for rounding, that shape is
computed as before, and the log says so.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from generator.fused.kernels import cache_folder, is_ours

MODE = "max-autotune-no-cudagraphs"
FOLDER = "compiled"  # in the cache
MAX_SHAPES = 8  # of one network
NEAR, NEAR_BACK = 0.03, 0.1  # of their norm, that a result and a gradient may differ by: bfloat16 summed otherwise
log = logging.getLogger(__name__)


class Compiled:
    """Stands for the forward of a network of one tensor; weights, names and hooks are the network's own."""

    def __init__(self, network: nn.Module, name: str, mode: str = MODE) -> None:
        self.name, self.plain = name, network.forward
        self.fast: Callable[[Tensor], Tensor] = torch.compile(self.plain, mode=mode, dynamic=False)
        self._verdicts: dict[Any, bool] = {}

    def __call__(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad) or len(x).bit_count() != 1:
            return self.plain(x)  # type: ignore[no-any-return]
        shape = tuple(x.shape), x.dtype, x.is_contiguous()
        if shape not in self._verdicts:
            if len(self._verdicts) >= MAX_SHAPES or not bool(x.detach().isfinite().all()):
                return self.plain(x)  # type: ignore[no-any-return]
            self._verdicts[shape] = self._is_right(x)
        return (self.fast if self._verdicts[shape] else self.plain)(x)

    def _is_right(self, x: Tensor) -> bool:
        """Whether the compiled network can be made for this, and is what it was. Raises torch.OutOfMemoryError."""
        size = " x ".join(str(side) for side in x.shape)
        try:
            exact, fast = (_there_and_back(forward, x) for forward in (self.plain, self.fast))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler raises
            log.warning("%s is not compiled for %s: %s", self.name, size, f"{type(error).__name__}: {error}"[:300])
            return False
        apart, back = (_apart(a, b) for a, b in zip(fast, exact, strict=True))
        if apart <= NEAR and back <= NEAR_BACK:
            log.info("%s is compiled for %s.", self.name, size)
            return True
        log.warning(
            "%s is not used compiled for %s: it differs by %.3f, its gradient by %.3f.", self.name, size, apart, back
        )
        return False


def compile_networks(engine: Any, mode: str = MODE) -> None:
    """The decoder of an engine's VQGAN, where it has one, and the image towers of its CLIPs, from now on compiled."""
    engine = getattr(engine, "engine", engine)  # what finishes pictures stands around what draws them
    _keep_kernels()
    # A shape is a variant of one function to the compiler, which by itself makes few of one; PyTorch 2.6 calls it so.
    limits: Any = torch._dynamo.config
    limit = "recompile_limit" if hasattr(limits, "recompile_limit") else "cache_size_limit"
    setattr(limits, limit, max(getattr(limits, limit), 8 * MAX_SHAPES))
    parts = {f"the image tower of {clip.name}": clip.network.visual for clip in getattr(engine, "clips", ())}
    if hasattr(engine, "vqgan"):
        parts["the decoder"] = engine.vqgan.decoder
    for name, network in parts.items():
        if not isinstance(vars(network).get("forward"), Compiled):
            network.forward = Compiled(network, name, mode)


def _keep_kernels() -> None:
    """Kernels go to the user's cache: what lies there is run, so it has to be nobody else's."""
    parent = cache_folder()
    if parent is None:
        return
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (parent / FOLDER).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        log.warning("Compiled networks are not kept: %s", error)
        return
    if is_ours(parent) and is_ours(parent / FOLDER):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(parent / FOLDER)  # whatever the compiler has chosen by itself
    else:
        log.warning("Compiled networks are not kept: others may write to %s.", parent)


def _there_and_back(forward: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """What it makes of x, and a gradient at x."""
    given = x.detach().clone().requires_grad_()
    made = forward(given)
    (gradient,) = torch.autograd.grad(made, given, made.detach())
    return made.detach().float(), gradient.float()


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())
