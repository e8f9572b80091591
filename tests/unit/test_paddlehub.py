"""PaddleHub's own call and command line on the embedded models: the documented arguments, Documents and files."""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generator.output.documents import Document, DocumentArray
from generator.paddlehub import MODULES, Module
from generator.paddlehub.__main__ import main
from generator.paddlehub.arguments import DiscoArguments, StableArguments, as_schedule
from generator.paddlehub.planning import plan, with_words
from generator.paddlehub.results import side_by_side
from generator.params import BadParams, validate
from generator.registry import UnknownName

NOWHERE = Path("no-checkpoints-here")
QUICK = {"num_inference_steps": 3, "seed": 5, "display_rate": 1}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def stable() -> Module:
    return Module(name="stable_diffusion", device="cpu", checkpoints_dir=NOWHERE, say=lambda line: None)


def test_stable_diffusion_gives_the_documented_documents_and_files(stable: Module, tmp_path: Path) -> None:
    da = stable.generate_image(
        ["a red heart.", "a blue/car"], style="flat", batch_size=2, output_dir=str(tmp_path), **QUICK
    )
    assert [one.tags for one in da] == [{"prompt": "a red heart,flat"}, {"prompt": "a blue/car,flat"}]
    first = da[0]
    assert [chunk.tags["image idx"] for chunk in first.chunks] == [0, 1, "merged"]
    assert [frame.tags for frame in first.chunks[0].chunks] == [
        {"step": step, "prompt": "a red heart,flat"} for step in (0, 1)
    ]
    assert len(first.chunks[-1].chunks) == 2 and first.chunks[-1].uri == first.uri
    pictures = [first.chunks[n].image() for n in (0, 1)]
    assert first.image().tobytes() == side_by_side(pictures).tobytes() and first.image().size == (512, 256)
    assert pictures[0].tobytes() != pictures[1].tobytes()
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"a red heart,flat-{end}.png" for end in ("progress", "merge", "image-0", "image-1")} <= names
    assert "a blue car,flat-image-1.png" in names, "what no file can be called is left out"
    first.save_uri_to_file(str(tmp_path / "whole.png"))
    with Image.open(tmp_path / "whole.png") as whole:
        assert whole.format == "PNG" and whole.size == (512, 256)


def test_the_same_seed_gives_the_same_pictures(stable: Module, tmp_path: Path) -> None:
    first, again = (stable.generate_image("a red heart", output_dir=None, **QUICK) for _ in range(2))
    assert first[0].uri == again[0].uri
    assert stable.generate_image("a red heart", output_dir=None, **{**QUICK, "seed": 6})[0].uri != first[0].uri


def test_disco_diffusion_gives_the_documented_documents_and_files(tmp_path: Path) -> None:
    said: list[str] = []
    module = Module(name="disco_diffusion_clip_rn50", device="cpu", checkpoints_dir=NOWHERE, say=said.append)
    da = module.generate_image(
        text_prompts=["a red heart,", "nobody reads this"],
        artist="Monet",
        init_image=Image.new("RGB", (64, 64), "red"),
        width_height=[128, 64],
        steps=5,
        skip_steps=0,
        seed=5,
        display_rate=2,
        batch_name="a/b",
        output_dir=str(tmp_path),
        n_batches=2,
        cut_overview=[4] * 2 + [2] * 3,
    )
    assert len(da) == 2 and [one.tags["seed"] for one in da] == [5, 6] and da[0].uri != da[1].uri
    tags = da[0].tags
    assert tags["text_prompts"] == ["a red heart,Monet,trending on artstation"] and tags["steps"] == 5
    assert set(DiscoArguments.model_fields) == set(tags) and tags["checkpoint"] == "mini-diffusion"
    # Steps 0, 2 and 4, the last one, as PaddleHub counts what is left.
    assert [chunk.tags for chunk in da[0].chunks] == [{"cur_t": 3}, {"cur_t": 1}, {"cur_t": -1}]
    assert da[0].chunks[-1].uri == da[0].uri and {c.image().size for c in da[0].chunks} == {(256, 256)}
    assert {path.name for path in tmp_path.iterdir()} == {
        *("progress-0.png", "progress-1.png"),
        *(f"disco_diffusion_clip_rn50-a b-{5 + n}-progress-{n}.png" for n in (0, 1)),
    }
    unknown, line = dict.fromkeys(said)  # once for each group of pictures
    assert "guided-diffusion-512 is not installed" in line and "mini-diffusion draws 64 x 64 px" in line
    assert "may not know" in unknown and "“artstation”" in unknown


def test_what_can_be_said_is_what_is_documented() -> None:
    disco = inspect.signature(Module("disco_diffusion_clip_rn50").generate_image).parameters
    assert list(disco)[:6] == ["text_prompts", "style", "artist", "init_image", "width_height", "skip_steps"]
    assert (disco["steps"].default, disco["rand_mag"].default, disco["eta"].default) == (250, 0.05, 0.8)
    stable = inspect.signature(Module("stable_diffusion").generate_image).parameters
    assert (stable["num_inference_steps"].default, stable["guidance_scale"].default) == (50, 7.5)
    documentation = Module("stable_diffusion").generate_image.__doc__ or ""
    assert all(f"\n{name}: " in documentation for name in stable)
    with pytest.raises(TypeError, match=r"generate_image\(\) got an unexpected keyword argument 'colour'"):
        Module("stable_diffusion").generate_image("a red heart", colour="red")
    with pytest.raises(TypeError, match="missing a required argument: 'text_prompts'"):
        Module("stable_diffusion").generate_image()
    with pytest.raises(UnknownName, match="disco_diffusion_clip_rn50"):
        Module("ernie_vilg")


def test_prompts_are_built_as_paddlehub_does() -> None:
    assert with_words("a tree.,。", None, None) == "a tree"
    assert with_words("a tree,", "oil", "Monet") == "a tree,oil,Monet,trending on artstation"
    assert with_words("a tree:2", "oil", None) == "a tree,oil:2", "a weight stays a weight"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has the real weights. Nothing of them is read here."""
    monkeypatch.setattr("generator.checkpoints.inventory.missing", lambda name, folder: False)


def test_with_the_real_weights_every_default_is_the_documented_one(installed: None) -> None:
    module = MODULES["disco_diffusion_clip_rn50"]
    (group,) = plan(module, {"text_prompts": "a tree", "init_image": "a.png", "style": "oil"}, NOWHERE).groups
    made: Any = validate(module.engine, group.values)
    assert (made.checkpoint, made.clip, made.prompt) == ("guided-diffusion-512", ("RN50",), "a tree,oil")
    assert (made.width, made.height, made.steps, made.eta, made.range_scale) == (1280, 768, 250, 0.8, 0.0)
    assert (made.init, made.skip_steps, made.init_scale, made.clip_guidance_scale) == ("image", 0, 1000, 5000)
    assert (made.cut_ic_pow, made.cut_overview, made.cut_icgray_p) == ("1", "[12]*400+[4]*600", "[0.2]*400+[0]*600")
    other = plan(module, {"text_prompts": "a tree", "diffusion_sampling_mode": "plms"}, NOWHERE)
    assert other.groups[0].values["sampler"] == "dpm-solver-2m" and "DPM-Solver++" in other.notes[0]
    module = MODULES["stable_diffusion"]
    (group,) = plan(module, {"text_prompts": "a tree", "enable_fp16": True}, NOWHERE).groups
    made = validate(module.engine, group.values)
    assert (made.checkpoint, made.sampler, made.steps) == ("stable-diffusion-1-5", "pndm", 50)
    assert (made.cfg_scale, made.width, made.candidates) == (7.5, 512, 1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"text_prompts": "x", "steps": 0}, "steps = 0"),
        ({"text_prompts": "x", "colour": 1}, "Unknown argument 'colour'"),
        ({"text_prompts": []}, "text_prompts is empty"),
        ({"text_prompts": "x", "width_height": [1, 2, 3]}, "width_height"),
        ({"text_prompts": "x", "n_batches": 4, "batch_size": 4}, "at most 8"),
        ({}, "text_prompts is missing"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(values: dict[str, Any], says: str) -> None:
    with pytest.raises(BadParams, match=says):
        plan(MODULES["disco_diffusion_clip_rn50"], values, NOWHERE)


def test_schedules_may_be_lists() -> None:
    assert as_schedule([12] * 400 + [4] * 600) == "[12]*400+[4]*600" and as_schedule(2) == "2"


def test_the_command_line_has_paddlehubs_names_and_reads_booleans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    options = ["--num_inference_steps", "3", "--use_gpu", "False", "--width_height", "[64,64]", "--seed", "5"]
    where = ["--output_dir", out, "--checkpoints-dir", str(NOWHERE)]
    assert main(["run", "stable_diffusion", "--text_prompts", "a red heart", *options, *where]) == 0
    printed = capsys.readouterr().out
    assert "mini-latent-diffusion draws 64 x 64 px" in printed and f"Files are in {out}." in printed
    assert (tmp_path / "out" / "a red heart-image-0.png").is_file()
    assert main(["run", "stable_diffusion", "--text_prompts", "x", "--use_gpu", "perhaps", *where]) == 2
    assert "use_gpu = 'perhaps'" in capsys.readouterr().err
    assert (DiscoArguments.cli_defaults, StableArguments.cli_defaults) == ({"rand_mag": 0.5}, {"display_rate": 10})


def picture(colour: str, size: tuple[int, int] = (40, 20)) -> Document:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return Document(uri=f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}", mime_type="image/png")


def test_pictures_are_plotted_on_one_and_saved_as_a_film(tmp_path: Path) -> None:
    da = DocumentArray([picture("red"), picture("lime"), picture("blue"), Document(), picture("white")])
    da.plot_image_sprites(tmp_path / "sprites.png", canvas_size=300, skip_empty=True, keep_aspect_ratio=True)
    with Image.open(tmp_path / "sprites.png") as sheet:
        assert sheet.size == (300, 150), "two in a row, in the shape of the first"
        found = [sheet.getpixel(place) for place in ((75, 40), (225, 40), (75, 110), (225, 110))]
    assert found == [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    numbered = da.plot_image_sprites(skip_empty=True, show_index=True)
    assert numbered.size == (512, 512) and len(numbered.crop((0, 0, 60, 60)).getcolors() or []) > 1
    da.save_gif(str(tmp_path / "film.gif"), duration=100, size_ratio=0.5, skip_empty=True)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (20, 10) and getattr(film, "n_frames", 0) == 4
        assert film.info["loop"] == 0 and film.info["duration"] == 100
        film.seek(1)
        assert film.convert("RGB").getpixel((5, 5)) == (0, 255, 0)
    for empty in (DocumentArray(), DocumentArray([Document()])):
        with pytest.raises(ValueError, match="no picture"):
            empty.plot_image_sprites()
    assert da[1:3].to_list()[0]["uri"] == da[1].uri and len(da) == 5
