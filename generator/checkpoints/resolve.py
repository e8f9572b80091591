"""A checkpoint's name into the object that says everything about it: asked once, at the border, and passed on.

Nothing is loaded and nothing goes to the network. Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from generator import registry
from generator.checkpoints import own, single_file
from generator.checkpoints.diffusers_folder import BadFolder, text_encoders
from generator.checkpoints.errors import CheckpointDamaged
from generator.checkpoints.layouts import FolderUnclear
from generator.registry.hub import ANY_MB, INDEX, hub_files
from generator.registry.rows import Checkpoint, File


def resolve(name: str, directory: Path) -> Checkpoint:
    """A checkpoint, or whatever else can be downloaded, by its name; of a folder of one's own in `directory` with the
    files that are there. Raises UnknownName, CheckpointDamaged for a folder that does not say which of them to take."""
    if name in registry.PUBLISHED:
        return registry.PUBLISHED[name]
    if registry.own_kind(name):
        row = registry.checkpoint(name)
        return _diffusers(row, directory) if row.kind == "diffusers" else _own(row, directory)
    embedded = registry.CHECKPOINTS.get(name)
    if embedded is None:
        raise registry.UnknownName("checkpoint", name, list(registry.PUBLISHED), registry.naming(name))
    return embedded


def resolve_upscaler(name: str) -> Checkpoint | None:
    """The upscaler of that name in the tables; None for what may be a file."""
    row = registry.PUBLISHED.get(name) or registry.CHECKPOINTS.get(name)
    return row if row and row.kind == "upscaler" else None


def resolve_files(name: str, directory: Path) -> Checkpoint:
    """The same, of what has files of its own: fetched, checked and removed by name. Raises as `resolve`."""
    checkpoint = resolve(name, directory)
    if checkpoint.embedded:
        raise registry.UnknownName("checkpoint", name, list(registry.PUBLISHED))
    return checkpoint


def resolve_clip(name: str) -> Checkpoint:
    """A CLIP model by its name, published, embedded or one's own. Raises UnknownName."""
    return registry.clip_model(name)


def _own(row: Checkpoint, directory: Path) -> Checkpoint:
    try:
        return replace(row, files=own.files_of(row, directory))
    except FolderUnclear as error:
        raise CheckpointDamaged(f"{directory / row.name} cannot be used: {error}.") from None


def _diffusers(row: Checkpoint, directory: Path) -> Checkpoint:
    """Of a model in one file, that file; which files belong to a folder, its first file says; where that is not there,
    as for Stable Diffusion 1."""
    try:
        file = single_file.find(directory, row.name)
    except BadFolder as error:
        raise CheckpointDamaged(f"{directory / row.name} cannot be used: {error}.") from None
    if file is not None:
        parts = [path for path in (file.weights, file.vae) if path]
        return replace(row, files=tuple(File(path.relative_to(directory).as_posix(), (), 0) for path in parts))
    texts: tuple[str, ...] = ("text_encoder",)
    index = directory / row.name / INDEX
    if index.is_file():
        try:
            texts = text_encoders(index)
        except BadFolder as error:
            raise CheckpointDamaged(f"{row.name} cannot be used: {error}.") from None
    mb = {part: size for part, size in ANY_MB.items() if part in (*texts, "unet", "vae")}
    files = hub_files(row.name, row.name.partition("/")[2], mb, kinds=("", ".fp16"))
    return replace(row, files=files, licence="as its page on huggingface.co says")
