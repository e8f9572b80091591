"""Which weights a name means today: the sha256 of one's own checkpoints and upscalers.

Embedded weights are those of the studio's version, and published ones are held to their hash when they are loaded; a
folder of one's own may hold something else tomorrow, as training leaves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from generator import registry
from generator.checkpoints.download import sha256_of
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.loras import lora_file
from generator.checkpoints.own_clips import clip_file
from generator.checkpoints.resolve import resolve, resolve_upscaler
from generator.checkpoints.store import present
from generator.params import JobParams, LatentDiffusionParams, Params


def own_weights(params: JobParams, directory: Path) -> dict[str, str]:
    """sha256 in hex by name, of what a job uses that is one's own; what is not there, or damaged, is left out.

    One file has its own sha256, several that of their list as sha256sum writes it. A file that has not changed is read
    once in this process.
    """
    checkpoint, clip = params.loads
    found = {checkpoint: _files_of(checkpoint, directory)} if registry.own_kind(checkpoint) else {}
    own_clips = [name for name in clip if registry.is_own_clip(name)]
    found |= {name: [path] for name in own_clips if (path := _found(clip_file, name, directory))}
    if isinstance(params, Params) and params.upscale > 1 and resolve_upscaler(params.upscaler) is None:
        found[params.upscaler] = [directory / params.upscaler]
    if isinstance(params, LatentDiffusionParams):
        loras = [one.name for one in params.loras]
        found |= {f"lora/{name}": [path] for name in loras if (path := _found(lora_file, name, directory))}
    return {name: digest for name, files in found.items() if (digest := _of_all(files))}


def _found(file_of: Callable[[str, Path], Path], name: str, directory: Path) -> Path | None:
    try:
        return file_of(name, directory)
    except CheckpointMissing:
        return None  # said when it is loaded


def _files_of(name: str, directory: Path) -> list[Path]:
    try:
        return present(resolve(name, directory), directory)
    except CheckpointDamaged:
        return []  # said when it is loaded


def _of_all(files: list[Path]) -> str | None:
    try:
        listed = [(path.name, _of_one(path, (about := path.stat()).st_size, about.st_mtime_ns)) for path in files]
    except OSError:
        return None
    if len(listed) < 2:
        return listed[0][1] if listed else None
    lines = sorted({f"{digest}  {name}\n" for name, digest in listed})
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@lru_cache(256)
def _of_one(path: Path, size: int, mtime_ns: int) -> str:
    return sha256_of(path)
