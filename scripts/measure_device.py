"""What a device can do at best, as JSON: its name, how fast it multiplies matrices and moves memory.

python scripts/measure_device.py --device cuda --json device.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from generator.precision import Precision

ROUNDS = 5  # of which the middle one counts


def seconds(device: str, work: Callable[[], object], times: int) -> float:
    """Of one of so many calls in a row, once the first have chosen their kernels."""
    found = []
    for number in range(1 + ROUNDS):
        began = time.perf_counter()
        for _ in range(times):
            work()
        if device != "cpu":
            torch.cuda.synchronize(device)
        if number:
            found.append((time.perf_counter() - began) / times)
    return statistics.median(found)


def product_rate(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a product of two large matrices of random numbers: of zeros it would be faster than of any picture."""
    side, times = (2048, 1) if device == "cpu" else (8192, 10)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return 2 * side**3 / seconds(device, lambda: a @ b, times)


def copy_rate(device: str) -> float:
    """Bytes/s of a copy within the device's memory, those read and those written."""
    size, times = (1 << 26, 1) if device == "cpu" else (1 << 32, 5)
    source = torch.randint(0, 255, (size,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds(device, lambda: target.copy_(source), times)


def driver() -> str | None:
    """NVIDIA's version of it; None where there is none."""
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.SubprocessError):
        return None


def described(device: str) -> dict[str, Any]:
    """What it is, and the versions of what computes on it."""
    cuda = device.startswith("cuda")
    about: dict[str, Any] = {
        "name": torch.cuda.get_device_name(device) if cuda else platform.processor() or platform.machine(),
        "driver": driver() if cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "dtype": str(Precision.best(torch.device(device)).dtype).removeprefix("torch."),
    }
    if cuda:
        about["bytes"] = torch.cuda.get_device_properties(device).total_memory
    return about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the file to write")
    given = parser.parse_args()
    found = described(given.device)
    rates = {"product_bf16": torch.bfloat16, "product_fp32": torch.float32}
    for name, dtype in rates.items():
        found[name] = product_rate(given.device, dtype)
    found["copy"] = copy_rate(given.device)
    given.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
