"""What is left of an event that was deleted, in sentences for the host."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from characters.brief import Term
from db.evening.erasing import Left
from generator.wording import Notice

MAX_TOLD = 10  # sentences of one kind


def sentences(found: Left, exports: Sequence[Path] = ()) -> list[Notice]:
    """Each thing that is left, where it is and why; exports: zips that were to be kept."""
    said = [
        Notice("Rows in the table {table}: {count}. Delete again.", table=table, count=count)
        for table, count in found.rows.items()
    ]
    if found.files:
        count, example = len(found.files), found.files[0]
        said.append(Notice("Files in the store: {count}, as {example}. Delete again.", count=count, example=example))
    for frame in found.frames[:MAX_TOLD]:
        said.append(Notice("Frames in {path}, which this program may not remove: remove them by hand.", path=frame))
    for copy in found.copies[:MAX_TOLD]:
        said.append(Notice("A database from before a restore in {path}: remove it by hand.", path=copy))
    for one in found.executors:
        executor, machine = one.worker.id, one.worker.hostname
        if one.live:
            said.append(
                Notice(
                    "Executor {executor} on {machine} removes frames from its work folder within seconds.",
                    executor=executor,
                    machine=machine,
                )
            )
            continue
        said.append(
            Notice(
                "Executor {executor} on {machine} was last heard of on {since}: frames may lie in {folder} until an "
                "executor starts there, which removes them first.",
                executor=executor,
                machine=machine,
                since=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(one.worker.beat_at)),
                folder=one.worker.folder or Term("its work folder"),
            )
        )
    if exports:
        count, path = len(exports), exports[0].parent
        said.append(Notice("Exported zips in {path}, which were to be kept: {count}.", count=count, path=path))
    return said
