"""The files of the checkpoints: how they are fetched, and whether they are still what they were.

sha256 is published for some; for the others it is recorded beside the file at first sight and checked from then on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from generator import registry
from generator.checkpoints import own
from generator.checkpoints.diffusers_folder import json_text
from generator.checkpoints.download import DownloadFailed, FolderProblem, Progress, Say, fetch, sha256_of
from generator.checkpoints.errors import UNFIT, CheckpointDamaged, CheckpointMissing, plain, sentence
from generator.checkpoints.layouts import LAYOUTS, FolderUnclear
from generator.checkpoints.resolve import resolve_files, resolve_upscaler
from generator.checkpoints.taming_config import read_config
from generator.registry.rows import Checkpoint, File
from lasting import put_in_place

log = logging.getLogger(__name__)


def _other_names(file: File) -> list[str]:
    only = file.name.endswith((".yaml", ".yml", ".json", ".safetensors"))
    return [] if only else [f"{Path(file.name).stem}.safetensors"]


def _locate(file: File, directory: Path) -> Path | None:
    """The file under its own name, or the same weights as safetensors beside it."""
    return next((directory / n for n in (file.name, *_other_names(file)) if (directory / n).is_file()), None)


def installed(checkpoint: Checkpoint, directory: Path) -> bool:
    """Whether all its files are there (not whether they are sound: see loading.verify)."""
    return checkpoint.embedded or all(_locate(file, directory) for file in checkpoint.files)


def present(checkpoint: Checkpoint, directory: Path) -> list[Path]:
    """Those of its files that are there."""
    return [path for file in checkpoint.files if (path := _locate(file, directory))]


def download(
    name: str,
    directory: Path,
    *,
    progress: Progress | None = None,
    say: Say = log.info,
    mirror: str | None = None,
    pause: float = 1.0,
) -> None:
    """Fetches the files of a checkpoint that are not there yet; see download.fetch.

    say: gets one sentence for each thing the user should know. mirror: a base URL tried before the sources.
    Raises UnknownName, DownloadFailed, FolderProblem.
    """
    kind = registry.own_kind(name)
    if kind and not own.published(name):
        raise DownloadFailed(
            f"{name} is a folder of your own, {directory / name}. {own.advice(registry.checkpoint(name))}. "
            f"From Hugging Face: python -m generator.checkpoints download {kind}/OWNER/MODEL"
        )
    checkpoint = resolve_files(name, directory)
    if own.is_folder_of_files(checkpoint):
        try:
            checkpoint = own.listed(checkpoint)
        except FolderUnclear as error:
            raise DownloadFailed(f"{name.partition('/')[2]} on Hugging Face cannot be used: {error}.") from None
    listed = not checkpoint.own or own.is_folder_of_files(checkpoint)
    say(f"{name}: {f'{checkpoint.about / 1e6:.0f} MB. ' if listed else ''}Licence: {checkpoint.licence}.")
    first, *others = checkpoint.files
    try:
        _fetch([first], directory, progress, say, mirror, pause)
    except DownloadFailed:
        if (one := _one_file(checkpoint)) is None:
            raise
        return _fetch(one.files, directory, progress, say, mirror, pause)
    # Of a folder that is not in the table, its first file says what others there are.
    _fetch(others if listed else resolve_files(name, directory).files, directory, progress, say, mirror, pause)


def _one_file(checkpoint: Checkpoint) -> Checkpoint | None:
    """The model in one file of a repository that save_pretrained did not write; None where it has none, or several."""
    if checkpoint.kind != "diffusers" or not checkpoint.own:
        return None
    try:
        return own.listed(checkpoint)
    except (DownloadFailed, FolderUnclear):
        return None


def _fetch(
    files: Sequence[File], directory: Path, progress: Progress | None, say: Say, mirror: str | None, pause: float
) -> None:
    for file in files:
        if _locate(file, directory):
            say(f"{file.name} is already there.")
            continue

        def check(part: Path, digest: str, file: File = file) -> None:
            if file.sha256 and digest != file.sha256:
                raise ValueError(f"its sha256 is {digest[:12]}..., not {file.sha256[:12]}... as published")
            try:
                _plausible(part, file)
            except UNFIT as error:
                raise ValueError(sentence(error)) from None

        urls = ((f"{mirror.rstrip('/')}/{file.name}",) if mirror else ()) + file.urls
        digest = fetch(
            urls, directory / file.name, check=check, size=file.size, about=max(file.about, 100_000),
            progress=progress, say=say, pause=pause,
        )  # fmt: skip
        if not file.sha256 or "/" in file.name:  # the listing of a repository is not kept
            _record(directory / file.name, digest)
        if file.sha256:
            say(f"{file.name}: sha256 is the published one.")
        else:
            say(
                f"{file.name}: no sha256 is published for it. The one of this download ({digest[:12]}...) is recorded "
                "and checked from now on."
            )


def _plausible(path: Path, file: File) -> None:
    """What can be checked where no sha256 is published: a configuration parses, an archive's checksums are right."""
    if file.name.endswith((".yaml", ".yml")):
        read_config(path)
    elif file.name.endswith(".json"):
        json.loads(json_text(path))
    elif file.name.endswith(".safetensors"):
        from generator.checkpoints.state_dict import check_safetensors

        check_safetensors(path)
    elif not file.sha256:
        from generator.checkpoints.state_dict import check_whole

        check_whole(path)


def _record(path: Path, digest: str) -> None:
    record = record_path(path)
    temporary = record.with_name(record.name + ".part")
    temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    put_in_place(temporary, record)


def record_path(path: Path) -> Path:
    """Where the sha256 of a file that was fetched is noted, beside it."""
    return path.with_name(path.name + ".sha256")


def _check_hash(checkpoint: Checkpoint, file: File, path: Path, say: Say) -> None:
    """Against the published sha256, or the recorded one, which is made now if need be. Raises CheckpointDamaged."""
    digest = sha256_of(path)
    record = record_path(path)
    if file.sha256 and path.name == file.name:
        if digest != file.sha256:
            raise damaged(checkpoint, path, f"its sha256 is {digest[:12]}..., not {file.sha256[:12]}... as published")
    elif record.is_file():
        recorded = record.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip()
        if digest != recorded:
            what = f"its sha256 is {digest[:12]}..., but {plain(recorded, 12)} was recorded for it"
            raise damaged(checkpoint, path, what)
    else:
        try:
            _record(path, digest)
            say(f"{path.name}: no sha256 is published for it; {digest[:12]}... is recorded and checked from now on.")
        except OSError:
            say(f"{path.name}: no sha256 is published for it, and none can be recorded: the folder is read-only.")


def damaged(checkpoint: Checkpoint, path: Path, what: str) -> CheckpointDamaged:
    """The error to raise: what is wrong with a file, and the command that repairs it."""
    if own.is_folder_of_files(checkpoint):
        belongs = LAYOUTS[checkpoint.kind].what
        return CheckpointDamaged(f"{path} cannot be used: {what}. What belongs in that folder: {belongs}.")
    name = checkpoint.name
    return CheckpointDamaged(
        f"{path.name} of checkpoint {name} cannot be used: {what}. Get it again with: "
        f"python -m generator.checkpoints remove {name} && python -m generator.checkpoints download {name}"
    )


def require_all(checkpoints: Sequence[Checkpoint], directory: Path) -> None:
    """Raises CheckpointMissing, with one command for all of them, unless every checkpoint's files are there."""
    missing = list({one.name: one for one in checkpoints if not installed(one, directory)}.values())
    if missing:
        names = [one.name for one in missing]
        are = f"Checkpoint {names[0]} is" if len(names) == 1 else f"Checkpoints {' and '.join(names)} are"
        raise CheckpointMissing(
            f"{are} not installed in {directory}. "
            f"Get {'it' if len(names) == 1 else 'them'} ({sum(one.about for one in missing) / 1e6:.0f} MB) with: "
            f"python -m generator.checkpoints download {' '.join(names)}"
        )


def require(checkpoint: Checkpoint, directory: Path, say: Say | None = None) -> dict[str, Path]:
    """Paths of a checkpoint's files by suffix (".yaml", ".ckpt", ".pt", ".safetensors", ...).

    say: their hashes are checked as well, and it gets what the user should know. Raises CheckpointMissing,
    CheckpointDamaged.
    """
    paths, name = {}, checkpoint.name
    found = own.is_folder_of_files(checkpoint)
    for file in checkpoint.files:
        path = _locate(file, directory)
        if path is None and found:
            raise CheckpointMissing(
                f"There is no {Path(file.name).name} in {directory / name}. {own.advice(checkpoint)}."
            )
        if path is None:
            raise CheckpointMissing(
                f"Checkpoint {name} is not installed ({file.name} is not in {directory}). "
                f"Get it ({checkpoint.about / 1e6:.0f} MB) with: python -m generator.checkpoints download {name}"
            )
        # Whoever trains a model writes its file anew; only what was downloaded must stay what it was.
        if say is not None and (not checkpoint.own or record_path(path).is_file()):
            _check_hash(checkpoint, file, path, say)
        paths[path.suffix] = path
    return paths


def weights_of(paths: dict[str, Path]) -> Path:
    """The file with the weights among those of `require`."""
    return next(path for suffix, path in paths.items() if suffix not in (".yaml", ".yml", ".json"))


def upscaler_file(name: str, directory: Path) -> Path | None:
    """The weights of an upscaler of the table, or of a file of that name in the folder; None for the embedded one.

    Raises CheckpointMissing.
    """
    row = resolve_upscaler(name)
    if row is not None:
        return None if row.embedded else next(iter(require(row, directory).values()))
    path = directory / name
    if Path(name).name != name or not path.is_file():
        raise CheckpointMissing(
            f"There is no upscaler {name!r} in {directory}. Put the file there, or use mini-upscaler."
        )
    return path


def remove(name: str, directory: Path) -> list[Path]:
    """Deletes the files of a checkpoint, halves of files and records included; returns what was deleted.

    Raises UnknownName, FolderProblem for a folder of one's own that no download made.
    """
    gone = []
    kind = registry.own_kind(name)
    if kind and (registry.OWN[kind].row.kind in LAYOUTS or not own.published(name)):
        fetched = own.fetched_files(directory / name)
        if not fetched and (directory / name).exists():
            what = "folder" if (directory / name).is_dir() else "file"
            raise FolderProblem(f"{directory / name} was not downloaded; remove that {what} yourself.")
        for path in fetched:
            path.unlink()
        return fetched
    files = resolve_files(name, directory).files
    if kind and len(files) == 1 and not record_path(directory / files[0].name).is_file():  # a model in one file
        raise FolderProblem(f"{directory / files[0].name} was not downloaded; remove that file yourself.")
    for file in files:
        for base in (file.name, *_other_names(file)):
            for path in (directory / f"{base}{end}" for end in ("", ".part", ".sha256")):
                if path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone
