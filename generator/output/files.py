"""The names of a picture's files: another result has another name, and what is there is never lost to it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

from generator.images.encode import write_whole
from generator.output.sources import NONE, Sources
from generator.params import Params


def name_of(engine: str, params: Params, sources: Sources = NONE) -> str:
    """From the seed and a hash of all settings and of what is in the files they name, never from the prompt's words."""
    told = [engine, params.model_dump(mode="json"), *([sources.plain()] if sources else [])]
    text = json.dumps(told, sort_keys=True)
    return f"{engine}-{params.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def store(target: Path, files: Mapping[str, bytes]) -> Path:
    """Write files, each beginning with the target's name and ending as told; the target they went to.

    The same files are written again; where one is there with other bytes, all of them get a number after their name.
    Raises OSError.
    """
    for number in itertools.count(1):
        free = target if number == 1 else target.with_name(f"{target.name}-{number}")
        paths = {free.parent / f"{free.name}{end}": data for end, data in files.items()}
        if all(not path.exists() or path.read_bytes() == data for path, data in paths.items()):
            break
    for path, data in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    return free
