"""What is refused is told by its beginning: in the library, on the command line, on pages and in logs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

import generator.__main__
import generator.checkpoints.__main__
import job_executor
from characters.brief import MAX_QUOTED, MAX_SENTENCE, begun, in_brief
from db import errors
from generator import generate
from generator.params import BadParams, validate
from generator.registry import UnknownName
from studio.errors import Refused

LONG = "x" * 100_000
SENTENCES = ("x" * 100_000, "it's " * 20_000, "\\'" * 50_000, '"' * 100_000, "\ud800" * 100_000, "a\n" * 50_000)


def test_short_sentences_stay_as_they_are() -> None:
    for text in ("", "The seed = '12a': a whole number is needed.", "it's 'quoted' and \"doubly\" so", "a " * 900):
        assert in_brief(text) == text and (len(text) > MAX_QUOTED or begun(text) == text)


def test_a_quotation_is_cut_and_what_stands_around_it_is_kept() -> None:
    told = in_brief(f"The visitor's seed {LONG!r} is no number; the host's limit is 10.")
    assert told.startswith("The visitor's seed 'xxx") and told.endswith("is no number; the host's limit is 10.")
    assert "(100000 characters)" in told and len(told) < 2 * MAX_QUOTED
    two = in_brief(f"{LONG!r} and {'a b ' * 30_000!r}: choose another.")
    assert two.count("characters)") == 2 and two.endswith(": choose another.")
    bare = in_brief(f"unrecognized arguments: --{LONG} --{LONG}")
    assert bare.startswith("unrecognized arguments: --xx") and len(bare) < 3 * MAX_QUOTED
    assert "\\x0…" not in in_brief(repr("\x00" * 1000)), "no half of an escape"


@pytest.mark.parametrize("text", SENTENCES, ids=range(len(SENTENCES)))
def test_no_text_is_too_long_for_it(text: str) -> None:
    for one in (text, repr(text), f"'{text}", f"{text!r} {text!r} {text}"):
        assert len(in_brief(one)) <= MAX_SENTENCE + 200


def test_every_error_of_the_studio_is_in_brief() -> None:
    for error in (
        errors.UnknownJob(LONG),
        errors.BadValue(f"{LONG!r} cannot be used."),
        errors.WordRefused(LONG),
        UnknownName("engine", LONG, ["a", "b"]),
        BadParams(LONG),
        Refused("There is no {what}.", what=LONG),
    ):
        assert len(str(error)) < 2 * MAX_QUOTED + 100, type(error)
    assert len(str(Refused("No {what}.", what=LONG).values)) < 2 * MAX_QUOTED


SETTINGS = ("seed", "checkpoint", "clip", "style", "negative_prompt", "init_image", "nothing", "steps", "width", LONG)


@pytest.mark.parametrize("name", SETTINGS, ids=lambda name: name[:20])
def test_settings_of_the_library(name: str) -> None:
    with pytest.raises((BadParams, UnknownName, ValueError)) as refused:
        generate("a", **{name: LONG})
    assert len(str(refused.value)) <= MAX_SENTENCE + 200
    if name != "init_image":  # whether it is there is found out later
        with pytest.raises((BadParams, UnknownName)) as refused:
            validate("vqgan-clip", {"prompt": "a", name: LONG})
        assert len(str(refused.value)) <= MAX_SENTENCE + 200


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (generator.__main__.main, ["a heart", "--engine", LONG]),
        (generator.__main__.main, ["a heart", "--checkpoint", LONG]),
        (generator.__main__.main, ["a heart", "--seed", LONG]),
        (generator.__main__.main, ["a heart", "--size", LONG]),
        (generator.__main__.main, ["a heart", "--device", LONG]),
        (generator.__main__.main, ["a heart", "--init-image", LONG]),
        (generator.__main__.main, ["a heart", "--from-png", LONG]),
        (generator.__main__.main, ["a heart", "--output-dir", LONG, "--steps", "0"]),
        (generator.__main__.main, ["a heart", f"--{LONG}"]),
        (generator.__main__.main, ["a heart", "--checkpoints-dir", LONG, "--checkpoint", "imagenet-f16-1024"]),
        (generator.__main__.main, [LONG, "--engine", "nothing"]),
        (generator.__main__.main, [LONG]),
        (generator.checkpoints.__main__.main, ["download", LONG]),
        (generator.checkpoints.__main__.main, [LONG]),
        (generator.checkpoints.__main__.main, ["download", f"vqgan-f16/{LONG}/{LONG}"]),
        (job_executor.main, ["--device", LONG]),
        (job_executor.main, ["--engines", LONG]),
        (job_executor.main, [LONG]),
    ],
)
def test_command_lines(main, arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with suppress(SystemExit):
        main(arguments)
    said = capsys.readouterr()
    assert len(said.err) < 6_000 and "Traceback" not in said.err, said.err[:300]
    assert said.err or said.out


@pytest.mark.parametrize("name", ["T2I_EXACT", "T2I_LEASE_S", "T2I_DATABASE_URL", "T2I_STORE_URL", "T2I_EMBED_ORIGINS"])
def test_values_of_the_configuration(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, f"nothing://{LONG}" if name == "T2I_STORE_URL" else LONG)
    assert job_executor.main(["--once"]) == 2
    assert 10 < len(capsys.readouterr().err) < 3_000
