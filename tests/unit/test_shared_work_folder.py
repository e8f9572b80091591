"""Executors of several studios may share a folder: what one takes away while another looks is no trouble for it."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

from executor.attempt import FINISHED, MANIFEST, kept


def test_folders_that_go_while_an_executor_looks_for_what_waits_are_passed_over(tmp_path: Path) -> None:
    waiting = tmp_path / "waits" / "attempt"
    waiting.mkdir(parents=True)
    (waiting / MANIFEST).write_text(json.dumps({"studio": "ours", "files": [], "folder": FINISHED}))
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            for number in range(300):
                (tmp_path / f"job-{number}" / "attempt").mkdir(parents=True)
            for number in range(300):
                shutil.rmtree(tmp_path / f"job-{number}")

    other = threading.Thread(target=come_and_go)
    other.start()
    try:
        assert all(kept(tmp_path, "ours") == ["waits"] for _ in range(100))
    finally:
        over.set()
        other.join()
