"""The kernels of kernels.c, built once for this processor by the C compiler that is here, and kept in the user's cache.

Plain C under OpenMP: it is built in half a second and runs in the threads that torch has already. Where there is no
compiler, or what it builds does not compute what torch does, there are no kernels, and models stay as they are.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from lasting import put_in_place

SOURCE = Path(__file__).with_name("kernels.c")
# No -ffast-math: linked in, it rounds the smallest numbers of the whole process to zero.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
PATIENCE_S = 60
NEAR = 0.01  # rounding to bfloat16 moves a number by 0.002 of it, in the middle
_A, _N, _I = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int  # the address of a tensor's first number, a size, a switch
_TAKES = {
    "group_norm_forward": (*(_A,) * 6, *(_N,) * 4, ctypes.c_float, _I),
    "group_norm_backward": (*(_A,) * 9, *(_N,) * 4, _I),
    "quick_gelu_forward": (_A, _A, _N),
    "quick_gelu_backward": (_A, _A, _A, _N),
}


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float, swish: bool
    ) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty_like(x)
        mean, rstd = torch.empty(2, len(x), groups, dtype=torch.float32)
        shape = len(x), x.shape[2] * x.shape[3], x.shape[1], groups
        _call("group_norm_forward", x, weight, bias, y, mean, rstd, *shape, eps, swish)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups, ctx.swish = groups, swish
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None, None, None]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        result, of_weight, of_bias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
        shape = len(x), x.shape[2] * x.shape[3], x.shape[1], ctx.groups
        made = result, of_weight, of_bias
        _call("group_norm_backward", x, gradient, weight, bias, mean, rstd, *made, *shape, ctx.swish)
        return *made, None, None, None


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        y = torch.empty_like(x)
        _call("quick_gelu_forward", x, y, x.numel())
        ctx.save_for_backward(x)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        result = torch.empty_like(x)
        _call("quick_gelu_backward", x, gradient.to(x.dtype).contiguous(), result, x.numel())
        return result


def group_norm(x: torch.Tensor, norm: nn.GroupNorm, swish: bool) -> torch.Tensor:
    """`norm`, whose weights are float32, of x (B, C, H, W) bfloat16, and swish after it where asked; channels come last
    in memory. There is no gradient of its gradients. Raises ValueError for what it cannot compute."""
    _check(x)
    if x.dim() != 4 or x.shape[1] != norm.num_channels:
        raise ValueError(f"A fused norm of {norm.num_channels} channels is for (B, C, H, W), not for {tuple(x.shape)}.")
    if norm.weight.dtype != torch.float32 or norm.weight.device != x.device:
        raise ValueError(f"The weights of a fused norm are float32 on the CPU, not {norm.weight.dtype}.")
    normed: Callable[..., torch.Tensor] = _GroupNorm.apply
    return normed(x, norm.weight, norm.bias, norm.num_groups, norm.eps, swish)


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """x * sigmoid(1.702 x) of bfloat16 numbers, in any shape. Raises ValueError for others."""
    _check(x)
    bent: Callable[[torch.Tensor], torch.Tensor] = _QuickGelu.apply
    return bent(x)


def _check(x: torch.Tensor) -> None:
    """The kernels read memory as it is: another kind of number would be taken for these."""
    if x.device.type != "cpu" or x.dtype != torch.bfloat16:
        raise ValueError(f"Fused kernels compute bfloat16 on the CPU, not {x.dtype} on {x.device}.")


@functools.cache
def available() -> bool:
    """Whether the kernels are here, which may take half a second to find out the first time, and compute as torch."""
    return _library() is not None and _agrees()


def _call(name: str, *values: torch.Tensor | float) -> None:
    library = _library()
    assert library is not None
    if getattr(library, name)(*(v.data_ptr() if isinstance(v, torch.Tensor) else v for v in values)):
        raise MemoryError(f"{name}: no memory for its sums.")


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if platform.system() != "Linux" or compiler is None:
        return None
    try:
        library = _built(compiler)
        for name, takes in _TAKES.items():
            getattr(library, name).argtypes = takes
    except (OSError, AttributeError, subprocess.SubprocessError):
        return None
    return library


def _built(compiler: str) -> ctypes.CDLL:
    """From the cache, where the same source was built for the same processor. Raises OSError, SubprocessError."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=PATIENCE_S, check=True).stdout
    processor = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    traits = "".join(line for line in processor.splitlines() if line.startswith(("flags", "Features", "model name")))
    digest = hashlib.sha256(SOURCE.read_bytes() + version + traits.encode() + " ".join(FLAGS).encode()).hexdigest()
    folder, name = cache_folder(), f"kernels-{digest[:20]}.so"
    if folder is not None and is_ours(folder) and is_ours(folder / name) and _is_whole(folder / name):
        with suppress(OSError):  # from where nothing may be run
            return ctypes.CDLL(str(folder / name))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, name)
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
        subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
        with suppress(OSError):  # nowhere to keep it, or from where nothing may be run: built again next time
            if folder is not None and _keep(made, folder):
                return ctypes.CDLL(str(folder / name))
        return ctypes.CDLL(str(made))


def cache_folder() -> Path | None:
    """The folder for it; None for who has no home."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):
        return (given if given.is_absolute() else Path.home() / ".cache") / "text-to-image-studio"
    return None


def is_ours(path: Path) -> bool:
    """Whether it is there and nobody else can have put it there or changed it: what lies in a cache is run."""
    try:
        found = path.stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _is_whole(path: Path) -> bool:
    """Whether the sha256 at its end is that of what is before: loading half a library ends the process."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    return hashlib.sha256(data[:-32]).digest() == data[-32:]


def _keep(made: Path, folder: Path) -> bool:
    """Put it into the cache under its name; False where others may write there. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_ours(folder):
        return False
    data = made.read_bytes()
    handle, part = tempfile.mkstemp(dir=folder)  # of its own: two executors may build at once
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data + hashlib.sha256(data).digest())
        put_in_place(Path(part), folder / made.name)
    finally:
        Path(part).unlink(missing_ok=True)
    return True


@torch.inference_mode(False)
@torch.enable_grad()
def _agrees() -> bool:
    """Whether a small picture of more than one piece comes out as torch makes it, also for who takes no gradient."""
    draws = torch.Generator().manual_seed(0)
    x, norm = torch.randn(2, 16, 13, 21, generator=draws).bfloat16(), nn.GroupNorm(4, 16, 1e-6)
    for weights in (norm.weight, norm.bias):
        weights.data.copy_(torch.randn(16, generator=draws))
    exact = x.float().requires_grad_()
    fast = x.clone().requires_grad_()
    with torch.autocast("cpu", enabled=False):
        wanted = F.silu(norm(exact)) + exact * torch.sigmoid(1.702 * exact)
        made = group_norm(fast, norm, swish=True).float() + quick_gelu(fast).float()
        learnt = norm.weight, norm.bias
        right, found = (
            torch.autograd.grad(picture.square().sum(), (given, *learnt))
            for picture, given in ((wanted, exact), (made, fast))
        )
    pairs = (made.detach(), wanted.detach()), *zip(found, right, strict=True)
    return all(float((a - b).norm() / b.norm()) < NEAR for a, b in pairs)
