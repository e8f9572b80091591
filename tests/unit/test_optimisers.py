"""Optimisers of latents are PyTorch's, only sooner there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from generator.engines.optimisers import optimiser
from generator.params.optimised import OPTIMISERS


def moved(made: torch.optim.Optimizer, z: Tensor, steps: int) -> Tensor:
    """z after so many steps towards 1, of which each coordinate has its own slope."""
    for _ in range(steps):
        made.zero_grad(set_to_none=True)
        ((z - 1).square() * torch.arange(1, 7)).sum().backward()
        made.step()
    return z.detach()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_its_steps_are_those_of_pytorch(name: str) -> None:
    ours, theirs = (torch.zeros(6, requires_grad=True) for _ in range(2))
    expected = moved(getattr(torch.optim, name)([theirs], lr=0.1), theirs, 5)
    assert torch.equal(moved(optimiser(name, ours, 0.1), ours, 5), expected)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_goes_on_from_what_was_saved(name: str) -> None:
    whole, z = (torch.zeros(6, requires_grad=True) for _ in range(2))
    expected = moved(optimiser(name, whole, 0.1), whole, 5)
    first = optimiser(name, z, 0.1)
    moved(first, z, 3)
    again = z.detach().clone().requires_grad_()
    second = optimiser(name, again, 0.1)
    second.load_state_dict(first.state_dict())
    assert torch.equal(moved(second, again, 2), expected)


def test_a_first_picture_does_not_wait_for_a_compiler_that_it_does_not_use() -> None:
    program = """
import sys
from pathlib import Path
from generator.device import Host
from generator.engines import loading
from generator.engines.base import generate
from generator.params import validate
params = validate("vqgan-clip", {"prompt": "a red heart", "steps": 2, "seed": 1})
engine = loading.load("vqgan-clip", params.checkpoint, params.clip, Host("cpu", Path("none"), lambda name: None))
print(len(list(generate(engine, params))), *({"torch._dynamo", "sympy"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]
