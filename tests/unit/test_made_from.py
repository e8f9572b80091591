"""A picture remembers what it was made from, by hash; and no result takes another's place."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import generator
from generator import registry
from generator.__main__ import main
from generator.checkpoints.fingerprint import own_weights
from generator.drawing import Machine
from generator.images.decode import BadImage
from generator.output.files import name_of, store
from generator.output.metadata import encode_png, read_metadata, read_sources
from generator.output.sources import NONE, SourceChanged, Sources
from generator.params import validate
from generator.upscaler import __main__ as upscaler
from tests import small_engine
from tests.heic_files import heic
from tests.picture_files import encoded

SMALL = ["--engine", "small", "--steps", "2", "--seed", "1", "--size", "32", "--upscale", "1", "--device", "cpu"]
HERE = Machine("cpu")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)


def given(name: str, colour: tuple[int, int, int]) -> str:
    """Writes a picture; its hash."""
    data = encoded(Image.new("RGB", (32, 32), colour), "PNG")
    Path(name).write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def draw(*flags: str) -> int:
    return main(["a red heart", *SMALL, *flags])


def results() -> list[Path]:
    return sorted(Path("out").glob("*.png"))


def test_another_start_picture_under_the_same_name_makes_another_file() -> None:
    first = given("start.png", (200, 0, 0))
    assert draw("--init-image", "start.png") == 0
    (made,) = results()
    before = made.read_bytes()
    second = given("start.png", (0, 0, 200))
    assert draw("--init-image", "start.png") == 0
    assert len(results()) == 2 and made.read_bytes() == before
    told = {read_sources(path.read_bytes()).pictures["start.png"] for path in results()}
    assert told == {first, second}


@pytest.mark.parametrize("setting", ["init_image", "image_prompts", "mask_image"])
def test_every_setting_that_names_a_picture_is_hashed(setting: str) -> None:
    engine = "latent-diffusion" if setting == "mask_image" else "guided-diffusion"
    values = {"prompt": "a", "seed": 1, setting: "b.png"}
    masked = {"init_image": "a.png", "checkpoint": "stable-diffusion-1-5"}
    params = validate(engine, {**values, **masked} if setting == "mask_image" else values)
    assert "b.png" in params.sources
    names = {name_of(engine, params, Sources({"b.png": 64 * digit})) for digit in "ab"}
    assert len(names) == 2 and name_of(engine, params) not in names


def test_a_picture_without_sources_has_the_name_it_always_had() -> None:
    params = validate("vqgan-clip", {"prompt": "a red heart", "seed": 1})
    text = json.dumps(["vqgan-clip", params.model_dump(mode="json")], sort_keys=True)
    assert name_of("vqgan-clip", params, NONE) == f"vqgan-clip-1-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    assert "sources" not in json.loads(
        Image.open(io.BytesIO(encode_png(Image.new("RGB", (64, 64)), "vqgan-clip", params))).info["text2image"]
    )


def repeat(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["--from-png", str(results()[0]), "--device", "cpu", "--output-dir", "again", *flags])
    return status, capsys.readouterr().err


def test_a_start_picture_that_is_gone_is_asked_for_by_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    given("start.png", (200, 0, 0))
    assert draw("--init-image", "start.png") == 0
    shutil.move("start.png", "elsewhere.png")
    status, said = repeat(capsys)
    assert status == 2 and said == "start.png is not there any more; give it with --init-image FILE.\n"
    assert not Path("again").exists()
    assert repeat(capsys, "--init-image", "elsewhere.png")[0] == 0


def test_of_several_pictures_one_that_is_gone_is_asked_for_beside_the_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a.png", "big a.png"):
        given(name, (200, 0, 0))
    assert draw("--image-prompts", "a.png:0.5 | big a.png:-1") == 0
    Path("a.png").unlink()
    status, said = repeat(capsys)
    wanted = '--image-prompts "FILE:0.5 | big a.png:-1"'
    assert status == 2 and said == f"a.png is not there any more; give it with {wanted}.\n"


def test_a_start_picture_that_is_another_one_now_is_told_before_anything_is_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given("start.png", (200, 0, 0))
    assert draw("--init-image", "start.png") == 0
    assert repeat(capsys)[0] == 0
    (same,) = Path("again").glob("*.png")
    assert same.read_bytes() == results()[0].read_bytes()
    given("start.png", (0, 0, 200))
    status, said = repeat(capsys)
    assert status == 2 and len(said.splitlines()) == 1
    assert said.startswith("start.png is not what this picture was made with any more: its sha256 was ")
    assert said.endswith("To draw with it as it is now, write --init-image start.png.\n")
    assert repeat(capsys, "--init-image", "start.png")[0] == 0
    assert len(list(Path("again").glob("*.png"))) == 2


def test_a_png_of_an_older_version_goes_on_and_says_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    given("start.png", (200, 0, 0))
    params = validate("small", {"prompt": "a", "seed": 1, "steps": 1, "init_image": "start.png", "upscale": 1})
    Path("out").mkdir()
    Path("out/old.png").write_bytes(encode_png(Image.new("RGB", (64, 64)), "small", params))
    status, said = repeat(capsys)
    assert status == 0 and "old.png does not say what start.png held when it was made." in said


def test_what_is_hashed_is_what_is_drawn_from(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    read = Path.read_bytes
    given("start.png", (200, 0, 0))
    monkeypatch.setattr(Path, "read_bytes", lambda path: (reads.append(path.name), read(path))[1])
    assert draw("--init-image", "start.png") == 0
    assert reads.count("start.png") == 1


def test_a_result_is_never_lost_to_another_one(tmp_path: Path) -> None:
    target = tmp_path / "small-1-ab"
    assert store(target, {".png": b"one", ".gif": b"film"}) == target
    assert store(target, {".png": b"one", ".gif": b"film", "-frames/1.png": b"f"}) == target
    second = store(target, {".png": b"two", ".gif": b"film"})
    assert second == tmp_path / "small-1-ab-2" and target.with_suffix(".png").read_bytes() == b"one"
    assert store(target, {".png": b"two", ".gif": b"film"}) == second
    assert store(target, {".png": b"one", "-frames/1.png": b"g"}).name == "small-1-ab-3"
    assert (tmp_path / "small-1-ab-frames/1.png").read_bytes() == b"f"


def test_a_file_that_has_the_name_already_stays(capsys: pytest.CaptureFixture[str]) -> None:
    assert draw() == 0
    (made,) = results()
    good = made.read_bytes()
    made.write_bytes(b"drawn by another version")
    assert draw() == 0
    assert made.read_bytes() == b"drawn by another version"
    assert made.with_name(f"{made.stem}-2.png").read_bytes() == good
    assert f"{made} is of another result, and stays as it is" in capsys.readouterr().out


def small_picture(**settings: Any) -> generator.Picture:
    values = {"steps": 2, "upscale": 1, "seed": 1, "width": 32, "height": 32, **settings}
    return generator.generate("a red heart", "small", machine=HERE, **values)


def test_the_library_tells_the_same_and_draws_again() -> None:
    was = given("start.png", (200, 0, 0))
    picture = small_picture(init_image="start.png")
    assert read_sources(picture.png).pictures == {"start.png": was}
    assert draw("--init-image", "start.png") == 0
    assert results()[0].read_bytes() == picture.png
    assert generator.again(picture.png, machine=HERE).png == picture.png
    picture.save("made.png")
    given("start.png", (0, 0, 200))
    with pytest.raises(SourceChanged, match=r'write init_image="start\.png"\.'):
        generator.again("made.png", machine=HERE)
    changed = generator.again("made.png", machine=HERE, init_image="start.png")
    assert changed.png != picture.png
    Path("start.png").unlink()
    with pytest.raises(SourceChanged, match=r"start\.png is not there any more; give it with init_image=FILE"):
        generator.again(Path("made.png"), machine=HERE)


@pytest.mark.parametrize("what", [3, [1, 2], torch.zeros(3, 8, 8)])
def test_what_is_no_picture_is_said_to_the_library(what: Any) -> None:
    with pytest.raises(BadImage, match=r"as a path, the bytes of a file, a Pillow image or a Picture, not as \w+\."):
        generator.generate("a red heart", "small", init_image=what, machine=HERE)


def test_pictures_that_came_as_such_are_known_by_their_bytes() -> None:
    image = Image.new("RGB", (32, 32), (9, 99, 9))
    picture = small_picture(init_image=image)
    (name, digest), *_ = read_sources(picture.png).pictures.items()
    assert name.startswith("picture-") and digest.startswith(name.removeprefix("picture-"))
    assert generator.again(picture, machine=HERE).png == picture.png
    assert small_picture(init_image=encoded(image, "BMP")).png != picture.png, "another file is another source"


def own_upscaler(folder: Path, data: bytes) -> dict[str, str]:
    (folder / "mine.safetensors").write_bytes(data)
    params = validate("small", {"prompt": "a", "seed": 1, "upscale": 4, "upscaler": "mine.safetensors"})
    return own_weights(params, folder)


def test_weights_of_ones_own_are_hashed_and_published_ones_are_not(tmp_path: Path) -> None:
    first, second = own_upscaler(tmp_path, b"one"), own_upscaler(tmp_path, b"other")
    assert first == {"mine.safetensors": hashlib.sha256(b"one").hexdigest()} and first != second
    folder = tmp_path / "vqgan-f16" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text("a: 1")
    (folder / "model.safetensors").write_bytes(b"weights")
    params = validate("vqgan-clip", {"prompt": "a", "checkpoint": "vqgan-f16/mine"})
    found = own_weights(params, tmp_path)
    listed = [
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in (("model.safetensors", b"weights"), ("model.yaml", b"a: 1"))
    ]
    assert found == {"vqgan-f16/mine": hashlib.sha256("".join(sorted(listed)).encode()).hexdigest()}
    (folder / "model.safetensors").write_bytes(b"trained further")
    assert own_weights(params, tmp_path) != found
    assert own_weights(validate("vqgan-clip", {"prompt": "a"}), tmp_path) == {}
    assert own_weights(validate("vqgan-clip", {"prompt": "a", "checkpoint": "vqgan-f16/gone"}), tmp_path) == {}


def test_weights_that_are_others_now_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    now = own_upscaler(tmp_path, b"other")
    params = validate("small", {"prompt": "a", "seed": 1, "steps": 1, "upscaler": "mine.safetensors"})
    data = encode_png(
        Image.new("RGB", (64, 64)), "small", params, sources=Sources(weights={"mine.safetensors": "0" * 64})
    )
    Path("out").mkdir()
    Path("out/old.png").write_bytes(data)
    status, said = repeat(capsys, "--checkpoints-dir", str(tmp_path))
    assert status == 2 and f"and is {now['mine.safetensors'][:12]}... now" in said
    assert "write --upscaler mine.safetensors." in said


def test_hostile_sources_in_a_png_are_left_aside() -> None:
    for told in (1, [], {"pictures": 1}, {"pictures": {"a": 1, "b": "x"}}, {"weights": ["a"]}):
        assert Sources.of({"sources": told}) == NONE
    params = validate("small", {"prompt": "a", "seed": 1})
    assert read_metadata(encode_png(Image.new("RGB", (64, 64)), "small", params))[1] == params


def test_the_command_line_the_library_and_the_upscaler_take_a_phones_picture(tmp_path: Path) -> None:
    data = heic(Image.new("RGB", (32, 32), (0, 99, 200)).tobytes(), 32, 32)
    Path("phone.heic").write_bytes(data)
    assert draw("--init-image", "phone.heic") == 0
    (made,) = results()
    assert read_sources(made.read_bytes()).pictures == {"phone.heic": hashlib.sha256(data).hexdigest()}
    assert small_picture(init_image="phone.heic").png == made.read_bytes()
    from_bytes = small_picture(init_image=data)
    assert from_bytes.image.tobytes() == small_picture(init_image=Path("phone.heic")).image.tobytes()
    assert upscaler.main(["phone.heic", "--device", "cpu"]) == 0
    with Image.open("phone-x4.png") as large:
        assert large.size == (128, 128)


def test_what_is_upscaled_under_a_name_nobody_chose_stays(capsys: pytest.CaptureFixture[str]) -> None:
    given("a.b.png", (200, 0, 0))
    assert upscaler.main(["a.b.png", "--device", "cpu"]) == 0
    first = Path("a.b-x4.png").read_bytes()
    given("a.b.png", (0, 200, 0))
    assert upscaler.main(["a.b.png", "--device", "cpu"]) == 0
    assert Path("a.b-x4.png").read_bytes() == first and Path("a.b-x4-2.png").read_bytes() != first
    assert upscaler.main(["a.b.png", "a.b-x4.png", "--device", "cpu"]) == 0
    assert capsys.readouterr().out.endswith("a.b-x4.png, 128 x 128 px, in place of what it was\n")
