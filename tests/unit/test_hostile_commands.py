"""Whatever is typed behind a command, it ends with a status and a sentence, never with a traceback."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import api.__main__
import generator.__main__
import generator.checkpoints.__main__
import generator.upscaler.__main__
import job_executor
from generator import registry
from tests import small_engine

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = ["\udcff\udc00", "a\x00b", "\u0663x", "a" * 5_000, "../../nothing", "{0} %s \n --", "\u202eabc", "\ud83d"]

Main = Callable[[Sequence[str]], object]
COMMANDS: dict[str, tuple[Main, list[list[str]]]] = {
    "generator": (
        generator.__main__.main,
        [
            ["X", "--engine", "nothing"],
            ["a heart", "--engine", "X"],
            ["a heart", "--checkpoint", "X"],
            ["a heart", "--engine", "small", "--init-image", "X"],
            ["a heart", "--engine", "small", "--seed", "X"],
            ["a heart", "--engine", "small", "--steps", "X"],
            ["a heart", "--engine", "small", "--size", "X"],
            ["a heart", "--device", "X"],
            ["a heart", "--style", "X", "--steps", "0"],
            ["a heart", "--engine", "small", "--upscaler", "X"],
            ["a heart", "--from-png", "X"],
            ["a heart", "--checkpoints-dir", "X", "--checkpoint", "imagenet-f16-1024"],
            ["a heart", "--X"],
        ],
    ),
    "generator.checkpoints": (
        generator.checkpoints.__main__.main,
        [
            ["X"],
            ["download", "X"],
            ["download", "vqgan-f16/X"],
            ["info", "X"],
            ["verify", "X"],
            ["remove", "X", "--yes"],
            ["verify", "mini", "--checkpoints-dir", "X"],
        ],
    ),
    "generator.upscaler": (generator.upscaler.__main__.main, [["X"], ["X", "out.png"], ["in.png", "X"]]),
    "api": (
        api.__main__.main,
        [["X"], ["keys", "revoke", "X"], ["keys", "make", "X"], ["keys", "make", "a", "--scope", "X"]],
    ),
    "job_executor": (job_executor.parse, [["--device"], ["--batch", "X"], ["--engines", "X"], ["X"]]),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_ends_with_a_sentence(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.ENGINES, small_engine.NAME, small_engine.SPEC)
    main, calls = COMMANDS[command]
    for call in calls:
        for text in HOSTILE:
            given = [text if part == "X" else part.replace("X", text) for part in call]
            # As a process has them: what cannot be written is escaped there, which capsys does not.
            written = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace")
            monkeypatch.setattr(sys, "stderr", written)
            try:
                status = main(given)
            except SystemExit as end:
                status = end.code
            written.seek(0)
            said = written.read()
            assert "Traceback" not in said, given
            assert command != "generator" or (status in (1, 2) and said), given


def test_bytes_that_are_no_text_end_a_real_command_with_a_sentence(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "generator", b"\xff\xfe", "--engine", "nothing", "--output-dir", str(tmp_path)]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, check=False)
    assert ended.returncode == 2 and b"Traceback" not in ended.stderr and ended.stderr
