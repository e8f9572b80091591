"""python -m generator: one picture without queue or browser."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from generator import registry
from generator.__main__ import main
from generator.output.metadata import encode_png, read_licence, read_metadata
from generator.params import VqganClipParams, validate
from tests import small_engine

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ["--device", "cpu", "--upscale", "1"]  # test_upscaler.py has the upscaled ones
needs_mini = pytest.mark.skipif(
    not (ROOT / "generator/weights/mini-clip.safetensors").is_file(), reason="the mini CLIP is not trained yet"
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    torch.set_num_threads(1)


def draw(out: Path, *flags: str) -> int:
    return main(["a red heart", "--engine", "small", "--output-dir", str(out), *NATIVE, *flags])


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_a_prompt_becomes_a_png_and_a_gif(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(tmp_path, "--seed", "1", "--steps", "5", "--size", "32") == 0
    out = capsys.readouterr().out
    assert "Seed 1, 32 x 32 px" in out and "Preview: " in out and "score" in out
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".gif", ".png"]
    assert "heart" not in " ".join(path.name for path in tmp_path.iterdir()), "names never come from the prompt"
    with Image.open(only(tmp_path, "*.gif")) as film:
        assert film.n_frames > 6, "what lies between the steps is seen too"


def test_mp4_webp_and_frames_are_written_when_asked_for(tmp_path: Path) -> None:
    assert draw(tmp_path, "--steps", "3", "--mp4", "--webp", "--frames") == 0
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".gif", ".mp4", ".png", ".webp"]
    assert len(list(only(tmp_path, "*-frames").glob("*.png"))) == 4


def test_a_picture_says_what_it_is_under(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(tmp_path, "--steps", "1", "--seed", "1", "--licence", "CC BY 4.0") == 0
    assert read_licence(only(tmp_path, "*.png").read_bytes()) == "CC BY 4.0"
    again = ["--from-png", str(only(tmp_path, "*.png")), "--output-dir", str(tmp_path / "again"), "--device", "cpu"]
    assert main(again) == 0, "a licence is no setting to draw with"
    capsys.readouterr()
    assert draw(tmp_path, "--licence", "two\nlines") == 2 and "one line" in capsys.readouterr().err


def test_the_same_seed_is_the_same_bytes_and_another_seed_another_file(tmp_path: Path) -> None:
    for folder, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert draw(tmp_path / folder, "--seed", seed, "--steps", "4") == 0
    a, b, c = (only(tmp_path / folder, "*.png") for folder in "abc")
    assert a.name == b.name and a.read_bytes() == b.read_bytes()
    assert a.name != c.name and a.read_bytes() != c.read_bytes()


def test_a_seed_that_was_drawn_is_printed_and_repeats_the_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(tmp_path / "a", "--steps", "2") == 0
    found = re.search(r"Seed (\d+)", capsys.readouterr().out)
    assert found and draw(tmp_path / "b", "--steps", "2", "--seed", found[1]) == 0
    assert only(tmp_path / "a", "*.png").read_bytes() == only(tmp_path / "b", "*.png").read_bytes()


def test_a_png_repeats_itself_and_flags_change_it(tmp_path: Path) -> None:
    assert draw(tmp_path / "a", "--seed", "3", "--steps", "4", "--size", "48x32") == 0
    first = only(tmp_path / "a", "*.png")
    repeat = ["--from-png", str(first), "--device", "cpu", "--output-dir"]
    assert main([*repeat, str(tmp_path / "b")]) == 0
    assert only(tmp_path / "b", "*.png").read_bytes() == first.read_bytes()
    assert main([*repeat, str(tmp_path / "c"), "--steps", "2"]) == 0
    engine, params = read_metadata(only(tmp_path / "c", "*.png").read_bytes())
    assert (engine, params.steps, params.seed, params.width) == ("small", 2, 3, 48)


def test_the_size_is_floored_and_the_real_one_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert draw(tmp_path, "--steps", "1", "--size", "51x38") == 0
    assert "48 x 36 px (floored from 51 x 38)" in capsys.readouterr().out
    with Image.open(only(tmp_path, "*.png")) as image:
        assert image.size == (48, 36)


def test_every_parameter_has_a_flag_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in VqganClipParams.model_fields:
        if name not in ("prompt", "width", "height", "wording"):
            assert f"--{name.replace('_', '-')}" in text
    assert "--size WxH|N" in text and "[from 1 to 512; default 8]" in " ".join(text.split())


def test_flags_reach_the_parameters(tmp_path: Path) -> None:
    flags = ["--no-augment", "--cutn", "3", "--learning-rate", "0.5", "--optimiser", "SGD", "--style", "noto"]
    assert draw(tmp_path, "--steps", "1", "--clip", "mini", *flags) == 0
    _, params = read_metadata(only(tmp_path, "*.png").read_bytes())
    assert isinstance(params, VqganClipParams)
    assert not params.augment and params.cutn == 3 and params.learning_rate == 0.5 and params.optimiser == "SGD"
    assert params.style == "noto" and params.clip == ("mini",)


def test_list_shows_engines_checkpoints_clips_and_styles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "--checkpoints-dir", "nowhere"]) == 0
    text = capsys.readouterr().out
    for name in (*registry.drawing_engines(), *registry.CHECKPOINTS, *registry.CLIP_MODELS, *registry.STYLES):
        assert name in text
    assert "not installed" in text and "MIT" in text and "958 MB" in text


BAD = [
    ([], "The prompt is missing"),
    ([""], "The prompt is empty"),
    (["a\x00b"], "U+0000"),
    (["a cat:-1"], "nothing to draw"),
    (["a", "--engine", "zz"], "Unknown engine 'zz'. Choose one of: vqgan-clip"),
    (["a", "--checkpoint", "zz"], "Unknown checkpoint 'zz'"),
    (["a", "--clip", "zz"], "Unknown CLIP model 'zz'"),
    (["a", "--style", "zz"], "Unknown style 'zz'"),
    (["a", "--optimiser", "zz"], "optimiser"),
    (["a", "--steps", "-1"], "steps"),
    (["a", "--steps", "x"], "invalid int value: 'x'"),
    (["a", "--seed", "99999999999"], "seed"),
    (["a", "--size", "9x"], "'9x' is no size"),
    (["a", "--size", "99999"], "width"),
    (["a", "--device", "gpu"], "Unknown device 'gpu'. Choose one of: auto"),
    (["a", "--no-such-flag"], "--no-such-flag"),
    (["a", "--from-png", "nowhere.png"], "Cannot read nowhere.png: No such file"),
    (["a", "--from-png", __file__], "This is not a PNG file"),
    (["a", "--init-image", "nowhere.png", "--engine", "small"], "Cannot read the picture nowhere.png"),
    (["a", "--init-image", __file__, "--engine", "small"], "This is not a picture in PNG"),
    (["a", "--checkpoint", "wikiart-f16-1024", "--clip", "mini"], "checkpoints download wikiart-f16-1024"),
]


@pytest.mark.parametrize(("flags", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
def test_bad_input_is_one_clear_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    assert main([*flags, "--output-dir", str(tmp_path), "--checkpoints-dir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line and "|" not in line]  # tqdm's bar has a |
    assert sentence in said and len(lines) == 1
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert draw(tmp_path / "file") == 2
    assert "Cannot write to" in capsys.readouterr().err


def test_a_run_that_fails_keeps_its_last_good_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--engine", "small", "--steps", "9", "--output-dir", str(tmp_path)]
    assert main(["nan at 5", *flags]) == 1
    assert "stopped being finite at step 5" in capsys.readouterr().err
    engine, params = read_metadata(only(tmp_path, "*-unfinished.png").read_bytes())
    assert engine == "small" and params.prompt == "nan at 5"


def test_too_little_memory_is_said_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--engine", "small", "--steps", "9", "--output-dir", str(tmp_path)]
    assert main(["memory for 4 cutouts", *flags, "--cutn", "8"]) == 1
    assert "not enough memory. Choose a smaller --size" in capsys.readouterr().err


def test_ctrl_c_saves_the_last_picture_and_says_130(tmp_path: Path) -> None:
    code = "import sys; from tests.small_engine import serve; serve(); from generator.__main__ import main; "
    command = [sys.executable, "-c", code + "sys.exit(main())", "slow", "--engine", "small", "--steps", "2000", *NATIVE]
    process = subprocess.Popen(
        [*command, "--output-dir", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob("*.part/last.png")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The last picture is in" in said and "Traceback" not in said
    with Image.open(only(tmp_path, "*-unfinished.png")) as image:
        image.load()
    assert len(list(tmp_path.iterdir())) == 1


@needs_mini
def test_the_embedded_models_draw_and_repeat_to_the_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--steps", "2", "--cutn", "2", "--candidates", "1"]
    flags = ["a red heart", "--seed", "1", *few, "--device", "cpu", "--output-dir"]
    assert main([*flags, str(tmp_path / "a")]) == 0
    first = only(tmp_path / "a", "*.png")
    assert main(["--from-png", str(first), "--device", "cpu", "--output-dir", str(tmp_path / "b")]) == 0
    assert only(tmp_path / "b", "*.png").read_bytes() == first.read_bytes()
    with Image.open(io.BytesIO(first.read_bytes())) as image:
        assert image.size == (256, 256)


@needs_mini
def test_words_beyond_what_clip_reads_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([" ".join(["heart"] * 80) + " and lastword", "--output-dir", str(tmp_path)]) == 2
    assert "fall off its end" in (said := capsys.readouterr().err) and "lastword" in said


def test_a_picture_of_settings_this_version_does_not_know_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = validate("vqgan-clip", {"prompt": "x", "seed": 1})
    path = tmp_path / "x.png"
    path.write_bytes(encode_png(Image.new("RGB", (8, 8)), "of-the-future", params))
    assert main(["--from-png", str(path)]) == 2
    assert "Unknown engine 'of-the-future'" in capsys.readouterr().err


def test_choices_are_drawn_recorded_and_repeated(tmp_path: Path) -> None:
    (tmp_path / "animal.txt").write_text("cat\ndog\nfox\nowl\nbat\n")
    lists = ["--wildcards-dir", str(tmp_path)]
    few = ["--engine", "small", "--steps", "1", *NATIVE]
    texts = set()
    for seed in range(4):
        out = tmp_path / str(seed)
        flags = ["{red|blue} __animal__", "--seed", str(seed), *lists, *few, "--output-dir"]
        assert main([*flags, str(out)]) == 0
        first = only(out, "*.png")
        _, params = read_metadata(first.read_bytes())
        said = params.wording["prompt"]
        assert said.typed == "{red|blue} __animal__" and said.became == params.prompt and len(said.choices) == 2
        with Image.open(first) as image:
            assert 'Template: {red|blue} __animal__, Drawn: "{red|blue}: ' in image.info["parameters"]
        assert main(["--from-png", str(first), "--device", "cpu", "--output-dir", str(out / "again")]) == 0
        assert only(out / "again", "*.png").read_bytes() == first.read_bytes(), "without the lists"
        texts.add(params.prompt)
    assert len(texts) > 1
    assert main(["a __anmal__", *lists, *few, "--output-dir", str(tmp_path / "x")]) == 2


def test_what_is_repeated_is_not_understood_again(tmp_path: Path) -> None:
    path = tmp_path / "old.png"
    params = validate("vqgan-clip", {"prompt": "{red|blue} __animal__", "seed": 1})
    path.write_bytes(encode_png(Image.new("RGB", (8, 8)), "small", params))
    few = ["--steps", "1", *NATIVE, "--output-dir"]
    assert main(["--from-png", str(path), *few, str(tmp_path / "a")]) == 0
    assert read_metadata(only(tmp_path / "a", "*.png").read_bytes())[1].prompt == "{red|blue} __animal__"
    assert main(["--from-png", str(path), "a {red|blue} car", *few, str(tmp_path / "b")]) == 0
    assert read_metadata(only(tmp_path / "b", "*.png").read_bytes())[1].prompt in ("a red car", "a blue car")


@pytest.mark.parametrize(
    "prompt", ["John 3:16", "Re:Zero", "map scale 1:25000", "http://example.com:8080/x", "a cat (1"]
)
def test_text_is_drawn_as_text(tmp_path: Path, prompt: str) -> None:
    assert main([prompt, "--engine", "small", "--steps", "1", *NATIVE, "--output-dir", str(tmp_path)]) == 0
    assert read_metadata(only(tmp_path, "*.png").read_bytes())[1].prompt == prompt
