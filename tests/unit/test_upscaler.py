"""The finished picture four times as large: a small random SwinIR in the files of the embedded one."""

from __future__ import annotations

import dataclasses
import io
import json
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import load_file

from db import artefacts
from generator import registry
from generator.__main__ import main as draw
from generator.images.encode import to_image
from generator.models.torchvision_operators import declare
from generator.output.metadata import METADATA_KEY, encode_png, read_metadata
from generator.params import BadParams, validate
from generator.registry import PUBLISHED
from generator.training.upscaler import export
from generator.upscaler import model as upscaler
from generator.upscaler.__main__ import main as upscale_command
from generator.upscaler.model import (
    NotUpscaled,
    PictureTooLarge,
    UnsupportedUpscaler,
    UpscalerMissing,
    load_upscaler,
    swinir,
)
from tests import small_engine
from tests.executor_studio import Studio
from tests.real_formats import save_swinir


def save_random(folder: Path) -> None:
    """mini-upscaler.safetensors of a network with 8 channels and two blocks of attention."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.meshgrid")
        sizes = {"embed_dim": 8, "depths": [2], "num_heads": [2], "mlp_ratio": 2.0, "img_size": 16}
        network = swinir().SwinIR(**sizes, window_size=8, upscale=4, upsampler="pixelshuffledirect")
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    export(network.state_dict(), folder, {})


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    save_random(folder)
    return folder


@pytest.fixture
def weights(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(upscaler, "WEIGHTS", random_weights)
    return random_weights


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)


def pictures(height: int, width: int, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (5, 40), (1, 1), (33, 20)])
def test_every_size_becomes_four_times_as_large(weights: Path, height: int, width: int) -> None:
    large = load_upscaler().upscale(pictures(height, width, 2))
    assert large.shape == (2, 3, 4 * height, 4 * width)
    assert 0 <= float(large.min()) < float(large.max()) <= 1


def test_tiles_leave_no_seams(weights: Path) -> None:
    images, model = pictures(150, 250), load_upscaler()
    whole = model.upscale(images, tile=256)
    progress = list(model.steps(images, tile=112, overlap=48))
    assert [step.done for step in progress] == list(range(1, 9)) and {step.total for step in progress} == {8}
    assert all(step.pictures is None for step in progress[:-1])
    tiled = progress[-1].pictures
    assert tiled is not None and whole.std() > 0.05
    assert (tiled - whole).abs().max() < 0.005
    # A narrow overlap sees less around it, and its seams must still be blended.
    assert (model.upscale(images, tile=64) - whole).abs().mean() < 0.01


def test_too_large_a_picture_and_a_senseless_tile_are_refused(weights: Path) -> None:
    model = load_upscaler()
    with pytest.raises(PictureTooLarge, match="at most 2000 x 2000 px"):
        model.upscale(torch.zeros(1, 3, 1, 1).expand(1, 3, 3000, 3000))
    with pytest.raises(ValueError, match="multiples of 8"):
        model.upscale(pictures(16, 16), tile=60)


def test_the_file_is_one_that_spandrel_itself_reads(weights: Path) -> None:
    path = weights / "mini-upscaler.safetensors"
    ours, theirs = load_upscaler(), load_upscaler(str(path))
    assert torch.equal(ours.upscale(pictures(24, 24)), theirs.upscale(pictures(24, 24)))
    stored = load_file(path)
    found = theirs.network.state_dict()
    assert set(stored) == set(found)
    assert all(torch.equal(stored[key].to(found[key].dtype), found[key]) for key in found)
    assert "spandrel.architectures" in sys.modules, "a later import of spandrel has all of it"


def test_upscalers_of_other_makers_are_built_from_their_files(tmp_path: Path) -> None:
    load_upscaler()  # with it, spandrel
    declare()
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact
    from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet
    from spandrel.architectures.HAT import HAT

    networks = {
        "compact": SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=2),
        "esrgan": RRDBNet(num_filters=16, num_blocks=1),
        "hat": HAT(upscale=4, upsampler="pixelshuffle", img_size=64, window_size=16, embed_dim=60, depths=[2],
                   num_heads=[6]),
    }  # fmt: skip
    for name, network in networks.items():
        torch.save({"params": network.state_dict(), "epoch": 3}, tmp_path / f"{name}.pth")
        read = load_upscaler(str(tmp_path / f"{name}.pth"))
        assert read.scale == 4 and read.network.state_dict().keys() == network.state_dict().keys(), name


def test_a_file_that_is_no_upscaler_is_named(tmp_path: Path, weights: Path) -> None:
    with pytest.raises(UpscalerMissing, match=r"no upscaler 'nothing\.pth'"):
        load_upscaler("nothing.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(UnsupportedUpscaler, match=r"bad\.safetensors holds no upscaler"):
        load_upscaler(str(tmp_path / "bad.safetensors"))


def saved(folder: Path, side: int = 16) -> Path:
    params = validate("vqgan-clip", {"prompt": "a heart", "seed": 3, "width": side, "height": side, "upscale": 1})
    path = folder / "heart.png"
    path.write_bytes(encode_png(to_image(pictures(side, side)[0]), "vqgan-clip", params, 0.5))
    return path


def test_a_picture_is_upscaled_from_the_command_line_and_keeps_its_settings(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path)
    assert upscale_command([str(path), "--device", "cpu", "--tile", "32"]) == 0
    result = tmp_path / "heart-x4.png"
    assert f"{result}, 64 x 64 px" in capsys.readouterr().out
    engine, params = read_metadata(result.read_bytes())
    before = read_metadata(path.read_bytes())[1]
    assert engine == "vqgan-clip" and params == before.model_copy(update={"upscale": 4})
    with Image.open(result) as image:
        assert image.size == (64, 64)
        settings = json.loads(image.info[METADATA_KEY])
        assert (settings["upscale"], settings["size"], settings["score"]) == (4, [64, 64], 0.5)
        assert "Size: 16x16" in image.info["parameters"] and "Hires upscale: 4" in image.info["parameters"]
    assert upscale_command([str(result), str(tmp_path / "again.png"), "--device", "cpu"]) == 0
    with Image.open(tmp_path / "again.png") as image:
        assert image.size == (256, 256) and json.loads(image.info[METADATA_KEY])["upscale"] == 16


def test_texts_of_other_programs_go_along(tmp_path: Path, weights: Path) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a heart, Steps: 3")
    to_image(pictures(16, 16)[0]).save(tmp_path / "other.png", pnginfo=chunks)
    assert upscale_command([str(tmp_path / "other.png"), "--device", "cpu"]) == 0
    with Image.open(tmp_path / "other-x4.png") as image:
        assert image.info["parameters"] == "a heart, Steps: 3"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.png"], "Cannot read missing.png: No such file or directory."),
        (["bad.png"], "This is not a picture"),
        (["heart.png", "out.jpg"], "its name must end in .png"),
        (["heart.png", "--model", "nothing.pth"], "There is no upscaler 'nothing.pth'"),
        (["heart.png", "--device", "abacus"], "Unknown device 'abacus'"),
        (["heart.png", "--tile", "33"], "Write a multiple of 8 from 32 to 1024 px"),
    ],
)
def test_what_cannot_be_upscaled_is_said_in_a_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    try:
        status = upscale_command(arguments)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    assert status == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*x4*"))


FLAGS = ["a red heart", "--engine", "small", "--steps", "2", "--size", "16", "--seed", "1", "--device", "cpu"]


def test_a_finished_picture_is_upscaled_and_repeats_to_the_byte(tmp_path: Path, weights: Path, small: None) -> None:
    assert draw([*FLAGS, "--upscale", "4", "--output-dir", str(tmp_path / "a")]) == 0
    (first,) = (tmp_path / "a").glob("*.png")
    with Image.open(first) as image:
        assert image.size == (64, 64)
    _, params = read_metadata(first.read_bytes())
    assert (params.width, params.height, params.upscale) == (16, 16, 4)
    assert draw(["--from-png", str(first), "--device", "cpu", "--output-dir", str(tmp_path / "b")]) == 0
    assert (tmp_path / "b" / first.name).read_bytes() == first.read_bytes()


def test_a_picture_that_cannot_be_upscaled_is_kept_as_it_was_drawn(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(upscaler, "WEIGHTS", tmp_path / "nothing")
    assert draw([*FLAGS, "--upscale", "4", "--output-dir", str(tmp_path)]) == 0
    assert "The picture is not upscaled: There is no upscaler 'mini-upscaler'" in capsys.readouterr().err
    (path,) = tmp_path.glob("*.png")
    with Image.open(path) as image:
        assert image.size == (16, 16) and json.loads(image.info[METADATA_KEY])["upscale"] == 1


def test_other_factors_are_refused(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(["a heart", "--upscale", "3", "--output-dir", str(tmp_path)]) == 2
    assert "upscale = '3': input should be 1 or 4." in capsys.readouterr().err.replace('"', "'")
    with pytest.raises(NotUpscaled, match="upscales 4 times, not 2 times"):
        list(upscaler.upscale_steps(Image.new("RGB", (16, 16)), 2))


def test_the_picture_of_a_job_is_upscaled_and_never_lost(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    try:
        executor = studio.executor()
        studio.wait_ready()
        (plain,) = studio.ended(studio.add("a red heart", steps=2, upscale=4))
        assert plain.state == "succeeded" and studio.image(plain).shape == (16, 16, 3)
        assert studio.said("not_upscaled") == 1
        save_random(tmp_path / "weights")
        (job,) = studio.ended(studio.add("a red heart", steps=2, upscale=4))
        assert job.state == "succeeded" and studio.image(job).shape == (64, 64, 3)
        files = artefacts.of_job(studio.db, job.id)
        assert (files["picture"].width, files["thumbnail"].height) == (64, 64)
        assert (files["gif"].width, files["webp"].width, files["preview"].width) == (256, 256, 16)
        shown = json.loads(studio.store.get(files["json"].key))
        assert (shown["params"]["width"], shown["params"]["upscale"], shown["upscale"]) == (16, 4, 4)
        thumbnail = np.asarray(Image.open(io.BytesIO(studio.store.get(files["thumbnail"].key))))
        assert thumbnail.std() > 0
        executor.send_signal(signal.SIGTERM)
        assert executor.wait(10) == 0
    finally:
        studio.close()


@pytest.fixture
def real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a narrow SwinIR-L under the name and in the layout of the published one."""
    row = PUBLISHED["swinir-l"]
    torch.manual_seed(0)
    network = save_swinir(tmp_path / row.files[0].name, embed_dim=16, depths=[2, 2], num_heads=[2, 2])
    shapes = {key: tuple(network.state_dict()[key].shape) for key in ("conv_first.weight", "conv_up1.weight")}
    monkeypatch.setitem(PUBLISHED, "swinir-l", dataclasses.replace(row, shapes=shapes))
    return tmp_path


def test_the_published_upscaler_upscales_without_seams_and_to_the_last_weight(real: Path) -> None:
    model = load_upscaler("swinir-l", "cpu", real)
    file = torch.load(next(real.glob("*.pth")), weights_only=True)["params_ema"]
    loaded = model.network.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in file.items() if "attn_mask" not in key)
    images = pictures(96, 120)
    whole, tiled = model.upscale(images, tile=128), model.upscale(images, tile=80, overlap=32)
    assert whole.shape == (1, 3, 384, 480) and whole.std() > 0.01
    assert (tiled - whole).abs().max() < 0.01


def test_the_command_takes_it_by_name_and_says_how_to_get_it(
    real: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(real)
    assert upscale_command([str(path), "--model", "swinir-l", "--device", "cpu", "--checkpoints-dir", str(real)]) == 0
    with Image.open(real / "heart-x4.png") as image:
        assert image.size == (64, 64)
    empty = str(tmp_path_factory.mktemp("empty"))
    assert upscale_command([str(path), "--model", "swinir-l", "--device", "cpu", "--checkpoints-dir", empty]) == 2
    said = capsys.readouterr().err
    assert "Get it (142 MB) with: python -m generator.checkpoints download swinir-l" in said


def test_the_setting_chooses_the_upscaler_or_a_file_of_the_host(
    real: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    (real / "mine.pth").write_bytes(next(real.glob("*.pth")).read_bytes())
    made = []
    for name in ("swinir-l", "mine.pth"):
        folder = real / f"out-{name}"
        flags = ["--upscale", "4", "--upscaler", name, "--checkpoints-dir", str(real), "--output-dir", str(folder)]
        assert draw([*FLAGS, *flags]) == 0
        (path,) = folder.glob("*.png")
        with Image.open(path) as image:
            assert image.size == (64, 64)
            made.append(image.tobytes())
        assert read_metadata(path.read_bytes())[1].upscaler == name
    assert made[0] == made[1]
    flags = ["--upscale", "4", "--upscaler", "gone.pth", "--checkpoints-dir", str(real), "--output-dir", str(real)]
    capsys.readouterr()
    assert draw([*FLAGS, *flags]) == 2
    assert "There is no upscaler 'gone.pth'" in capsys.readouterr().err and not list(real.glob("*.png"))


@pytest.mark.parametrize("name", ["../secrets.pth", "/etc/x.pth", "a/b.safetensors", "swin", "run.py", ""])
def test_no_setting_leads_out_of_the_folder_of_checkpoints(name: str) -> None:
    with pytest.raises(BadParams, match="choose one of mini-upscaler, swinir-l"):
        validate("vqgan-clip", {"prompt": "a heart", "upscaler": name})


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), str(tmp_path / "program.pt"))
    with pytest.raises(UnsupportedUpscaler, match="TorchScript program"):
        load_upscaler(str(tmp_path / "program.pt"))
