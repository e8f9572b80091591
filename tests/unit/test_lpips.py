"""LPIPS holds a picture to what its start looks like; its numbers are those of its authors' package."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.memory import estimate_memory
from generator.device import Host
from generator.engines import loading
from generator.engines.base import generate
from generator.engines.guided_diffusion import GuidedDiffusion
from generator.models.lpips import LPIPS, tensors_of
from generator.models.pixel_diffusion import PixelDiffusion
from generator.params import GuidedDiffusionParams, validate_job
from generator.registry import PUBLISHED
from tests.real_formats import load_named, random_vgg
from tests.small_diffusion import SMALL, SmallClip

WIDTHS = (64, 128, 256, 512, 512)


@pytest.fixture(scope="module")
def files() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """VGG16 at random weights, and weights of its features, under the published names."""
    torch.set_num_threads(1)
    heads = {f"lin{n}.model.1.weight": torch.linspace(0, 1, c).view(1, c, 1, 1) for n, c in enumerate(WIDTHS)}
    return random_vgg(), heads


@pytest.fixture(scope="module")
def lpips(files: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]) -> LPIPS:
    model = LPIPS()
    model.load_state_dict(tensors_of(*files), strict=True)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def engine(lpips: LPIPS) -> GuidedDiffusion:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models = PixelDiffusion(SMALL), [SmallClip()]
    half = Image.new("RGB", (16, 16), (200, 10, 10))
    half.paste((10, 10, 200), (0, 0, 8, 16))
    return GuidedDiffusion(*models, read_image=lambda _: half, precision=torch.float32, lpips=lpips)


def settings(**values: Any) -> GuidedDiffusionParams:
    small = {"prompt": "a red heart", "seed": 1, "width": 16, "height": 16, "steps": 6, "cutn": 2, "skip_steps": 1}
    given = {"init_image": "half.png", "init_scale": 1000.0, "init_loss": "lpips", "clip_guidance_scale": 100.0}
    return GuidedDiffusionParams(**{**small, **given, **values})


def test_distances_are_those_of_the_authors_package(lpips: LPIPS) -> None:
    one, other = torch.rand(2, 2, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    # What PyPI's lpips 0.1.4 gives with these weights; scripts/compare_lpips.py compares the two with its own.
    torch.testing.assert_close(lpips(one, other), torch.tensor([0.7005172, 0.6932131]), rtol=1e-5, atol=0)
    assert lpips(one, one).tolist() == [0, 0]


def test_the_picture_stays_nearer_to_what_its_start_looks_like(engine: GuidedDiffusion, lpips: LPIPS) -> None:
    start = engine.open(settings()).start
    far = {}
    for scale in (0.0, 1e5):
        *_, last = generate(engine, settings(init_scale=scale, clamp_max=1.0))
        assert last.image is not None and start is not None
        far[scale] = float(lpips(last.image[None] * 2 - 1, start))
    assert far[1e5] < 0.8 * far[0.0]


def test_with_lpips_a_picture_is_the_same_alone_in_a_batch_and_resumed(engine: GuidedDiffusion) -> None:
    gentle = {"init_scale": 10.0, "clip_guidance_scale": 10.0}
    kinds = [settings(**gentle), settings(seed=2, init_loss="mse"), settings(seed=3, **gentle, init="perlin")]
    together, made = [engine.open(params) for params in kinds], {}
    while live := [slot for slot in together if not slot.done]:
        for slot, step in zip(live, engine.advance(live), strict=True):
            made[slot.params.seed] = step
    for params in kinds:
        *_, alone = generate(engine, params)
        torch.testing.assert_close(made[params.seed].image, alone.image, atol=2e-3, rtol=0)
    slot = engine.open(kinds[0])
    engine.advance([slot])
    file = io.BytesIO()
    torch.save(slot.state_dict(), file)
    slot = engine.resume(kinds[0], torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    while not slot.done:
        (step,) = engine.advance([slot])
    *_, before, alone = generate(engine, kinds[0])
    assert step.image is not None and alone.image is not None and torch.equal(step.image, alone.image)
    assert before.losses["init"] > 0


def test_the_published_files_load_to_the_last_key(
    files: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]],
    lpips: LPIPS,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    row = PUBLISHED["lpips-vgg"]
    unknown = tuple(dataclasses.replace(file, sha256=None, size=None) for file in row.files)
    monkeypatch.setitem(PUBLISHED, "lpips-vgg", dataclasses.replace(row, files=unknown))
    for file, tensors in zip(row.files, files, strict=True):
        torch.save(tensors, tmp_path / file.name, _use_new_zipfile_serialization=False)
    loaded = load_named("lpips-vgg", tmp_path)
    one, other = torch.rand(2, 1, 3, 16, 16) * 2 - 1
    assert torch.equal(loaded(one, other), lpips(one, other))
    (tmp_path / "lpips_vgg.pt.sha256").unlink()
    torch.save({k: v for k, v in files[1].items() if "lin4" not in k}, tmp_path / "lpips_vgg.pt")
    with pytest.raises(CheckpointDamaged, match=r"the first is lin4\.model\.1\.weight"):
        load_named("lpips-vgg", tmp_path)


def test_without_its_files_the_one_command_and_the_way_round_are_named(tmp_path: Path) -> None:
    def engine_of(params: GuidedDiffusionParams) -> Any:
        host = Host("cpu", tmp_path, lambda _: Image.new("RGB", (64, 64)))
        return loading.load("guided-diffusion", params.checkpoint, params.clip, host)

    wanted = settings(width=64, height=64)
    with pytest.raises(CheckpointMissing, match=r"\(553 MB\) with: .* download lpips-vgg\. Or set init_loss to mse"):
        engine_of(wanted).open(wanted)
    by_colours = settings(width=64, height=64, init_loss="mse")
    assert engine_of(by_colours).open(by_colours).start is not None


def test_real_checkpoints_start_from_lpips_and_it_is_counted_only_where_it_is_used() -> None:
    real = {"prompt": "a castle", "checkpoint": "guided-diffusion-256"}
    plain, started = GuidedDiffusionParams(**real), GuidedDiffusionParams(**real, init_image="a.png")
    assert plain.loss_networks == () and started.loss_networks == ("lpips-vgg",)
    by_colours = GuidedDiffusionParams(**real, init_image="a.png", init_loss="mse")
    assert estimate_memory(started) > estimate_memory(by_colours) == estimate_memory(plain)
    assert validate_job("download", {"name": "lpips-vgg"}).title == "download lpips-vgg"
