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
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

SOURCE = Path(__file__).with_name("kernels.c")
# No -ffast-math: linked in, it rounds the smallest numbers of the whole process to zero.
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC")
PATIENCE_S = 60
NEAR = 0.01  # rounding to bfloat16 moves a number by 0.002 of it, in the middle


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, groups: int, eps: float, swish: bool
    ) -> torch.Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        y = torch.empty_like(x)
        mean, rstd = torch.empty(2, len(x), groups)
        shape = _sizes(len(x), x.shape[2] * x.shape[3], x.shape[1], groups)
        _call("group_norm_forward", x, weight, bias, y, mean, rstd, *shape, ctypes.c_float(eps), int(swish))
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups, ctx.swish = groups, swish
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None, None]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        shape = _sizes(len(x), x.shape[2] * x.shape[3], x.shape[1], ctx.groups)
        _call("group_norm_backward", x, gradient, weight, bias, mean, rstd, result, *shape, int(ctx.swish))
        return result, None, None, None, None, None


class _QuickGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        x = x.contiguous()
        y = torch.empty_like(x)
        _call("quick_gelu_forward", x, y, *_sizes(x.numel()))
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        result = torch.empty_like(x)
        _call("quick_gelu_backward", x, gradient.to(x.dtype).contiguous(), result, *_sizes(x.numel()))
        return result


def group_norm(x: torch.Tensor, norm: nn.GroupNorm, swish: bool) -> torch.Tensor:
    """`norm`, whose weights are float32, of x (B, C, H, W) bfloat16, and swish after it where asked; channels come last
    in memory. The gradient is for x alone."""
    normed: Callable[..., torch.Tensor] = _GroupNorm.apply
    return normed(x, norm.weight, norm.bias, norm.num_groups, norm.eps, swish)


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    """x * sigmoid(1.702 x) of bfloat16 numbers, in any shape."""
    bent: Callable[[torch.Tensor], torch.Tensor] = _QuickGelu.apply
    return bent(x)


@functools.cache
def available() -> bool:
    """Whether the kernels are here, which may take half a second to find out the first time, and compute as torch."""
    return _library() is not None and _agrees()


def _call(name: str, *values: Any) -> None:
    library = _library()
    assert library is not None
    given = [ctypes.c_void_p(v.data_ptr()) if isinstance(v, torch.Tensor) else v for v in values]
    if getattr(library, name)(*given):
        raise MemoryError(f"{name}: no memory for its sums.")


def _sizes(*numbers: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(number) for number in numbers]


@functools.cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")
    if platform.system() != "Linux" or compiler is None:
        return None
    try:
        return _built(compiler)
    except (OSError, subprocess.SubprocessError):
        return None


def _built(compiler: str) -> ctypes.CDLL:
    """From the cache, where the same source was built for the same processor. Raises OSError, SubprocessError."""
    version = subprocess.run([compiler, "--version"], capture_output=True, timeout=PATIENCE_S, check=True).stdout
    processor = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    traits = "".join(line for line in processor.splitlines() if line.startswith(("flags", "Features", "model name")))
    digest = hashlib.sha256(SOURCE.read_bytes() + version + traits.encode() + " ".join(FLAGS).encode()).hexdigest()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "text-to-image-studio"
    kept = folder / f"kernels-{digest[:20]}.so"
    if kept.exists():
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "kernels.so")
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(made), "-lm"]
        subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            beside = folder / f"{kept.name}.{os.getpid()}"
            shutil.copyfile(made, beside)
            beside.replace(kept)  # two executors may build at once
        except OSError:  # no home to keep it in: built again next time
            return ctypes.CDLL(str(made))
        return ctypes.CDLL(str(kept))


def _agrees() -> bool:
    """Whether a small picture comes out as torch makes it."""
    draws = torch.Generator().manual_seed(0)
    x, norm = torch.randn(2, 16, 5, 7, generator=draws).bfloat16(), nn.GroupNorm(4, 16, 1e-6)
    exact = x.float().requires_grad_()
    fast = x.clone().requires_grad_()
    wanted = F.silu(norm(exact)) + exact * torch.sigmoid(1.702 * exact)
    made = group_norm(fast, norm, swish=True).float() + quick_gelu(fast).float()
    for picture in (wanted, made):
        picture.square().sum().backward()
    pairs = (made.detach(), wanted.detach()), (fast.grad, exact.grad)
    return all(float((a - b).norm() / b.norm()) < NEAR for a, b in pairs if a is not None and b is not None)
