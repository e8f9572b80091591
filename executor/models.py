"""Trained models on their way: from a run into the table and this machine's folder, and from the store to others."""

from __future__ import annotations

import glob
import hashlib
import re
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from shutil import rmtree

from db.models import trained
from db.models.trained import TrainedModel
from executor.context import Context
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.model_file import KINDS, MARK, place_of, put_by_hand
from generator.checkpoints.store import record_path
from generator.params import JobParams
from lasting import put_in_place

PIECE = 4 << 20  # bytes
MAX_FILES = 64  # of a model in several files
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3}")


def packed(files: Sequence[Path], folder: Path) -> Path:
    """The files of a model as one: the file itself, or a zip without compression. Raises OSError."""
    if len(files) == 1:
        return files[0]
    packed_to = folder.parent / "model.zip"
    with zipfile.ZipFile(packed_to, "w") as target:
        for file in files:
            target.write(file, file.relative_to(folder).as_posix())
    return packed_to


def fetch_missing(context: Context, params: JobParams) -> None:
    """Fetch what a job draws with and this machine has not got, where a run of this studio has made it, or the host has
    brought it.

    Raises CheckpointMissing for what has been removed since, CheckpointDamaged, StoreUnavailable, OSError.
    """
    folder = context.settings.checkpoints_dir
    checkpoint, _ = params.loads
    names = [checkpoint, *(f"lora/{one.name}" for one in getattr(params, "loras", ()))]
    for name in names:
        if "/" not in name:
            continue
        model = context.retry(partial(trained.find, context.db, name))
        if model is not None and not _is_here(folder, model):
            context.event("fetching_model", model=name, bytes=model.bytes)
            install(context, model)
        kind, _, rest = name.partition("/")
        if model is None and kind in KINDS and "/" not in rest and not place_of(kind, rest, folder).exists():
            raise CheckpointMissing(
                f"There is no model {name} here, or not any more: choose another one; the host can import it on the "
                "page Models."
            )


def install(context: Context, model: TrainedModel) -> Path:
    """Put a model from the store where engines look for it, whole or not at all. Where it is now.

    Raises CheckpointDamaged where its bytes are not those that were trained or brought, StoreUnavailable, OSError;
    FileExistsError where the host's own is there.
    """
    if put_by_hand(model.name, context.settings.checkpoints_dir):
        raise FileExistsError(f"{model.name} is there already, put by hand; it is left as it is.")
    target = _target(context.settings.checkpoints_dir, model)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{context.worker_id}.part")
    digest, size = hashlib.sha256(), 0
    try:
        with context.store.open(model.key) as source, open(part, "wb") as file:
            while data := source.read(PIECE):
                digest.update(data)
                size += len(data)
                if size > model.bytes:
                    break
                file.write(data)
        if digest.hexdigest() != model.sha256:
            raise CheckpointDamaged(
                f"The model {model.name} is damaged in the store: its sha256 is not the one it was trained with. Have "
                "it trained again, or import its file."
            )
        # First, so that no file of ours is ever taken for the host's.
        _marker(target).write_text(f"{context.studio_id} {model.job_id or model.key}\n", encoding="utf-8")
        if target.suffix == ".zip":
            _unpack(part, target.with_suffix(""))
        else:
            put_in_place(part, target)
        record_path(target).write_text(f"{model.sha256}  {target.name}\n", encoding="utf-8")
    finally:
        part.unlink(missing_ok=True)
    return target


def forget_deleted(context: Context) -> None:
    """Remove installed models whose runs were deleted from this studio, or that were brought as a file and removed.
    Raises where the database is down, OSError."""
    folder = context.settings.checkpoints_dir
    for name in sorted(glob.glob(f"*/**/*{MARK}", root_dir=folder, recursive=True)):
        marker = folder / name
        try:
            studio, _, whose = marker.read_text(encoding="utf-8", errors="replace").strip().partition(" ")
        except FileNotFoundError:
            continue  # another executor has just removed it
        find = trained.of_key if "/" in whose else trained.of_job
        if studio != context.studio_id or find(context.db, whose) is not None:
            continue  # another studio's: two may share a folder
        target = marker.with_name(marker.name.removesuffix(MARK))
        if target.suffix == ".zip":
            rmtree(target.with_suffix(""), ignore_errors=True)
        for path in (target, record_path(target), marker):
            path.unlink(missing_ok=True)
        at = target.with_suffix("")
        if target.name == "model.safetensors":
            at = target.parent
            with suppress(OSError):  # something else is in it
                at.rmdir()
        context.event("removed_model", model=at.relative_to(folder).as_posix())


def _marker(target: Path) -> Path:
    """Beside an installed model: the studio and the run it is from, or the key of the file it was brought as."""
    return target.with_name(target.name + MARK)


def _target(directory: Path, model: TrainedModel) -> Path:
    """Its file; of several, the zip that they come as, beside their folder."""
    if model.key.endswith(".zip"):
        return directory / f"{model.name}.zip"
    at = directory / f"{model.name}.safetensors"
    return at if model.kind == "lora" else directory / model.name / "model.safetensors"


def _is_here(directory: Path, model: TrainedModel) -> bool:
    """Whether this very model is installed, or one that the host put there by hand, which is left as it is."""
    if put_by_hand(model.name, directory):
        return True
    target = _target(directory, model)
    there = target.with_suffix("") if target.suffix == ".zip" else target
    record = record_path(target)
    noted = record.read_text(encoding="utf-8", errors="replace") if record.is_file() else ""
    return there.exists() and noted.startswith(model.sha256)


def _unpack(archive: Path, folder: Path) -> None:
    """Several files into a folder that appears when it is whole. Raises CheckpointDamaged."""
    part = folder.with_name(f".{folder.name}.part")
    rmtree(part, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            if len(members) > MAX_FILES or not all(_PART.fullmatch(one.filename) for one in members):
                raise CheckpointDamaged(f"{folder.name} holds files that no model has.")
            if any(one.compress_type != zipfile.ZIP_STORED or one.is_dir() for one in members):
                raise CheckpointDamaged(f"{folder.name} is packed in a way that no model here is.")
            source.extractall(part, members)
        rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except zipfile.BadZipFile as error:
        raise CheckpointDamaged(f"{folder.name} is no archive of a model: {error}.") from None
    finally:
        rmtree(part, ignore_errors=True)
