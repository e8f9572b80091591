"""A download as a job: progress in percent, an end within a chunk, and a sentence where it fails."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from generator.checkpoints import download, store
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.engines.base import generate
from generator.engines.download import Download
from generator.images.convert import no_picture
from generator.params import BadParams, validate_job
from generator.registry import PUBLISHED
from tests.chain_studio import ChainStudio
from tests.real_formats import BadServer, bad_server

NAME = "swinir-l"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadServer]:
    """Serves a small file in place of the real one."""
    folder = tmp_path / "server"
    folder.mkdir()
    row = PUBLISHED[NAME]
    path = folder / row.files[0].name
    torch.save({"params_ema": {"w": torch.rand(500_000)}}, path)
    with bad_server(folder) as running:
        file = dataclasses.replace(row.files[0], urls=(f"{running.url}/{path.name}",), about=path.stat().st_size)
        monkeypatch.setitem(PUBLISHED, NAME, dataclasses.replace(row, files=(file,)))
        yield running


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChainStudio]:
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("T2I_DOWNLOADS", "1")
    made = ChainStudio(tmp_path)
    yield made
    made.close()


def test_a_checkpoint_arrives_as_a_job(studio: ChainStudio, server: BadServer, tmp_path: Path) -> None:
    (job,) = studio.run(studio.add("download", name=NAME))
    assert (job.state, job.error, job.step, job.total_steps, job.score) == ("succeeded", None, 100, 100, None)
    assert store.installed(resolve(NAME, tmp_path / "weights"), tmp_path / "weights")
    said = studio.result(job)["said"]
    assert any("Licence" in line for line in said) and any("recorded" in line for line in said)


def test_a_failed_download_is_a_readable_failure(studio: ChainStudio, server: BadServer) -> None:
    server.refuse = {f"/{PUBLISHED[NAME].files[0].name}": 404}
    (job,) = studio.run(studio.add("download", name=NAME))
    assert job.state == "failed" and "could not be downloaded: 127.0.0.1: answered 404" in str(job.error)


def test_without_the_hosts_leave_nothing_is_fetched(
    tmp_path: Path, server: BadServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T2I_CHECKPOINTS_DIR", str(tmp_path / "weights"))
    studio = ChainStudio(tmp_path)
    (job,) = studio.run(studio.add("download", name=NAME))
    studio.close()
    assert job.state == "failed" and "switched off" in str(job.error) and not server.requests


def test_a_download_nobody_waits_for_ends_within_a_chunk(
    server: BadServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, go_on = threading.Event(), threading.Event()
    real = download.fetch

    def slow(*arguments, progress, **options):
        def heard(*now):
            started.set()
            go_on.wait(10)
            progress(*now)

        return real(*arguments, progress=heard, **options)

    monkeypatch.setattr(store, "fetch", slow)
    engine = Download(None, (), Host("cpu", tmp_path / "w", no_picture))
    slot = engine.open(validate_job("download", {"name": NAME}))
    transfer = slot.transfer
    assert started.wait(10)
    (step,) = engine.advance([slot])
    assert not step.done and step.index < 100
    del slot
    go_on.set()
    assert transfer.ended.wait(10) and "was stopped" in str(transfer.error)
    assert not store.installed(resolve(NAME, tmp_path / "w"), tmp_path / "w")
    assert list((tmp_path / "w").glob("*.part")), "the next attempt goes on from what is there"
    began = time.monotonic()
    *_, last = generate(engine, validate_job("download", {"name": NAME}))
    assert last.done and last.index == 100 and time.monotonic() - began < 10
    assert store.installed(resolve(NAME, tmp_path / "w"), tmp_path / "w")


@pytest.mark.parametrize("name", ["mini", "../x", "no-such"])
def test_only_what_the_table_has_can_be_asked_for(name: str) -> None:
    with pytest.raises(BadParams, match=r"Unknown checkpoint to download .* Choose one of: imagenet-f16-1024"):
        validate_job("download", {"name": name})
