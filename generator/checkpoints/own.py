"""Checkpoints of one's own: KIND/NAME, a folder below the checkpoints' folder, or KIND/OWNER/MODEL of Hugging Face.

The kind says what the name of a job must say before any file is read: the engine and the size of its pictures. Folders
of the kind "diffusers" have a layout of their own, see diffusers_folder.py. Only the listing of a repository goes to
the network.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import httpx

from generator import registry
from generator.checkpoints import single_file
from generator.checkpoints.diffusers_folder import BadFolder
from generator.checkpoints.download import TIMEOUT, DownloadFailed
from generator.checkpoints.errors import sentence, shown
from generator.checkpoints.layouts import LAYOUTS, FolderUnclear, Layout, choose, files_in
from generator.registry import hub
from generator.registry.rows import Checkpoint, File

MAX_LISTING_BYTES = 5_000_000  # bytes
# Folders of a diffusers folder, which are no models of their own.
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2", "safety_checker", "transformer", "scheduler", "tokenizer")


# Of a repository that save_pretrained did not write; a folder of that kind is looked at in single_file.py.
ONE_FILE = Layout(
    (), single_file.SUFFIXES, "what save_pretrained writes, or one file .safetensors or .ckpt of a model,"
)


def is_folder_of_files(checkpoint: Checkpoint) -> bool:
    """Whether it is one of one's own whose files are to be found; a diffusers folder names its own."""
    return checkpoint.own and checkpoint.kind in LAYOUTS


def published(name: str) -> bool:
    """Whether the name is KIND/OWNER/MODEL, which Hugging Face may have."""
    return name.count("/") == 2


def own_folders(checkpoints_dir: str | Path) -> list[str]:
    """The folders and files that are there and can be used as far as a look tells, by the names they are chosen by."""
    return [name for name, problem in _below(Path(checkpoints_dir)).items() if problem is None]


def unusable(checkpoints_dir: str | Path) -> dict[str, str]:
    """What lies below the kinds' folders and is no model: what is wrong with it, as a sentence, by its path."""
    return {name: problem for name, problem in _below(Path(checkpoints_dir)).items() if problem is not None}


def _below(root: Path) -> dict[str, str | None]:
    """By path below the folder, what is wrong with it, None where nothing is. What holds a model holds no others."""
    found: dict[str, str | None] = {}
    for kind in registry.OWN:
        waiting = sorted((root / kind).glob("*"))
        while waiting:
            at = waiting.pop(0)
            if at.name.startswith("."):
                continue
            name = at.relative_to(root).as_posix()
            problem = _problem(kind, name, at)
            if problem != "":
                found[name] = problem
            elif name.count("/") == 1 and at.is_dir():  # an owner, or a folder of models
                waiting += sorted(at.glob("*"))
    return dict(sorted(found.items()))


def _problem(kind: str, name: str, at: Path) -> str | None:
    """What is wrong with it; None: nothing; "": it is none of our business."""
    row = registry.OWN[kind].row
    if row.kind == "diffusers":
        problem = "" if at.is_dir() and name.count("/") == 2 and at.name in PARTS else _single_file(at)
    else:
        problem = _weights(LAYOUTS[row.kind], at)
    if problem is None and registry.own_kind(name) is None:
        return "Its name has signs other than letters, digits, _, . and -, or begins with one: rename it."
    return problem


def _single_file(at: Path) -> str | None:
    if at.is_dir() and (at / hub.INDEX).is_file():
        return None
    if at.is_dir() and len(single_file.files_below(at)) > 1:
        return ""  # a folder of models, as other programs have
    if not at.is_dir() and not single_file.can_be_model(at):
        return ""
    try:
        file = single_file.find(at.parent, at.name)
    except BadFolder as error:
        return f"It cannot be used: {error}."
    return "" if file is None else single_file.problem(file)


def _weights(layout: Layout, at: Path) -> str | None:
    """What is wrong with a folder, or with a file of weights beside its configuration."""
    if at.is_file():
        if at.suffix not in layout.weights:
            return ""
        if layout.configs and _config_of(layout, at) is None:
            needed = at.with_suffix(layout.configs[0]).name
            return f"It cannot be used: its configuration {needed} is not beside it."
        return None
    try:
        config, weights = choose(layout, files_in(at))
    except FolderUnclear as error:
        return f"It cannot be used: {error}."
    return None if weights is not None and (config is not None or not layout.configs) else ""


def files_of(checkpoint: Checkpoint, directory: Path) -> tuple[File, ...]:
    """The files that are in such a folder, or where none are, those that belong there. Raises FolderUnclear."""
    layout, at = LAYOUTS[checkpoint.kind], directory / checkpoint.name
    if at.is_file():  # weights without a folder, their configuration beside them
        beside = _config_of(layout, at) or at.with_suffix(layout.configs[0] if layout.configs else "")
        names = [beside.name, at.name] if layout.configs else [at.name]
        return tuple(File(f"{checkpoint.name.rpartition('/')[0]}/{name}", (), 0) for name in names)
    chosen = choose(layout, files_in(at))
    usual = (f"model{layout.configs[0]}" if layout.configs else None, f"model{layout.weights[0]}")
    names = [name for there, instead in zip(chosen, usual, strict=True) if (name := there or instead)]
    return tuple(File(f"{checkpoint.name}/{name}", (), 0) for name in names)


def _config_of(layout: Layout, weights: Path) -> Path | None:
    return next((path for end in layout.configs if (path := weights.with_suffix(end)).is_file()), None)


def advice(checkpoint: Checkpoint) -> str:
    """How to get what is not there, as a sentence."""
    layout, name = LAYOUTS.get(checkpoint.kind), checkpoint.name
    what = layout.what if layout else "what save_pretrained writes, or a model in one file (.safetensors or .ckpt),"
    fetched = f", or get it from Hugging Face with: python -m generator.checkpoints download {name}"
    return f"Put {what} there{fetched if published(name) else ''}"


def listed(checkpoint: Checkpoint) -> Checkpoint:
    """The files of KIND/OWNER/MODEL as Hugging Face lists them, with their sizes and hashes.

    Raises DownloadFailed, FolderUnclear.
    """
    layout, name = LAYOUTS.get(checkpoint.kind, ONE_FILE), checkpoint.name
    repository = name.partition("/")[2]
    url = f"{hub.HUGGING_FACE}/api/models/{repository}?blobs=true"
    try:
        answer = httpx.get(url, follow_redirects=True, timeout=TIMEOUT)
        answer.raise_for_status()
        if len(answer.content) > MAX_LISTING_BYTES:
            raise ValueError("the answer is too large")
        known = {str(one["rfilename"]): one for one in answer.json()["siblings"]}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise DownloadFailed(f"{repository} is not to be had from Hugging Face: {sentence(error)}") from None
    files = []
    names = [path for path in known if layout is not ONE_FILE or "/" not in path]
    for path in choose(layout, names, published=True):
        if path is None:
            continue
        if not re.fullmatch(r"[\w .+=-]+", PurePosixPath(path).name):
            raise FolderUnclear(f"its file {shown(path)} has a name that no folder here is to have")
        stored, size = known[path].get("lfs"), known[path].get("size")
        stored = stored if isinstance(stored, dict) else {}
        sha256 = stored.get("sha256") if re.fullmatch("[0-9a-f]{64}", str(stored.get("sha256"))) else None
        source = f"{hub.HUGGING_FACE}/{repository}/resolve/main/{quote(path)}"
        exact = size if isinstance(size, int) else None
        files.append(File(f"{name}/{PurePosixPath(path).name}", (source,), exact or 5_000_000_000, sha256, exact))
    return replace(checkpoint, files=tuple(files), licence=f"as https://huggingface.co/{repository} says")


def fetched_files(folder: Path) -> list[Path]:
    """What a download left in the folder: its files, by the record kept of each, and halves. Others are not ours."""
    records = sorted(folder.glob("*.sha256")) if folder.is_dir() else []
    ours = [path for record in records for path in (record.with_suffix(""), record)]
    return [path for path in (*ours, *folder.glob("*.part")) if path.is_file()]
