"""What is left of an event that was deleted, in sentences for the host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from db.evening.erasing import Left

MAX_TOLD = 10  # sentences of one kind


def sentences(found: Left, exports: Sequence[Path] = ()) -> list[str]:
    """Each thing that is left, where it is and why; exports: zips that were to be kept."""
    said = [f"{count} rows in the table {table}: delete again." for table, count in found.rows.items()]
    if found.files:
        said.append(f"{len(found.files)} files in the store, as {found.files[0]}: delete again.")
    for frame in found.frames[:MAX_TOLD]:
        said.append(f"Frames in {frame}, which this program may not remove: remove them by hand.")
    for copy in found.copies[:MAX_TOLD]:
        said.append(f"A database from before a restore in {copy}: remove it by hand.")
    for one in found.executors:
        where = f"Executor {one.worker.id} on {one.worker.hostname}"
        if one.live:
            said.append(f"{where} removes frames from its work folder within seconds.")
            continue
        since = time.strftime("%d %b %Y, %H:%M UTC", time.gmtime(one.worker.beat_at))
        said.append(
            f"{where} was last heard of on {since}: frames may lie in {one.worker.folder or 'its work folder'} until "
            "an executor starts there, which removes them first."
        )
    if exports:
        said.append(f"{len(exports)} exported zips in {exports[0].parent}, which were to be kept.")
    return said
