"""Downloading as a job: a thread fetches, each step tells how much is there, in percent."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generator.checkpoints import store
from generator.checkpoints.resolve import resolve
from generator.device import Host
from generator.engines.base import Step
from generator.params import DownloadParams
from generator.registry.rows import Checkpoint

WAIT_S = 0.1  # at most, for the next percent: pictures in progress on the same device wait as long


class Stopped(RuntimeError):
    """The job was cancelled or given back; what has arrived is kept."""


class Transfer:
    """One checkpoint on its way, in a thread of its own; `stop` ends it within a chunk."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.directory = name, directory
        self.said: list[str] = []
        self.error: Exception | None = None
        self.percent = 0
        self.stop, self.moved, self.ended = threading.Event(), threading.Event(), threading.Event()
        checkpoint = resolve(name, directory)
        self._files = [file.name for file in checkpoint.files]
        self._whole = max(checkpoint.about, 1)
        self._arrived: dict[str, int] = {}
        threading.Thread(target=self._fetch, name=f"download-{name}", daemon=True).start()

    def _fetch(self) -> None:
        try:
            store.download(self.name, self.directory, progress=self._progress, say=self.said.append)
        except Exception as error:
            self.error = error
        finally:
            self.ended.set()
            self.moved.set()

    def _progress(self, name: str, done: int, total: int | None) -> None:
        """Raises Stopped."""
        if self.stop.is_set():
            raise Stopped(f"The download of {self.name} was stopped.")
        self._arrived[name] = done
        percent = min(99, 100 * sum(self._arrived.values()) // self._whole)  # sizes are rough: 100 is for the end
        if percent != self.percent:
            self.percent = percent
            self.moved.set()


@dataclass
class DownloadSlot:
    """One download in progress; index: percent."""

    params: DownloadParams
    transfer: Transfer
    index: int = 0
    done: bool = False

    def __post_init__(self) -> None:
        # A job that is cancelled or given back lets go of its slot: nobody waits for the rest then.
        weakref.finalize(self, self.transfer.stop.set)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what has arrived lies in the folder, and the next attempt goes on from there."""
        return {}


class Download:
    """The engine: downloads go on side by side, each in its thread. There is no score; the last Step has a result."""

    name = "download"

    def __init__(self, checkpoint: None, clips: Sequence[Checkpoint], host: Host) -> None:
        self._directory = host.checkpoints_dir
        self.micro_batch: int | None = None
        self.exact: bool | None = None

    def open(self, params: DownloadParams) -> DownloadSlot:
        """Starts to fetch."""
        return DownloadSlot(params, Transfer(params.name, self._directory))

    def resume(self, params: DownloadParams, state: dict[str, Any]) -> DownloadSlot:
        """Goes on from what has arrived; see `DownloadSlot.state_dict`."""
        return self.open(params)

    def advance(self, slots: Sequence[DownloadSlot]) -> list[Step]:
        """What has become of each. A failed one gets a Step with DownloadFailed or FolderProblem.

        Raises ValueError for a slot that is done.
        """
        if any(slot.done for slot in slots):
            raise ValueError("a slot that is done cannot be advanced.")
        slots[0].transfer.moved.wait(WAIT_S)
        return [self._step(slot) for slot in slots]

    def _step(self, slot: DownloadSlot) -> Step:
        transfer, total = slot.transfer, slot.params.total_steps
        transfer.moved.clear()
        slot.done = transfer.ended.is_set()
        if transfer.error is not None and slot.done:
            return Step(slot.index, total, None, float("nan"), {}, True, transfer.error)
        slot.index = total if slot.done else transfer.percent
        result = {"checkpoint": transfer.name, "said": transfer.said} if slot.done else None
        return Step(slot.index, total, None, float("nan"), {}, slot.done, result=result)
