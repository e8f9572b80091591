"""Models that travel: the host brings one along on the page Models, everybody draws with it and takes it home."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from db.models import trained
from db.rules import host_sessions
from pages.hosting import sign_in as signing_in
from pages.shared.navigation import GENERATION, HOST, MODELS
from tests.brought_models import caption_model, lora
from tests.pages.conftest import OpenPage
from tests.pages.visits import SOMEBODY, Studio, everything_shown

PASSWORD = "correct horse battery"
NAME = "caption-diffusion/from-elsewhere"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return caption_model(tmp_path_factory.mktemp("models") / "model.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def hosted(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2I_HOST_PASSWORD", PASSWORD)
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setattr(signing_in, "_address", lambda: "192.0.2.7")  # the test harness has none, and no cookies
    monkeypatch.setattr(signing_in, "_cookie", lambda name: None)


def as_host(open_page: OpenPage) -> AppTest:
    app = open_page(HOST)
    app.text_input(key="host_password").input(PASSWORD)
    app.button[0].click().run()
    app.switch_page(MODELS)
    return app.run()


def brought(app: AppTest, data: bytes, called: str = "from elsewhere.safetensors", name: str = "") -> AppTest:
    app.file_uploader[0].set_value((called, data, "application/octet-stream")).run()
    app.text_input(key="import_name").input(name)
    return app.button(key="import_model").click().run()


def words(app: AppTest) -> str:
    told: list[Any] = [*app.error, *app.warning, *app.toast]
    return everything_shown(app) + " ".join(str(one.value) for one in told)


def test_the_host_brings_a_model_along_and_everybody_draws_with_it(
    studio: Studio, open_page: OpenPage, file: bytes
) -> None:
    app = brought(as_host(open_page), file)
    assert not app.exception and not app.error, words(app)
    made = trained.find(studio.db, NAME)
    assert made is not None and studio.store.get(made.key) == file
    assert app.text_input(key="import_name").value == "" and app.file_uploader, "the next one can be brought"
    visitor = open_page(MODELS, visitor=SOMEBODY)
    shown = everything_shown(visitor)
    assert "from-elsewhere" in shown and "licence of its data: CC0" in shown and "imported" in shown
    assert any('"a red disc"' in code.value for code in visitor.get("code")), "its card is shown"
    assert "Export as one file" in [button.label for button in visitor.get("download_button")]
    assert not visitor.file_uploader and "Import a model" not in [one.label for one in visitor.expander]
    visitor.button(key=f"draw_{NAME}").click().run()
    (box,) = [box for box in visitor.selectbox if box.label == "Checkpoint"]
    assert box.value == NAME


def test_a_lora_is_offered_in_the_form(studio: Studio, open_page: OpenPage, tmp_path: Path) -> None:
    app = brought(as_host(open_page), lora(tmp_path / "x.safetensors").read_bytes(), "ink.safetensors", "ink-2")
    assert not app.error and "named under Lora in the form" in everything_shown(app)
    form = open_page(GENERATION)
    form.selectbox(key="set_engine").set_value("latent-diffusion").run()
    (checkpoint,) = [box for box in form.selectbox if box.label == "Checkpoint"]
    real = next(option for option in checkpoint.options if "Stable Diffusion 1.5" in option)
    checkpoint.select(real).run()
    (box,) = [box for box in form.multiselect if box.label == "Lora"]
    assert box.options == ["ink-2"]


def test_what_cannot_be_taken_is_one_sentence_and_the_file_stays_chosen(
    studio: Studio, open_page: OpenPage, file: bytes
) -> None:
    app = as_host(open_page)
    assert "Choose a file first" in words(app.button(key="import_model").click().run())
    brought(app, file[:-8])
    assert "cut short" in words(app) and not app.exception and trained.listed(studio.db) == []
    app.button(key="model_file_other").click().run()
    brought(app, file, name="a b")
    assert "is no name for a model" in words(app).replace("\\", "")
    app.text_input(key="import_name").input("mine")
    app.button(key="import_model").click().run()
    assert not app.error and trained.find(studio.db, "caption-diffusion/mine") is not None
    assert "choose another one" in words(brought(app, file, name="mine")).replace("\\", "")


def test_the_host_removes_it_and_a_session_that_ended_does_nothing(
    studio: Studio, open_page: OpenPage, file: bytes
) -> None:
    app = brought(as_host(open_page), file)
    app.button(key=f"remove_{NAME}").click().run()
    assert trained.listed(studio.db) == [] and studio.store.names("uploads") == []
    brought(app, file)
    host_sessions.end_all(studio.db)
    app.button(key=f"remove_{NAME}").click().run()
    assert "Only the host" in words(app) and trained.find(studio.db, NAME) is not None
    assert not open_page(MODELS, visitor=SOMEBODY).get("file_uploader")


def test_the_page_speaks_the_visitors_language(studio: Studio, open_page: OpenPage) -> None:
    shown = everything_shown(open_page(MODELS, lang="eu"))
    assert "Instalatu gabe" in shown and "memoria" in shown and "Zure fitxategiak" in shown
    assert "Not installed" not in shown and "of memory" not in shown and "Your own files" not in shown
