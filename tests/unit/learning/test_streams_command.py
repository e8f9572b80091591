"""python -m generator.training.stream: what it prints, what it refuses, what it serves."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from generator.training.stream import main, parser
from tests.captioned_files import picture, write_folder, write_zip

ROOT = Path(__file__).resolve().parents[3]


def test_its_names_are_the_tutorial_s_unless_told_otherwise() -> None:
    given = parser().parse_args(["data"])
    assert (given.input_name, given.caption_name, given.output_name, given.port) == ("image", "caption", "image", 8000)


def test_it_tells_what_is_there_and_what_is_wrong_with_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path / "discs", 6)
    (folder / "disc-0002.png").write_bytes(picture(1)[:50])
    assert main([str(folder), "--check-only"]) == 0
    said = capsys.readouterr().out
    assert "6 captioned pictures" in said and "disc-0002.png: The picture is damaged" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["gone"], "There is nothing at gone"),
        (["ws://localhost/ws"], "There is nothing at"),
    ],
)
def test_data_that_are_none_are_one_sentence(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 1
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port", "70000"], "--port is 70000; it must be 0 to 65535"),
        (["--size", "1"], "--size is 1"),
        (["--epochs", "-1"], "--epochs is -1"),
        (["--caption-name", "image"], "two inputs need two names"),
    ],
)
def test_a_bad_flag_is_told_with_what_is_permitted(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["data", *flags])
    assert said in capsys.readouterr().err


def test_a_taken_port_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main([str(write_folder(tmp_path / "discs", 6)), "--port", str(port), "--no-check"]) == 1
    assert str(port) in capsys.readouterr().err


def test_it_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "discs.zip", 6)
    command = [sys.executable, "-m", "generator.training.stream", str(path), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        shown, found = "", None
        for line in process.stdout:
            shown += line
            if found := re.search(r"ws://\S+/ws", line):
                break
        assert found, shown
        with connect(found[0]) as ws:
            ws.send('{"type":"handshake","version":"1.0"}')
            ws.recv(timeout=10)
            ws.send('{"type":"getData","payload":{"batch_size":6}}')
            assert len(json.loads(ws.recv(timeout=10))["payload"]) == 6
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
