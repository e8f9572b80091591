"""The saved states of a run: too large to hold as one piece, so they are kept in parts, and the last two are kept.

A state is written to a file on this machine, then put into the store in parts of PART bytes, under keys of the attempt,
and last a small manifest that names them with their hashes: what has a manifest is whole, or is found out. Where the
newest is damaged the one before is read.

    jobs/<job>/<attempt>/state-<step>/0000.bin ... manifest.json
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from db.errors import StoreUnavailable, UnknownArtefact
from executor.context import Context
from generator.checkpoints.training_needs import STATES_KEPT
from lasting import sync_file

if TYPE_CHECKING:
    from executor.attempt import Attempt

PART = 32 << 20  # bytes
MANIFEST, WHOLE = "manifest.json", 1 << 20  # no manifest has so many bytes
_FOLDER = re.compile(r"jobs/[0-9a-f]+/([0-9a-f]+)/state-(\d+)/")
_LOCAL = re.compile(r"state-(\d+)\.pt")


@dataclass(frozen=True)
class _Found:
    """A state that can be tried: in a file here, or in the store by its manifest."""

    step: int
    path: Path | None
    manifest: str | None


class RunStates:
    """The states of one job's run. `write` is called between two steps, the rest by whoever may wait for the store."""

    def __init__(self, context: Context, job_id: str, attempt: Attempt) -> None:
        self._context, self._job_id, self._attempt = context, job_id, attempt
        self._folder = attempt.folder / "run"

    def write(self, document: dict[str, Any], step: int) -> Path:
        """The state as a file here, whole or not at all. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"state-{step}.pt"
        part = path.with_name(path.name + ".part")
        try:
            with open(part, "wb") as file:
                torch.save(document, file)
            sync_file(part)
            part.replace(path)
        except (OSError, RuntimeError) as error:  # torch's writer has errors of its own for a disk that is full
            part.unlink(missing_ok=True)
            raise OSError(str(error).splitlines()[0]) from error
        return path

    def put(self, path: Path, step: int) -> bytes:
        """Put a written state into the store; its manifest, to be recorded. The file here goes then, with older ones.

        Raises StoreUnavailable, OSError: the file stays, and is what the run would go on from on this machine.
        """
        store, prefix = self._context.store, f"{self._prefix}{self._attempt.token}/state-{step}/"
        parts: list[dict[str, Any]] = []
        whole, size = hashlib.sha256(), 0
        with open(path, "rb") as file:
            while data := file.read(PART):
                key = f"{prefix}{len(parts):04d}.bin"
                store.put(key, data)
                parts.append({"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})
                whole.update(data)
                size += len(data)
        manifest = json.dumps({"version": 1, "step": step, "bytes": size, "sha256": whole.hexdigest(), "parts": parts})
        store.put(prefix + MANIFEST, manifest.encode())
        self.drop_local(step)
        self._prune(prefix)
        return manifest.encode()

    def drop_local(self, up_to: int) -> None:
        """Remove the files here of states up to this step."""
        for step, path in self._local():
            if step <= up_to:
                with suppress(OSError):
                    path.unlink(missing_ok=True)

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(step, state) of what can be read, the newest first. Raises StoreUnavailable where nothing is here either."""
        for found in self._found():
            try:
                path = found.path or self._fetched(found.manifest or "")
                document = torch.load(path, weights_only=True, map_location="cpu")
                if not isinstance(document, dict) or int(document["step"]) != found.step:
                    raise ValueError("it is the state of another step")
                yield found.step, document
            except StoreUnavailable:
                raise
            except Exception as error:  # whatever damaged bytes make torch raise
                said = f"{type(error).__name__}: {error}".splitlines()[0]
                self._context.event(
                    "state_unusable", logging.WARNING, job=self._job_id, state_of_step=found.step, error=said
                )
            finally:
                (self._folder / "fetched.pt").unlink(missing_ok=True)

    @property
    def _prefix(self) -> str:
        return f"jobs/{self._job_id}/"

    def _local(self) -> list[tuple[int, Path]]:
        """(step, file) of the states that attempts at this job have left here."""
        found = []
        place = self._attempt.folder.parent
        for path in map(Path, glob.glob("*/run/state-*.pt", root_dir=place)):
            if match := _LOCAL.fullmatch(path.name):
                found.append((int(match[1]), place / path))
        return sorted(found)

    def _found(self) -> list[_Found]:
        here = [_Found(step, path, None) for step, path in self._local()]
        try:
            stored = [
                _Found(int(match[2]), None, key)
                for key in self._context.store.under(self._prefix.rstrip("/"))
                if (match := _FOLDER.match(key)) and key.endswith("/" + MANIFEST)
            ]
        except StoreUnavailable:
            if not here:
                raise
            stored = []
        return sorted([*stored, *here], key=lambda one: one.step, reverse=True)

    def _fetched(self, key: str) -> Path:
        """A file with the state that the manifest names. Raises ValueError where it is not what it was."""
        store = self._context.store
        document = json.loads(store.get(key)[:WHOLE])
        path, whole = self._folder / "fetched.pt", hashlib.sha256()
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            for part in document["parts"]:
                if not str(part["key"]).startswith(self._prefix):
                    raise ValueError("its manifest names files of another job")
                try:
                    data = store.get(str(part["key"]))
                except UnknownArtefact as error:
                    raise ValueError(str(error)) from None
                if hashlib.sha256(data).hexdigest() != part["sha256"]:
                    raise ValueError(f"{part['key']} is damaged")
                whole.update(data)
                file.write(data)
        if whole.hexdigest() != document["sha256"]:
            raise ValueError("it is not the state its manifest says")
        return path

    def _prune(self, just_put: str) -> None:
        """Remove all but the newest states, and parts that never got a manifest."""
        store = self._context.store
        folders: dict[str, int] = {}
        whole = set()
        keys = store.under(self._prefix.rstrip("/"))
        for key in keys:
            if match := _FOLDER.match(key):
                folders[match[0]] = int(match[2])
                if key == match[0] + MANIFEST:
                    whole.add(match[0])
        newest = sorted(whole - {just_put}, key=lambda folder: folders[folder], reverse=True)
        # One of a later step than the last was left by an attempt that got further and could not be read.
        kept = {just_put, *[one for one in newest if folders[one] < folders[just_put]][: STATES_KEPT - 1]}
        for key in sorted(keys, key=lambda key: not key.endswith(MANIFEST)):
            if (match := _FOLDER.match(key)) and match[0] not in kept:
                store.delete(key)
