"""The form of latent diffusion: each checkpoint shows the settings it reads, and takes a picture and a mask."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from db import queue
from pages.components import form
from tests.pages.conftest import OpenPage
from tests.pages.visits import Studio, everything_shown, picture_bytes

ENGINE = "latent-diffusion"


def choose(app: AppTest, checkpoint: str) -> AppTest:
    app.selectbox(key="set_engine").set_value(ENGINE).run()
    app.selectbox(key="set_checkpoint").set_value(checkpoint).run()
    app.text_area(key="set_prompt").set_value("a red heart")
    return app


def shown(app: AppTest) -> set[str | None]:
    kinds = ("number_input", "selectbox", "toggle", "multiselect", "text_input", "file_uploader")
    return {widget.key for kind in kinds for widget in app.get(kind)}


def test_each_checkpoint_shows_the_settings_it_reads(studio: Studio, open_page: OpenPage) -> None:
    app = choose(open_page(), "mini-latent-diffusion")
    assert form.key_of(ENGINE, "mini-latent-diffusion", "variety") in shown(app)
    assert form.key_of(ENGINE, "mini-latent-diffusion", "memory") not in shown(app)
    assert "upload_mask_image" in shown(app)
    app = choose(app, "stable-diffusion-1-5")
    assert form.key_of(ENGINE, "stable-diffusion-1-5", "memory") in shown(app)
    assert form.key_of(ENGINE, "stable-diffusion-1-5", "variety") not in shown(app)
    assert "512 × 512 px" in everything_shown(app)


def test_a_picture_and_a_mask_are_what_stable_diffusion_redraws(studio: Studio, open_page: OpenPage) -> None:
    app = choose(open_page(), "stable-diffusion-1-5")
    for name in ("init_image", "mask_image"):
        app.file_uploader(key=f"upload_{name}").set_value((f"{name}.png", picture_bytes("PNG"), "image/png")).run()
    app = next(button for button in app.button if button.label == "Generate").click().run()
    assert not app.error and not app.exception
    (job,) = queue.list_jobs(studio.db, limit=9)
    assert job.engine == ENGINE and job.checkpoint == "stable-diffusion-1-5"
    assert job.params["init_image"] != job.params["mask_image"]
    assert all(studio.store.get(job.params[name]).startswith(b"\x89PNG") for name in ("init_image", "mask_image"))


def test_a_diffusers_folder_that_is_there_can_be_chosen(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("checkpoints")
    (root / "diffusers" / "mine").mkdir(parents=True)
    (root / "diffusers" / "mine" / "model_index.json").write_text("{}")
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(root))
    app = choose(open_page(), "diffusers/mine")
    next(button for button in app.button if button.label == "Generate").click().run()
    (job,) = queue.list_jobs(studio.db, limit=9)
    assert job.checkpoint == "diffusers/mine" and job.params["cfg_scale"] == 7.5
