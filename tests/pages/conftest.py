"""A studio of its own for every test: an empty database and an empty store; and pages opened on it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from pages.shared import first_paint
from pages.shared.studio import the_studio
from tests.pages.visits import ME, Studio


@pytest.fixture(autouse=True, scope="session")
def installed_components() -> Iterator[None]:
    """Streamlit reads of every package installed whether it brings components, for each page that is opened: once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(autouse=True)
def what_runs_stays_the_main_module() -> Iterator[None]:
    """The harness puts the page in its place, and leaves it there: processes begun later would run that page first."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture(autouse=True)
def no_browser_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_paint, "HEAD_START_S", 0)


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("T2I_DATABASE_URL", f"sqlite:///{tmp_path}/jobs.db")
    monkeypatch.setenv("T2I_STORE_URL", f"file://{tmp_path}/artefacts")
    st.cache_resource.clear()
    st.cache_data.clear()
    made = Studio(tmp_path)
    yield made
    made.db.dispose()
    the_studio().db.dispose()
    st.cache_resource.clear()
    st.cache_data.clear()


OpenPage = Callable[..., AppTest]


@pytest.fixture
def open_page(tmp_path: Path) -> OpenPage:
    """Opens a page as a visitor would: open_page(VOTES, visitor=ME, job="...")."""
    # Beside a folder pages/ the test harness would run each page past webapp.py, so it starts from elsewhere.
    start = tmp_path / "start.py"
    start.write_text("import webapp\n\nwebapp.main()\n")

    def opened(path: str | None = None, *, visitor: str | None = ME, **query: str) -> AppTest:
        app = AppTest.from_file(str(start), default_timeout=60)
        if visitor is not None:
            app.session_state["visitor"] = visitor
        app.session_state["settings"] = True  # unfolded
        app.run()
        if path is not None:
            app.switch_page(path)
            for name, value in query.items():
                app.query_params[name] = value
            app.run()
        return app

    return opened
