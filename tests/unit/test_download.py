"""Files over a bad line: a download goes on where it was cut, and what stops it is one sentence."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from generator.checkpoints import download
from tests.real_formats import BadServer


def test_a_server_without_ranges_and_one_that_is_busy_still_deliver(server: BadServer, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (server.folder / "x").write_bytes(data)
    (tmp_path / "x.part").write_bytes(data[:1000])
    server.ranges = False
    digest = download.fetch([f"{server.url}/x"], tmp_path / "x", check=lambda path, digest: None, pause=0.001)
    assert (tmp_path / "x").read_bytes() == data and digest == hashlib.sha256(data).hexdigest()
    server.refuse = {"/x": 503}
    with pytest.raises(download.DownloadFailed, match=r"503 .* 5 times in a row"):
        download.fetch([f"{server.url}/x"], tmp_path / "y", check=lambda path, digest: None, pause=0.001)


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, server: BadServer, tmp_path: Path
) -> None:
    (server.folder / "x").write_bytes(os.urandom(3_000_000))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(download.FolderProblem, match=r"is full\. What has arrived is kept"):
        download.fetch([f"{server.url}/x"], tmp_path / "x", check=lambda *_: None, progress=full)
    assert (tmp_path / "x.part").exists() and not (tmp_path / "x").exists()
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(download.FolderProblem, match=r"Not enough disk space .* are needed, 0 MB are free"):
        download.fetch([f"{server.url}/x"], tmp_path / "y", check=lambda *_: None)


def test_a_folder_that_cannot_be_made_is_one_sentence(server: BadServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(download.FolderProblem, match="Cannot write to"):
        download.fetch([f"{server.url}/x"], tmp_path / "file" / "x", check=lambda *_: None)


def test_two_downloads_of_one_file_do_not_write_over_each_other(server: BadServer, tmp_path: Path) -> None:
    (server.folder / "x").write_bytes(os.urandom(3_000_000))

    def second(*_: Any) -> None:
        with pytest.raises(download.FolderProblem, match="already being downloaded"):
            download.fetch([f"{server.url}/x"], tmp_path / "x", check=lambda *_: None)

    download.fetch([f"{server.url}/x"], tmp_path / "x", check=lambda *_: None, progress=second)
