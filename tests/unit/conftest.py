"""What tests of single parts share: one thread, a server on a bad line, and a studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.pages.visits import Studio
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


@pytest.fixture
def visits(tmp_path: Path) -> Iterator[Studio]:
    """A studio of its own, and what visitors and executors do to it."""
    made = Studio(tmp_path)
    yield made
    made.db.dispose()
