"""The load test: two visitors go through the real web app and see no error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_two_visitors_of_a_small_studio_are_measured() -> None:
    command = [sys.executable, "scripts/benchmark_visitors.py", "--visitors", "2", "--pictures", "3", "--votes", "2"]
    run = subprocess.run(
        [*command, "--think", "0.05", "--seconds", "1.5", "--forget", "0"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    rows = dict(re.findall(r"^\| (.+?) \| (\d+) \| \d+ \| \d+ \| \d+ \|$", run.stdout, re.M))
    assert rows["first visit"] == "2" and len(rows) > 2
    assert "error" not in run.stdout and re.search(r"\d+ cores", run.stdout)
    assert re.search(r"\| all 2 there, wave 1 \| \d+ \|", run.stdout)
