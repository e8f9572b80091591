"""`from generator import generate`: the client's words without a server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import generator
from generator import drawing, registry
from generator.__main__ import main
from generator.drawing import Machine, Picture, Progress
from generator.images.decode import BadImage
from generator.paddlehub import Module
from generator.params import BadParams
from generator.registry import UnknownName
from tests import small_engine
from tests.chain_studio import DRAFT

ROOT = Path(__file__).resolve().parents[2]
HERE = Machine("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    torch.set_num_threads(1)


def draw(prompt: str = "a red heart", **settings: object) -> Picture:
    given = {"steps": 3, "upscale": 1, "seed": 1, "width": 32, "height": 32, **settings}
    return generator.generate(prompt, "small", machine=HERE, **given)


def test_it_is_the_file_of_the_command_line(tmp_path: Path) -> None:
    picture = draw()
    flags = ["--engine", "small", "--steps", "3", "--upscale", "1", "--seed", "1", "--size", "32", "--device", "cpu"]
    assert main(["a red heart", *flags, "--output-dir", str(tmp_path)]) == 0
    (png,), (gif,) = tmp_path.glob("*.png"), tmp_path.glob("*.gif")
    assert picture.png == png.read_bytes() and picture.film == gif.read_bytes()
    assert picture.seed == 1 and picture.params.steps == 3 and picture.image.size == (32, 32)
    assert json.loads(picture.image.info["text2image"])["seed"] == 1


def test_checkpoints_are_where_the_command_line_looks_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("T2I_CHECKPOINTS_DIR", raising=False)
    assert Machine().folder == Path("data/checkpoints") and Machine(checkpoints=tmp_path).folder == tmp_path
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(tmp_path / "weights"))
    assert Machine().folder == tmp_path / "weights" == Module(name="stable_diffusion", device="cpu")._dir


def test_every_step_is_told_and_the_last_one_has_the_picture() -> None:
    seen: list[Progress] = []
    picture = draw(on_step=seen.append)
    assert [(one.step, one.total) for one in seen] == [(n, 3) for n in range(4)]
    assert all(one.preview and one.preview.size[0] >= 4 for one in seen)
    assert [one.picture for one in seen] == [None, None, None, picture]
    watched = list(
        generator.watch("a red heart", "small", machine=HERE, steps=3, upscale=1, seed=1, width=32, height=32)
    )
    assert watched[-1].picture and watched[-1].picture.png == picture.png


def test_it_is_saved_by_the_name_of_the_file(tmp_path: Path) -> None:
    picture = draw()
    assert picture.save(tmp_path / "heart.png").read_bytes() == picture.png
    assert picture.save(tmp_path / "heart.gif").read_bytes() == picture.film
    with Image.open(picture.save(tmp_path / "heart.jpg")) as image:
        assert image.format == "JPEG"


def test_a_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing._loaded.cache_clear()
    draw()
    draw("a blue car", seed=2)
    assert drawing._loaded.cache_info().misses == 1


def test_it_starts_from_a_picture_in_any_form(tmp_path: Path) -> None:
    first = draw()
    for start in (first, first.image, first.png, first.save(tmp_path / "heart.png"), str(tmp_path / "heart.png")):
        assert draw(init_image=start).params.init_image  # type: ignore[attr-defined]
    with pytest.raises(BadImage, match="Cannot read the picture"):
        draw(init_image=tmp_path / "none.png")


def test_what_cannot_be_drawn_is_told_before_anything_is_loaded() -> None:
    with pytest.raises(UnknownName, match="vqgan-clip"):
        generator.generate("x", "oil")
    with pytest.raises(BadParams, match="Unknown setting 'colour'"):
        draw(colour=1)
    with pytest.raises(BadParams, match="The prompt is empty"):
        draw("")


@pytest.mark.parametrize("name", ["\ud800", "a\x00b.png", "x" * 5000])
def test_a_picture_whose_name_no_file_can_have_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(BadImage, match="Cannot read the picture") as refused:
        generator.generate("a heart", engine="small", init_image=name)
    str(refused.value).encode()
    with pytest.raises(BadParams, match="name of a setting"):
        generator.generate("a heart", engine="small", **{"\ud800": 1})


def test_the_embedded_models_vary_rank_and_upscale_it() -> None:
    first = generator.generate("a red heart", "latent-diffusion", machine=HERE, seed=3, **DRAFT)
    varied = first.vary(2, skip_rate=0.5)
    assert len({one.png for one in [first, *varied]}) == 3 and varied[0].params.init_image  # type: ignore[attr-defined]
    ranked = generator.rank([first, *varied], "a red heart", machine=HERE)
    assert [score for _, score in ranked] == sorted((score for _, score in ranked), reverse=True)
    assert {one.seed for one, _ in ranked} == {one.seed for one in [first, *varied]}
    spanish = generator.rank([first, *varied], "un ❤ rojo", machine=HERE)
    assert spanish != ranked and spanish == generator.rank([first, *varied], "a red heart red", machine=HERE)
    larger = first.upscale()
    assert larger.image.size == (256, 256) and larger.seed == first.seed and larger.film == first.film
    with_upscale = generator.generate(
        "a red heart", "latent-diffusion", machine=HERE, seed=3, **{**DRAFT, "upscale": 4}
    )
    assert with_upscale.image.tobytes() == larger.image.tobytes(), "afterwards or at once, it is the same picture"
    with Image.open(io.BytesIO(first.film)) as film:
        assert film.format == "GIF"


def test_importing_it_loads_no_torch() -> None:
    code = "import sys, generator; generator.__all__; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        generator.paint  # type: ignore[attr-defined]  # noqa: B018
