"""Models of one's own: runs asked for, watched, held back, ended and compared; what they have made, in and out as one
file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from db import artefacts, queue
from db.artefacts import Artefact
from db.datasets import records
from db.errors import UnknownArtefact, UnknownDataset, UnknownJob
from db.jobs import LIVE, Job
from db.models import trained
from db.models.trained import TrainedModel
from db.rules import host_rules
from generator import registry
from generator.output.learning import History, read_history
from studio import access, datasets
from studio.context import Studio, Submitter
from studio.engines import check_trains, engines_making, makes
from studio.errors import BadWish
from studio.submit import ask

MAX_RUNS = 100


@dataclass(frozen=True)
class Watched:
    """A run as it is now. steps_per_s: of late; left_s: of an executor that works on nothing else, None: not known;
    memory: bytes at its peak. asked: `pause` or `keep`, None. model: what it has made, once it has ended."""

    job: Job
    history: History = field(default_factory=History)
    files: Mapping[str, Artefact] = field(default_factory=dict)
    train: float | None = None
    validation: float | None = None
    best: float | None = None
    best_step: int | None = None
    steps_per_s: float | None = None
    memory: int | None = None
    left_s: float | None = None
    model: TrainedModel | None = None

    @property
    def asked(self) -> str | None:
        return self.job.asked

    @property
    def paused(self) -> bool:
        """Whether it waits to be told to go on."""
        return self.job.asked == queue.PAUSE and self.job.state in LIVE


@dataclass(frozen=True)
class Compared:
    """Two runs side by side. settings: those that differ, as (name, value of the first, value of the second)."""

    runs: tuple[Watched, Watched]
    settings: tuple[tuple[str, Any, Any], ...]


def engines() -> list[str]:
    """The engines that make models."""
    return engines_making("model")


def submit(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any]) -> Job:
    """Queue a run. What its data state as their licence is the model's, where the run says nothing else.

    Raises BadParams, UnknownDataset, WordRefused, TrainingOff, NameTaken, TooManyQueued, and as `submit.enqueue`.
    """
    check_trains(engine)
    given = dict(values)
    match = records.REFERENCE.fullmatch(str(given.get("data", "")))
    if match and not given.get("licence"):
        given["licence"] = datasets.get(studio, submitter, match[1]).licence
    rules = host_rules.get(studio.db)
    captions = given.get("captions") or ()
    for text in (given.get("name"), given.get("licence"), *([captions] if isinstance(captions, str) else captions)):
        if isinstance(text, str):
            rules.check_words(text)
    return ask(studio, submitter, engine, given)


def pause(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """It makes no more steps until `go_on`. Raises UnknownJob, NotYours."""
    return queue.pause(studio.db, _run(studio, submitter, job_id).id, _who(submitter))


def go_on(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """It takes its turns again. Raises UnknownJob, NotYours."""
    return queue.go_on(studio.db, _run(studio, submitter, job_id).id, _who(submitter))


def keep(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """It ends with the model it has by now. Raises UnknownJob, NotYours, NothingLearnt."""
    return queue.keep(studio.db, _run(studio, submitter, job_id).id, _who(submitter))


def runs(studio: Studio, submitter: Submitter, *, mine: bool = False) -> list[Job]:
    """The newest runs that they may see, all states; MAX_RUNS at most of each engine."""
    found = [
        job
        for engine in engines()
        for job in access.jobs(studio, submitter, mine=mine, engine=engine, limit=MAX_RUNS)
        if access.may_see(submitter, job)
    ]
    return sorted(found, key=lambda job: job.id, reverse=True)


def watch(studio: Studio, submitter: Submitter, job_id: str) -> Watched:
    """A run as it is now. Raises UnknownJob, also for a job that trains nothing."""
    job = _run(studio, submitter, job_id)
    files = artefacts.of_jobs(studio.db, [job.id])[job.id]
    history = _history(studio, files.get("history"))
    rows = history.rows
    best = history.best("validation")
    pace = _newest(history, "steps_per_s")
    left = max(job.total_steps - job.step, 0)
    memory = [row.memory for row in rows if row.memory is not None]
    return Watched(
        job=job,
        history=history,
        files=files,
        train=_newest(history, "train"),
        validation=_newest(history, "validation"),
        best=None if best is None else best.validation,
        best_step=None if best is None else best.step,
        steps_per_s=pace,
        memory=max(memory, default=None),
        left_s=left / pace if pace and job.state in LIVE else None,
        model=trained.of_job(studio.db, job.id),
    )


def compare(studio: Studio, submitter: Submitter, first_id: str, second_id: str) -> Compared:
    """Two runs: their losses, and the settings in which they differ. Raises UnknownJob, BadWish."""
    if first_id == second_id:
        raise BadWish("The same run twice; choose two.")
    first, second = (watch(studio, submitter, job_id) for job_id in (first_id, second_id))
    one, other = first.job.params, second.job.params
    names = [*one, *(name for name in other if name not in one)]
    differing = tuple((name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name))
    return Compared((first, second), differing)


def data_name(studio: Studio, data: str) -> str:
    """What a run learns from, for people: the name of the dataset, or the address."""
    match = records.REFERENCE.fullmatch(data)
    if match is None:
        return data
    try:
        return records.get(studio.db, match[1]).name
    except UnknownDataset:
        return data


def models(studio: Studio, submitter: Submitter) -> list[TrainedModel]:
    """What runs have made that they may see, and what was brought as a file; the newest first."""
    return [model for model in trained.listed(studio.db) if _shown(studio, submitter, model)]


def model(studio: Studio, submitter: Submitter, name: str) -> TrainedModel:
    """The model of this name, KIND/NAME. Raises UnknownArtefact."""
    found = trained.find(studio.db, name)
    if found is None or not _shown(studio, submitter, found):
        raise UnknownArtefact("There is no trained model {name!r}.", name=name)
    return found


def file_name(found: TrainedModel) -> str:
    """What a model's file is called when it is taken home."""
    return f"{found.name.rpartition('/')[2]}.{found.key.rpartition('.')[2]}"


def engine_of(found: TrainedModel) -> tuple[str, str] | None:
    """The engine that draws with a model, and the checkpoint to choose there; None for what is no checkpoint."""
    own = registry.OWN.get(found.kind)
    return None if own is None else (own.engine, found.name)


def _shown(studio: Studio, submitter: Submitter, found: TrainedModel) -> bool:
    if found.job_id is None:
        return True
    try:
        access.job(studio, submitter, found.job_id)
    except UnknownJob:
        return False
    return True


def _run(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    job = access.job(studio, submitter, job_id)
    if makes(job.engine) != "model":
        raise UnknownJob(job_id)
    return job


def _who(submitter: Submitter) -> str | None:
    return None if submitter.is_host else submitter.id


def _newest(history: History, name: str) -> float | None:
    return next((getattr(row, name) for row in reversed(history.rows) if getattr(row, name) is not None), None)


def _history(studio: Studio, file: Artefact | None) -> History:
    """What it has measured; nothing where that is not there yet, or was replaced in this moment."""
    if file is None:
        return History()
    try:
        return read_history(studio.store.get(file.key))
    except (UnknownArtefact, ValueError):
        return History()
