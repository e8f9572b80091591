"""What an executor gives its engines: pictures that jobs start from, and data that runs learn from: a dataset of the
studio, or a server the host allows."""

from __future__ import annotations

import fnmatch
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import UnknownArtefact
from executor.context import Context
from generator.device import Host
from generator.images.decode import decode_image
from generator.learning.stream.samples import DataProblem
from generator.tiling import MAX_PX

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

MAX_BYTES = 512 << 20  # of a picture in the store: what the studio upscaled itself may be larger than an upload
_DATASET = re.compile(r"dataset:([A-Za-z0-9_-]{1,64})")


def host_of(context: Context, device: str) -> Host:
    """What this executor gives its engines."""
    settings = context.settings
    reading = partial(read_image, context), settings.exactly, partial(open_data, context)

    def show(image: Tensor) -> None:
        if context.show_early is not None:  # models that warm up draw for nobody
            context.show_early(image)

    return Host(device, settings.checkpoints_dir, *reading, show, settings.compile)


def read_image(context: Context, reference: str) -> Image.Image:
    """A picture named in a job's parameters: its key in the store, or the id of its record."""
    return decode_image(context.store.get(context.key_of(reference)), MAX_BYTES, MAX_PX)


def open_data(context: Context, reference: str) -> Path | str:
    """A zip on this machine, or the address of a server. Raises DataProblem, StoreUnavailable, OSError."""
    if match := _DATASET.fullmatch(reference):
        return _dataset(context, match[1])
    if re.match(r"wss?://", reference):
        allowed = context.settings.train_addresses
        if not any(fnmatch.fnmatchcase(reference, pattern) for pattern in allowed):
            raise DataProblem(
                f"This studio does not stream pictures from {reference}; the host names permitted servers in "
                "T2I_TRAIN_FROM."
            )
        return reference
    raise DataProblem(f"{reference!r} names no data here; a dataset of the studio (dataset:ID) or ws://... does.")


def forget_deleted(context: Context) -> None:
    """Remove the copies here of datasets that are not in the store any more. Raises StoreUnavailable, OSError."""
    for copy in (context.work_dir.parent / "datasets").glob("*.zip"):
        if context.store.local_path("any") is None and not context.store.exists(f"datasets/{copy.name}"):
            copy.unlink(missing_ok=True)


def _dataset(context: Context, name: str) -> Path:
    """The dataset's zip: the store's own file, or a copy of it here, whole, which other runs read as well."""
    key = f"datasets/{name}.zip"
    gone = DataProblem(f"The dataset {name} is not there any more; start again from another one.")
    local = context.store.local_path(key)
    if local is not None:
        if not local.is_file():
            raise gone
        return local
    copy = context.work_dir.parent / "datasets" / f"{name}.zip"
    if not copy.is_file():
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_suffix(f".{context.worker_id}.part")
        try:
            with context.store.open(key) as source, open(part, "wb") as target:
                shutil.copyfileobj(source, target, 4 << 20)
            part.replace(copy)
        except UnknownArtefact:
            raise gone from None
        finally:
            part.unlink(missing_ok=True)
    return copy
