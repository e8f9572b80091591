"""Servers for the API's tests: one in this process, whose jobs the test itself executes; and the real thing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from db.rules import keys
from tests.api.serving import Served, served
from tests.browser.running import web_app
from tests.pages.visits import Studio

Serve = Callable[..., Served]


@pytest.fixture
def visits(tmp_path: Path) -> Iterator[Studio]:
    """The studio's database and store, and what executors do there."""
    studio = Studio(tmp_path)
    yield studio
    studio.db.dispose()


@pytest.fixture
def serve(visits: Studio) -> Iterator[Serve]:
    """Starts the API on that studio, with these values of the configuration; it ends with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(served(visits, **settings))


@pytest.fixture
def api(serve: Serve) -> Served:
    """The API as it is without any configuration."""
    return serve()


@pytest.fixture
def key(visits: Studio) -> Callable[..., dict[str, str]]:
    """Makes a key and gives the header that shows it."""

    def make(scope: str = "submit", **limits: Any) -> dict[str, str]:
        return {"authorization": f"Bearer {keys.make(visits.db, f'a {scope} program', scope, **limits)[0]}"}

    return make


@pytest.fixture(scope="session")
def real_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of pages and API with a real executor on the embedded models, where a draft takes a second."""
    with web_app(
        tmp_path_factory.mktemp("studio"),
        executor=True,
        T2I_DEFAULT_ENGINE="latent-diffusion",
        T2I_DEFAULT_CHECKPOINT="mini-latent-diffusion",
    ) as address:
        assert httpx.get(f"{address}/healthz").status_code == 200
        yield address
