"""Models: what can be used, what is missing and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from db import queue
from generator.checkpoints import inventory
from generator.checkpoints.own_clips import OURS
from pages.shared.navigation import GENERATION, MODELS
from tests.pages.conftest import OpenPage
from tests.pages.test_generation import generate, jobs, write
from tests.pages.visits import Studio, everything_shown


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "checkpoints"
    made.mkdir()
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(made))
    return made


def codes(app) -> list[str]:
    return [element.value for element in app.get("code")]


def test_every_model_is_there_with_size_licence_memory_and_the_command(
    studio: Studio, open_page: OpenPage, folder: Path
) -> None:
    (folder / "ViT-B-32.pt").write_bytes(b"weights")
    (folder / "my-upscaler.pth").write_bytes(b"weights")
    app = open_page(MODELS)
    shown = everything_shown(app)
    assert app.title[0].value == "Models"
    for item in inventory.inventory(folder):
        assert item.name in shown and (item.command in codes(app)) == (item.state == "not installed"), item.name
    assert "BigGAN-deep 512 px (ImageNet)" in shown and "236 MB on disk" in shown and "GB of memory" in shown
    assert "MIT (taming-transformers, CompVis)" in shown
    assert "python -m generator.checkpoints download biggan-deep-512" in codes(app)
    assert "python -m generator.checkpoints download ViT-B/32" not in codes(app)
    assert "my-upscaler.pth" in shown and "ViT-B-32.pt" not in shown


def test_a_clip_of_ones_own_is_listed_and_offered_in_the_form(
    studio: Studio, open_page: OpenPage, folder: Path
) -> None:
    (folder / "clip").mkdir()
    save_file({name: torch.zeros(1, 1) for name in OURS}, folder / "clip" / "family.safetensors")
    save_file({"other": torch.zeros(1)}, folder / "clip" / "wrong.safetensors")
    shown = everything_shown(open_page(MODELS))
    assert "clip/family" in shown and "It is no CLIP of the second family" in shown
    app = write(open_page(GENERATION), "a red heart")
    app = app.multiselect(key="set_vqgan-clip_mini_clip").set_value(["mini-robust", "clip/family"]).run()
    assert "clip/wrong" not in app.multiselect(key="set_vqgan-clip_mini_clip").options
    app = generate(app)
    assert not app.exception and jobs(studio)[0].params["clip"] == ["mini-robust", "clip/family"]


def test_what_cannot_be_used_says_what_it_is_and_what_to_do(studio: Studio, open_page: OpenPage, folder: Path) -> None:
    (folder / "diffusers").mkdir()
    header = b'{"lora_unet_x.lora_up.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (folder / "diffusers" / "style.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    shown = everything_shown(open_page(MODELS))
    assert "diffusers/style.safetensors" in shown and "it is a LoRA or LyCORIS" in shown and "merge_lora.py" in shown


def test_the_list_can_be_narrowed(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(MODELS)
    shown = next(group for group in app.get("button_group") if group.label == "Show")
    shown.set_value("Can be used").run()
    shown = everything_shown(app)
    assert "Mini BigGAN" in shown and "BigGAN-deep" not in shown and not codes(app)


def test_nobody_can_fill_the_disk_unless_the_host_allows_it(studio: Studio, open_page: OpenPage) -> None:
    app = open_page(MODELS)
    assert not [button for button in app.button if button.label == "Download"]


def test_a_download_is_a_job_with_progress_that_can_be_cancelled(
    studio: Studio, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_DOWNLOADS", "1")
    app = open_page(MODELS)
    app.button(key="download_swinir-l").click().run()
    (job,) = queue.list_jobs(studio.db, limit=9)
    assert (job.engine, job.params, job.total_steps) == ("download", {"name": "swinir-l"}, 100)
    assert "Downloads (1)" in everything_shown(app)
    app.button(key="download_swinir-l").click().run()
    assert len(queue.list_jobs(studio.db, limit=9)) == 1, "once is enough"
    app.button(key=f"cancel_{job.id}").click().run()
    assert queue.get(studio.db, job.id).state == "cancelled"


def test_the_form_says_which_models_are_missing_and_how_to_get_them(studio: Studio, open_page: OpenPage) -> None:
    app = open_page()
    app.selectbox(key="set_engine").set_value("biggan-clip").run()
    box = app.selectbox(key="set_checkpoint")
    assert box.options[0].startswith("Mini BigGAN") and "not installed" not in box.options[0]
    assert "BigGAN-deep 128 px (ImageNet) (not installed)" in box.options
    box.set_value("biggan-deep-128").run()
    assert codes(app) == ["python -m generator.checkpoints download biggan-deep-128 ViT-B/32"]


def test_models_of_the_hosts_own_are_listed_with_their_engine(
    studio: Studio, open_page: OpenPage, folder: Path
) -> None:
    own = folder / "vqgan-f16" / "mine"
    own.mkdir(parents=True)
    for name in ("model.yaml", "last.ckpt"):
        (own / name).touch()
    shown = everything_shown(open_page(MODELS))
    assert "vqgan-f16/mine" in shown and "for VQGAN + CLIP" in shown
    form = open_page(GENERATION)
    (box,) = [box for box in form.selectbox if box.label == "Checkpoint"]
    assert "vqgan-f16/mine" in box.options
