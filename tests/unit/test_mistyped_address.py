"""An executor whose database cannot be: a mistyped address ends it with a sentence, a server that is away does not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import job_executor

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "address",
    [
        "jobs.db",
        "",
        "mysql://ada:hunter2@127.0.0.1/studio",
        "sqlite:///:memory:",
        "sqlite:///jobs.db?mode=ro&key=hunter2",
        "postgres//ada:hunter2@127.0.0.1:1/studio",
        "postgresql://ada:hunter2@127.0.0.1:port/studio",
        "postgresql://ada:hunter2@127.0.0.1:70000/studio",
        "postgresql://ada:hunter2@127.0.0.1:1/studio?sslmod=require",
        "postgresql://ada:hunter2@127.0.0.1:1/studio?sslmode=requir",
        "postgresql://ada:hunt/er2@127.0.0.1:1/studio?connect_timeout=soon",
    ],
)
def test_a_mistyped_address_of_the_database_ends_an_executor_with_a_sentence(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T2I_DATABASE_URL", address)
    assert job_executor.main(["--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("T2I_DATABASE_URL: ") and said.count("\n") == 1
    assert "hunt" not in said and "er2" not in said and not any(tmp_path.iterdir())


def test_a_database_that_is_away_is_waited_for(tmp_path: Path) -> None:
    command = [sys.executable, "job_executor.py", "--device", "cpu"]
    environment = {**os.environ, "T2I_DATABASE_URL": "postgresql://ada:hunter2@127.0.0.1:1/studio"}
    said = tmp_path / "log"
    with said.open("wb") as log:
        executor = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while "database_unavailable" not in said.read_text():
            assert executor.poll() is None and time.monotonic() < end, said.read_text()
            time.sleep(0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            executor.wait(1)
    finally:
        executor.kill()
        executor.wait()
    assert "hunter2" not in said.read_text()
