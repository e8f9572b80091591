"""What tests of single parts share: one thread, and a server on a bad line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.real_formats import BadServer, bad_server


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums are made in one order, and tiny models are faster so."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[BadServer]:
    folder = tmp_path / "server"
    folder.mkdir()
    with bad_server(folder) as running:
        yield running
