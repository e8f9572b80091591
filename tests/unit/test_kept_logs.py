"""Logs are bounded in size and number, and no line is lost on the way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from logs import MAX_LINE, RotatingFile, keep_lines

ROOT = Path(__file__).resolve().parents[2]


def kept(folder: Path) -> list[bytes]:
    """All lines there are, the oldest first."""
    files = sorted(folder.glob("a.log*"), key=lambda path: -int(path.suffix[1:] if path.suffix != ".log" else 0))
    return b"".join(path.read_bytes() for path in files).splitlines()


def test_files_are_bounded_in_size_and_number_and_hold_the_newest_lines(tmp_path: Path) -> None:
    lines = [f"line {n:05}".encode() for n in range(5000)]
    keep_lines(io.BytesIO(b"\n".join(lines)), RotatingFile(tmp_path / "a.log", 4096, 3))
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["a.log", "a.log.1", "a.log.2"]
    assert all(path.stat().st_size <= 4096 for path in tmp_path.iterdir())
    found = kept(tmp_path)
    assert found == lines[-len(found) :] and len(found) > 700, "whole lines, in their order, without a gap"
    keep_lines(io.BytesIO(b"after a restart\n"), RotatingFile(tmp_path / "a.log", 1 << 20, 3))
    assert (tmp_path / "a.log").read_bytes().endswith(b"\nafter a restart\n") or kept(tmp_path)


def test_a_line_without_end_stays_within_bounds(tmp_path: Path) -> None:
    keep_lines(io.BytesIO(b"x" * (10 * MAX_LINE)), RotatingFile(tmp_path / "a.log", 4096, 1))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MAX_LINE


def test_a_full_disk_stops_nobody_and_is_told_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, full = RotatingFile(tmp_path / "a.log", 4096, 2), iter([False, True, True, False, False, False])
    write = file.write

    def sometimes(line: bytes) -> None:
        if next(full):
            raise OSError(28, "No space left on device")
        write(line)

    monkeypatch.setattr(file, "write", sometimes)
    keep_lines(io.BytesIO(b"one\ntwo\nthree\nfour\n"), file)
    assert kept(tmp_path) == [b"one", b"2 lines were lost: they could not be written.", b"four"]


def test_the_reader_outlives_the_signals_that_stop_the_studio(tmp_path: Path) -> None:
    reader = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/keep_log.py"), "logs/a.log"],
        stdin=subprocess.PIPE,
        cwd=tmp_path,
        env=os.environ | {"T2I_LOG_MAX_BYTES": "4096"},
    )
    assert reader.stdin is not None
    reader.stdin.write(b"running\n")
    reader.stdin.flush()
    while not (tmp_path / "logs/a.log").exists():
        assert reader.poll() is None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        reader.send_signal(number)
    reader.stdin.write(b"its last words\n")
    reader.stdin.close()
    assert reader.wait(20) == 0 and kept(tmp_path / "logs") == [b"running", b"its last words"]
