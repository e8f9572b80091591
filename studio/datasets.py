"""Captioned pictures to train models from: checked, made clean and kept as one zip; from a zip or from the gallery."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Literal

from db import artefacts
from db.artefacts.given import Quota
from db.datasets import gallery, records
from db.datasets.records import Dataset
from db.errors import UnknownArtefact, UnknownDataset
from db.jobs import Job, new_id
from db.rules import host_rules
from generator.images.decode import BadImage, ReadersBusy, decode_image, open_image
from generator.learning.stream.archive import Archive, write_archive
from generator.learning.stream.contact_sheet import contact_sheet
from generator.learning.stream.report import Report, inspect
from generator.learning.stream.samples import DataProblem, Sample
from generator.learning.stream.sources import MIN_SAMPLES, Source
from studio import given
from studio.access import check_host
from studio.context import Studio, Submitter
from studio.engines import engines_making
from studio.errors import BadWish, Busy
from studio.limits import check_may_train, check_typed, check_welcome
from studio.room import check_room

MAX_NAME, MAX_LICENCE = 80, 200
MAX_SIDE = 1024  # px: what any run here makes of a picture is smaller
_KINDS = {"JPEG": ("JPEG", ".jpg", {"quality": 95}), "WEBP": ("JPEG", ".jpg", {"quality": 95})}
_LOSSLESS = ("PNG", ".png", {"compress_level": 6})

Choice = Literal["favourites", "best", "mine"]
CHOICES: tuple[Choice, ...] = ("favourites", "best", "mine")
OnProgress = Callable[[int, int], object]


class BadData(BadWish):
    """A zip or a choice of pictures that nothing can be learnt from, and what is needed."""


def quota(studio: Studio) -> Quota:
    """What may be kept of datasets."""
    settings = studio.settings
    return Quota(
        settings.max_dataset_bytes_per_submitter,
        settings.max_dataset_bytes_per_address,
        settings.max_dataset_bytes_total,
    )


def check_dataset(studio: Studio, submitter: Submitter, name: str, licence: str, size: int) -> tuple[str, str]:
    """Whether they may give pictures of so many bytes under this name: asked before they come. The name and the licence
    as they are kept. Raises as `add_zip`, of what can be told by then."""
    check_welcome(studio, submitter)
    check_may_train(studio, submitter)
    check_typed(studio, (name, licence))
    name, licence = plain(name), plain(licence) or "not stated"
    if not 1 <= len(name) <= MAX_NAME:
        raise BadWish("A dataset needs a name of 1 to {most} characters.", most=MAX_NAME)
    if len(licence) > MAX_LICENCE:
        raise BadWish("The licence has {given} characters; at most {most}.", given=len(licence), most=MAX_LICENCE)
    rules = host_rules.get(studio.db)
    rules.check_words(name)
    rules.check_words(licence)
    if size > (most := studio.settings.max_dataset_bytes):
        raise BadData("The zip has {size} MB; at most {most} MB are taken.", size=_mb(size), most=_mb(most))
    check_room(studio, size)
    records.check(studio.db, submitter=submitter.id, address=submitter.address, quota=quota(studio), wanted=size)
    return name, licence


def add_zip(
    studio: Studio,
    submitter: Submitter,
    file: Path,
    *,
    name: str,
    licence: str = "",
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Keep the captioned pictures of a zip: of its report, the ones that can be learnt from, at most MAX_SIDE px a side
    and without what a camera wrote into them.

    on_progress: told how many pictures of how many were looked at. Raises BadData, BadWish, Banned, CodeNeeded,
    TrainingOff, WordRefused, TooManyBytesGiven, DiskNearlyFull, StoreFull, StoreUnavailable, Busy, Erased.
    """
    name, licence = check_dataset(studio, submitter, name, licence, file.stat().st_size)
    try:
        source = Archive(file, name)
    except DataProblem as error:
        raise BadData("{why}", why=str(error)) from None
    try:
        return _keep(studio, submitter, source, name, licence, on_progress)
    finally:
        source.close()


def add_gallery(
    studio: Studio,
    submitter: Submitter,
    which: Choice,
    *,
    name: str,
    licence: str = "",
    most: int = gallery.MAX_DRAWINGS,
    on_progress: OnProgress | None = None,
) -> Dataset:
    """Keep finished drawings with their prompts: one's favourites, those best in votes, or all of one's
    own. What the host has hidden is not among them, nor what is drawn from a picture that somebody else gave.

    most: how many pictures at most. Raises as `add_zip`.
    """
    name, licence = check_dataset(studio, submitter, name, licence, 0)
    source = _Gallery(studio, chosen(studio, submitter, which)[:most], name)
    return _keep(studio, submitter, source, name, licence, on_progress)


def chosen(studio: Studio, submitter: Submitter, which: Choice) -> list[Job]:
    """The drawings that such a dataset would be made of. Raises BadWish."""
    engines = engines_making("drawing")
    if which == "best":
        found = gallery.best(studio.db, engines)
    elif which == "favourites":
        found = gallery.favourites(studio.db, submitter.id, engines)
    elif which == "mine":
        found = gallery.drawn_by(studio.db, submitter.id, engines)
    else:
        raise BadWish("There is no choice {which}; choose one of {choices}.", which=which, choices=", ".join(CHOICES))
    shown = given.shown(studio, submitter, found)
    return [job for job in found if job.prompt.strip() and not shown[job.id].withheld]


def listed(studio: Studio, submitter: Submitter) -> list[Dataset]:
    """Theirs, the newest first; none where they cannot be told from others."""
    return records.listed(studio.db, submitter.id) if given.is_one(submitter) else []


def everybodys(studio: Studio, host: Submitter) -> list[Dataset]:
    """All of them, the newest first. Raises NotHost."""
    check_host(host)
    return records.listed(studio.db)


def get(studio: Studio, submitter: Submitter, dataset_id: str) -> Dataset:
    """One of theirs; the host's are all. Raises UnknownDataset, also for somebody else's."""
    found = records.get(studio.db, dataset_id)
    if found.submitter != submitter.id and not submitter.is_host:
        raise UnknownDataset(dataset_id)
    return found


def sheet(studio: Studio, submitter: Submitter, dataset_id: str) -> bytes:
    """The contact sheet, a PNG. Raises UnknownDataset, UnknownArtefact, StoreUnavailable."""
    return studio.store.get(records.sheet_key(get(studio, submitter, dataset_id).id))


def delete(studio: Studio, submitter: Submitter, dataset_id: str) -> Dataset:
    """Delete one of theirs; runs that still need it fail. What was deleted. Raises UnknownDataset, StoreUnavailable."""
    found = get(studio, submitter, dataset_id)
    if not submitter.is_host and not given.is_one(submitter):
        raise UnknownDataset(dataset_id)
    records.delete(studio.db, studio.store, found)
    return found


def check_data(studio: Studio, submitter: Submitter, data: str) -> None:
    """Whether a run of theirs may learn from what its `data` names. Raises UnknownDataset, BadWish."""
    if match := records.REFERENCE.fullmatch(data):
        get(studio, submitter, match[1])
    elif data.startswith(("ws://", "wss://")):
        if not any(fnmatchcase(data, pattern) for pattern in studio.settings.train_addresses):
            raise BadWish(
                "This studio does not stream pictures from {address}; the host names permitted servers in "
                "T2I_TRAIN_FROM.",
                address=data,
            )
    else:
        raise BadWish(
            "{data} names no data of this studio; give dataset:ID of one you made, or ws://... of a server the host "
            "allows.",
            data=repr(data),
        )


def _keep(
    studio: Studio, submitter: Submitter, source: Source, name: str, licence: str, on_progress: OnProgress | None
) -> Dataset:
    count = len(source.ids)
    if count < MIN_SAMPLES:
        raise BadData("{count} captioned pictures; at least {least} are needed.", count=count, least=MIN_SAMPLES)
    report = inspect(source)
    if not report.trainable:
        raise BadData("{why}", why=report.reason)
    with tempfile.TemporaryDirectory(prefix="t2i-dataset-") as folder:
        file = Path(folder) / "dataset.zip"
        kept = write_archive(file, _clean(source, report, studio.settings.max_dataset_bytes, on_progress))
        if kept < MIN_SAMPLES:
            raise BadData("{count} captioned pictures; at least {least} are needed.", count=kept, least=MIN_SAMPLES)
        check_room(studio, file.stat().st_size)
        clean = Archive(file, name)
        try:
            picture = contact_sheet(clean)
        finally:
            clean.close()
        return records.save(
            studio.db,
            studio.store,
            dataset_id=new_id(),
            name=name,
            submitter=submitter.id,
            address=submitter.address,
            file=file,
            sheet=picture,
            count=kept,
            report=replace(report, name=name).as_json(),
            licence=licence,
            quota=quota(studio),
        )


def _clean(source: Source, report: Report, most: int, on_progress: OnProgress | None) -> Iterator[Sample]:
    """The samples that can be read, their pictures written anew. Raises BadData, Busy."""
    left_out, names, size = {*report.unreadable}, set[str](), 0
    for index, sample_id in enumerate(source.ids):
        if on_progress is not None and index % 20 == 0:
            on_progress(index, len(source.ids))
        if sample_id in left_out:
            continue
        try:
            data = source.image(index)
            kind, extension, options = _KINDS.get(open_image(data).format or "", _LOSSLESS)
            image = decode_image(data, max_side=MAX_SIDE)
        except ReadersBusy as error:
            raise Busy(str(error)) from None
        except (BadImage, DataProblem):
            continue  # beyond those the report has looked at
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        size += buffer.tell()
        if size > most:
            raise BadData("Its pictures take more than {most} MB, the most that is taken.", most=_mb(most))
        name = _named(sample_id, extension, names)
        names.add(name)
        yield Sample(name, source.caption(index), buffer.getvalue())


def _named(sample_id: str, extension: str, taken: set[str]) -> str:
    """The name of a sample's new file: its own, as far as it says what it now is and nobody has it."""
    path = PurePosixPath(sample_id)
    same = path.suffix.lower() in (extension, ".jpeg" if extension == ".jpg" else extension)
    name = sample_id if same else sample_id + extension
    number = 2
    while name in taken or PurePosixPath(name).name.lower().startswith("metadata."):
        name, number = str(path.with_suffix("")) + f"-{number}{extension}", number + 1
    return name


def plain(text: str) -> str:
    """On one line, without what nobody sees."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f}"


class _Gallery:
    """Finished drawings as a Source. ids: JOB.png."""

    kind = "gallery"

    def __init__(self, studio: Studio, jobs: Sequence[Job], name: str) -> None:
        files = _pictures(studio, jobs)
        self.name, self._studio = name, studio
        self._jobs = [job for job in jobs if job.id in files]
        self._keys = [files[job.id] for job in self._jobs]
        self.ids = [f"{job.id}.png" for job in self._jobs]
        self.skipped = ()

    def caption(self, index: int) -> str:
        return self._jobs[index].prompt.strip()

    def image(self, index: int) -> bytes:
        try:
            return self._studio.store.get(self._keys[index])
        except UnknownArtefact:
            raise DataProblem("It was deleted meanwhile.") from None

    def close(self) -> None:
        """Nothing is open."""


def _pictures(studio: Studio, jobs: Iterable[Job]) -> dict[str, str]:
    """The keys of their pictures."""
    found: dict[str, str] = {}
    ids = [job.id for job in jobs]
    for start in range(0, len(ids), 200):
        for job_id, files in artefacts.of_jobs(studio.db, ids[start : start + 200]).items():
            if "picture" in files:
                found[job_id] = files["picture"].key
    return found
