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
from generator.checkpoints.diffusers_folder import BadFolder, text_encoders
from generator.checkpoints.download import DownloadFailed, FolderProblem, Progress, Say, fetch, sha256_of
from generator.checkpoints.errors import CheckpointDamaged, CheckpointMissing
from generator.checkpoints.taming_config import read_config
from generator.registry.sources import INDEX, TABLE, Checkpoint, File, any_folder, diffusers

log = logging.getLogger(__name__)


def find(name: str, directory: Path | None = None) -> Checkpoint:
    """The table's row, or that of a checkpoint of one's own; raises UnknownName, CheckpointDamaged.

    directory: where its folder lies, which says what belongs to it.
    """
    if own.layout_of(name):
        try:
            return own.row(name, directory or Path())
        except own.FolderUnclear as error:
            raise CheckpointDamaged(f"{(directory or Path()) / name} cannot be used: {error}.") from None
    if registry.own_kind(name):
        texts: tuple[str, ...] = ("text_encoder",)
        index = (directory or Path()) / name / INDEX
        if index.is_file():
            try:
                texts = text_encoders(index)
            except BadFolder as error:
                raise CheckpointDamaged(f"{name} cannot be used: {error}.") from None
        return diffusers(name, any_folder(name.partition("/")[2], texts))
    found: Checkpoint = registry.lookup("checkpoint", TABLE, name)
    return found


def _other_names(file: File) -> list[str]:
    only = file.name.endswith((".yaml", ".yml", ".json", ".safetensors"))
    return [] if only else [f"{Path(file.name).stem}.safetensors"]


def _locate(file: File, directory: Path) -> Path | None:
    """The file under its own name, or the same weights as safetensors beside it."""
    return next((directory / n for n in (file.name, *_other_names(file)) if (directory / n).is_file()), None)


def installed(name: str, directory: Path) -> bool:
    """Whether all files of a checkpoint are there (not whether they are sound: see `verify`)."""
    spec = registry.CHECKPOINTS.get(name)
    return (spec is not None and spec.embedded) or all(_locate(f, directory) for f in find(name, directory).files)


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
    if registry.own_kind(name) and not own.published(name):
        raise DownloadFailed(
            f"{name} is a folder of your own, {directory / name}. {own.advice(name)}. From Hugging Face: "
            f"python -m generator.checkpoints download {registry.own_kind(name)}/OWNER/MODEL"
        )
    if own.layout_of(name):
        try:
            entry = own.listed(name)
        except own.FolderUnclear as error:
            raise DownloadFailed(f"{name.partition('/')[2]} on Hugging Face cannot be used: {error}.") from None
    else:
        entry = find(name, directory)
    listed = name in TABLE or own.layout_of(name) is not None
    say(f"{name}: {f'{entry.about / 1e6:.0f} MB. ' if listed else ''}Licence: {entry.licence}.")
    first, *others = entry.files
    _fetch([first], directory, progress, say, mirror, pause)
    # Of a folder that is not in the table, its first file says what others there are.
    _fetch(others if listed else find(name, directory).files, directory, progress, say, mirror, pause)


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
            _plausible(part, file)

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
        json.loads(path.read_text(encoding="utf-8"))
    elif file.name.endswith(".safetensors"):
        from generator.checkpoints.state_dict import check_safetensors

        check_safetensors(path)
    elif not file.sha256:
        from generator.checkpoints.state_dict import check_whole

        check_whole(path)


def _record(path: Path, digest: str) -> None:
    record = _record_path(path)
    temporary = record.with_name(record.name + ".part")
    temporary.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    temporary.replace(record)


def _record_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _check_hash(name: str, file: File, path: Path, say: Say) -> None:
    """Against the published sha256, or the recorded one, which is made now if need be. Raises CheckpointDamaged."""
    digest = sha256_of(path)
    record = _record_path(path)
    if file.sha256 and path.name == file.name:
        if digest != file.sha256:
            raise damaged(name, path, f"its sha256 is {digest[:12]}..., not {file.sha256[:12]}... as published")
    elif record.is_file():
        recorded = record.read_text(encoding="utf-8", errors="replace").partition(" ")[0].strip()
        if digest != recorded:
            raise damaged(name, path, f"its sha256 is {digest[:12]}..., but {recorded[:12]}... was recorded for it")
    else:
        try:
            _record(path, digest)
            say(f"{path.name}: no sha256 is published for it; {digest[:12]}... is recorded and checked from now on.")
        except OSError:
            say(f"{path.name}: no sha256 is published for it, and none can be recorded: the folder is read-only.")


def damaged(name: str, path: Path, what: str) -> CheckpointDamaged:
    """The error to raise: what is wrong with a file, and the command that repairs it."""
    layout = own.layout_of(name)
    if layout:
        return CheckpointDamaged(f"{path} cannot be used: {what}. What belongs in that folder: {layout.what}.")
    return CheckpointDamaged(
        f"{path.name} of checkpoint {name} cannot be used: {what}. Get it again with: "
        f"python -m generator.checkpoints remove {name} && python -m generator.checkpoints download {name}"
    )


def require_all(names: Sequence[str], directory: Path) -> None:
    """Raises CheckpointMissing, with one command for all of them, unless every checkpoint's files are there."""
    missing = [name for name in dict.fromkeys(names) if not installed(name, directory)]
    if missing:
        are = f"Checkpoint {missing[0]} is" if len(missing) == 1 else f"Checkpoints {' and '.join(missing)} are"
        size = sum(find(name, directory).about for name in missing) / 1e6
        raise CheckpointMissing(
            f"{are} not installed in {directory}. "
            f"Get {'it' if len(missing) == 1 else 'them'} ({size:.0f} MB) with: "
            f"python -m generator.checkpoints download {' '.join(missing)}"
        )


def require(name: str, directory: Path, say: Say | None = None) -> dict[str, Path]:
    """Paths of a checkpoint's files by suffix (".yaml", ".ckpt", ".pt", ".safetensors", ...).

    say: their hashes are checked as well, and it gets what the user should know. Raises UnknownName,
    CheckpointMissing, CheckpointDamaged.
    """
    entry, paths = find(name, directory), {}
    for file in entry.files:
        path = _locate(file, directory)
        if path is None and own.layout_of(name):
            raise CheckpointMissing(f"There is no {Path(file.name).name} in {directory / name}. {own.advice(name)}.")
        if path is None:
            raise CheckpointMissing(
                f"Checkpoint {name} is not installed ({file.name} is not in {directory}). "
                f"Get it ({entry.about / 1e6:.0f} MB) with: python -m generator.checkpoints download {name}"
            )
        # Whoever trains a model writes its file anew; only what was downloaded must stay what it was.
        if say is not None and (own.layout_of(name) is None or _record_path(path).is_file()):
            _check_hash(name, file, path, say)
        paths[path.suffix] = path
    return paths


def weights_of(paths: dict[str, Path]) -> Path:
    """The file with the weights among those of `require`."""
    return next(path for suffix, path in paths.items() if suffix not in (".yaml", ".yml", ".json"))


def upscaler_file(name: str, directory: Path) -> Path | None:
    """The weights of an upscaler of the table, or of a file of that name in the folder; None for the embedded one.

    Raises CheckpointMissing.
    """
    if name in registry.CHECKPOINTS and registry.CHECKPOINTS[name].embedded:
        return None
    if name not in TABLE:
        path = directory / name
        if Path(name).name != name or not path.is_file():
            raise CheckpointMissing(
                f"There is no upscaler {name!r} in {directory}. Put the file there, or use mini-upscaler."
            )
        return path
    return next(iter(require(name, directory).values()))


def remove(name: str, directory: Path) -> list[Path]:
    """Deletes the files of a checkpoint, halves of files and records included; returns what was deleted.

    Raises UnknownName, FolderProblem for a folder of one's own that no download made.
    """
    gone = []
    if own.layout_of(name) or (registry.own_kind(name) and not own.published(name)):
        fetched = own.fetched_files(directory / name)
        if not fetched and (directory / name).exists():
            raise FolderProblem(f"{directory / name} was not downloaded; remove that folder yourself.")
        for path in fetched:
            path.unlink()
        return fetched
    for file in find(name, directory).files:
        for base in (file.name, *_other_names(file)):
            for path in (directory / f"{base}{end}" for end in ("", ".part", ".sha256")):
                if path.is_file():
                    path.unlink()
                    gone.append(path)
    return gone
