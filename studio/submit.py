"""From a wish, checked once, to jobs in the queue; and their end before their time."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db import artefacts, queue
from db.artefacts import drafts, sources
from db.errors import SourceHidden, UnknownArtefact
from db.jobs import Job, new_id
from db.queue import NewJob
from db.sheets import submissions
from db.sheets.submissions import NewSheet, Submission
from generator.params import BadParams, DownloadParams, JobParams, Params, validate, validate_job
from generator.params.sheet import on_sheet
from generator.wording import Notice
from studio import model_names
from studio.context import Studio, Submitter
from studio.datasets import check_data
from studio.engines import makes
from studio.given import check_own, taken_over, validated
from studio.limits import check_admitted, check_may_train, check_read, check_typed, check_welcome
from studio.room import check_room
from studio.uploads import Upload, check_count, drafts_in, gone_if_refused, keep, with_copies
from studio.wording import understood

MAX_PICTURES = 8
LONGER = 10  # a run sees so many times more executors come and go than a picture
TRAINING = -1  # priority of runs: whatever else waits goes first

Labelled = Sequence[tuple[str, NewJob]]  # jobs of one sheet, each with its label, not yet queued


@dataclass(frozen=True)
class Wish:
    """Drawings as somebody asks for them; nothing of it is checked yet.

    values: settings by name, seed None for random. pictures: how many: the given seed and those that follow it, or a
    random seed each. uploads: pictures sent along, by the setting they are for: one for init_image and mask_image, up
    to MAX_IMAGE_PROMPTS for image_prompts. parent_id, source_artefact_id: the job and the picture it goes on from.
    repeats: settings of a finished picture that values took over; its texts were understood when that was asked for.
    """

    engine: str
    values: Mapping[str, Any]
    pictures: int = 1
    uploads: Mapping[str, Sequence[Upload]] = field(default_factory=dict)
    parent_id: str | None = None
    source_artefact_id: str | None = None
    repeats: Mapping[str, Any] = field(default_factory=dict)


def submit(
    studio: Studio, submitter: Submitter, wish: Wish, say: Callable[[Notice], object] | None = None
) -> list[Job]:
    """Queue one job per picture. Several are candidates of one sheet: all of them find room in the queue or none does.

    say: is told what there is to be said about how the prompts were read, before anything is queued.

    The wish and the room in the queue are checked before its pictures are read and kept; those of one that is refused
    all the same are gone again.
    Raises BadParams, UnknownName, TooManyQueued, StoreFull; UnknownArtefact or SourceHidden where a picture to start
    from is not there any more.
    """
    check_welcome(studio, submitter)
    plan = planned(studio, submitter, wish, say=say)
    if plan.given or plan.copies:
        check_wanted(studio, submitter, plan.jobs)
    with gone_if_refused(studio) as kept:
        kept += plan.keep(studio, submitter)
        return ask_planned(studio, submitter, plan)


def ask_planned(studio: Studio, submitter: Submitter, plan: Planned) -> list[Job]:
    """Queue a wish whose pictures are kept, as one job or as one sheet. Raises as `enqueue`."""
    if len(plan.wanted) == 1:
        return [enqueue(studio, submitter, plan.jobs[0])]
    sheet = NewSheet(kind="candidates", prompt=typed(plan.jobs[0]), wanted=plan.wanted)
    return submit_sheet(studio, submitter, sheet)[1]


@dataclass(frozen=True)
class Planned:
    """A wish that was checked: its jobs with their labels, and the pictures that have to be kept for them first.

    ids: of these pictures, by setting. copies: of drafts, as `uploads.drafts_in` finds them.
    """

    wanted: Labelled
    given: Mapping[str, Sequence[Upload]]
    ids: Mapping[str, Sequence[str]]
    copies: Mapping[str, str]

    @property
    def jobs(self) -> list[NewJob]:
        """The jobs alone."""
        return [new for _, new in self.wanted]

    def keep(self, studio: Studio, submitter: Submitter) -> list[str]:
        """Read and store the pictures; their ids. Raises as `uploads.keep`, and as `check_sources`."""
        with gone_if_refused(studio) as kept:
            kept += keep(studio, submitter, self.given, self.ids, self.copies)
            self.check_sources(studio)
        return kept

    def check_sources(self, studio: Studio) -> None:
        """Raises UnknownArtefact, SourceHidden where a picture that the jobs name is not there any more."""
        for reference in self.jobs[0].sources:
            _check_source(studio, reference)


def candidates_of(studio: Studio, submitter: Submitter, wish: Wish) -> Labelled:
    """The pictures of a wish with their labels, not yet queued; it may name no pictures but those in the store.

    Raises as `submit`, but for what the queue refuses.
    """
    plan = planned(studio, submitter, wish)
    if plan.given or plan.copies:
        raise BadParams("No pictures can be sent along here; name one that is in the store.")
    plan.check_sources(studio)
    return plan.wanted


def planned(
    studio: Studio, submitter: Submitter, wish: Wish, *, say: Callable[[Notice], object] | None = None
) -> Planned:
    """A wish, checked; nothing is kept or queued. Raises BadParams, UnknownName, WordRefused, UnknownArtefact.

    submitter: whose drafts the wish may name; the jobs name copies of them. Pictures that others gave it may not
    name: raises UnknownArtefact. say: as for `submit`.
    """
    if not 1 <= wish.pictures <= MAX_PICTURES:
        raise BadParams(f"{wish.pictures} pictures; 1 to {MAX_PICTURES} are allowed.")
    check_typed(studio, wish.values.values())
    given = {name: some for name, some in wish.uploads.items() if some}
    check_count(given)
    # The keys are made first: the wish is checked once, with all it names, before anything is kept under them.
    ids = {name: [new_id() for _ in some] for name, some in given.items()}
    named = {name: " | ".join(artefacts.upload_key(one) for one in some) for name, some in ids.items()}
    values = {**wish.values, **named}
    copies = drafts_in(values)

    def read(values: dict[str, Any]) -> dict[str, Any]:
        made = understood(studio, wish.engine, values, wish.repeats)
        if say is not None:
            for notice in made.notices:
                say(notice)
        return made.values

    made = drawings(wish.engine, starting(with_copies(values, copies)), wish.pictures, read)
    new = {artefacts.upload_key(one) for some in (*ids.values(), copies.values()) for one in some}
    check_own(studio, submitter, [one for one in made[0].sources if one not in new])
    of: dict[str, Any] = {"parent_id": wish.parent_id, "source": wish.source_artefact_id}
    wanted = [(f"seed {params.seed}", new_job(studio, wish.engine, params, **of)) for params in made]
    return Planned(wanted, given, ids, copies)


def drawings(
    engine: str,
    values: Mapping[str, Any],
    count: int = 1,
    read: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> list[Params]:
    """So many drawings of one wish: the given seed, or a random one, and those that follow it. Several are a sheet: its
    pictures differ as `on_sheet` says.

    read: what the settings of one picture, as they were typed, are understood as. Raises BadParams, UnknownName.
    """
    seed = values.get("seed")
    if seed is None and count > 1:
        seed = secrets.randbelow(2**32)
    given = {name: value for name, value in values.items() if name != "seed"}
    made: list[Params] = []
    for number in range(count):
        if number:
            seed = (made[0].seed + number) % 2**32
        told = read(given if seed is None else {**given, "seed": seed})
        made.append(validate(engine, told | (on_sheet(engine, told, number) if count > 1 else {})))
    return made


def ask(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any]) -> Job:
    """Enqueue one job of any engine. Raises BadParams, UnknownName, TooManyQueued, and as `check_sources`."""
    check_typed(studio, values.values())
    params = validate_job(engine, dict(values))
    check_sources(studio, submitter, params)
    return enqueue(studio, submitter, new_job(studio, engine, params))


def run_again(studio: Studio, submitter: Submitter, job: Job) -> Job:
    """The same settings, with a new seed where it draws, as a child of that job; without pictures that somebody else
    gave, see `given.taken_over`. Raises as `submit`, and BadWish where nothing is left to draw without those.
    """
    if queue.get(studio.db, job.id).hidden:  # by now, and for its owner as well: it would be there again
        raise SourceHidden
    params = validated(job, taken_over(studio, submitter, job))
    check_sources(studio, submitter, params)
    if isinstance(params, Params):
        params = params.model_copy(update={"seed": secrets.randbelow(2**32)})
        return enqueue(studio, submitter, new_job(studio, job.engine, params, parent_id=job.id))
    new = new_job(studio, job.engine, params, title=job.prompt, parent_id=job.parent_id, source=job.source_artefact_id)
    return enqueue(studio, submitter, new)


def cancel(studio: Studio, submitter: Submitter, job_id: str) -> Job:
    """Their own job ends: at once where it waits. Raises UnknownJob, and NotYours for a job of somebody else's."""
    return queue.request_cancel(studio.db, job_id, submitter=submitter.id)


def new_job(
    studio: Studio,
    engine: str,
    params: JobParams,
    *,
    title: str | None = None,
    parent_id: str | None = None,
    source: str | None = None,
    read: bool = True,
) -> NewJob:
    """A job with these parameters, not yet queued. source: the id of the artefact it is made from. read: whether the
    host's words are looked for in it; not in one that nobody has asked for yet.

    Raises WordRefused.
    """
    if read:
        check_read(studio, params)
    trains = makes(engine) == "model"
    return NewJob(
        engine=engine,
        checkpoint=params.loads[0],
        batch_key=params.batch_key,
        prompt=params.title if title is None else title,
        params=params.model_dump(mode="json"),
        total_steps=max(params.total_steps, 1),
        parent_id=parent_id,
        source_artefact_id=source,
        max_attempts=studio.settings.max_attempts * (LONGER if trains else 1),
        sources=tuple(params.sources),
        pixels=pixels_of(params),
        budgeted=not isinstance(params, DownloadParams) and not trains,
        budget_s=studio.settings.max_train_s or None if trains else None,
        priority=TRAINING if trains else 0,
    )


def pixels_of(params: JobParams) -> int | None:
    """px of the picture that is drawn, which say how long a step takes; None where its steps are alike."""
    if not isinstance(params, Params):
        return None
    width, height = params.actual_size
    return width * height


def typed(new: NewJob) -> str:
    """The prompt of a job as it was typed: what the pictures of one sheet have in common, whatever each draws of it."""
    said = new.params.get("wording", {}).get("prompt")
    return str(said["typed"]) if said else new.prompt


def enqueue(studio: Studio, submitter: Submitter, new: NewJob) -> Job:
    """Queue a job. Raises Banned, EngineWithheld, WordRefused, TooManyQueued, TooManyThisHour, DiskNearlyFull,
    TrainingOff, NameTaken."""
    check_admitted(studio, submitter)
    if makes(new.engine) == "model":
        check_may_train(studio, submitter)
        check_data(studio, submitter, str(new.params["data"]))
        model_names.check_free(studio, validate_job(new.engine, dict(new.params)).makes)
    check_room(studio)
    return queue.enqueue(
        studio.db, new, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.request
    )


def check_wanted(studio: Studio, submitter: Submitter, wanted: Sequence[NewJob]) -> None:
    """Raises what `enqueue` would raise for these jobs together; nothing is queued."""
    check_admitted(studio, submitter)
    check_room(studio)
    queue.check(studio.db, wanted, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.request)


def submit_sheet(studio: Studio, submitter: Submitter, new: NewSheet) -> tuple[Submission, list[Job]]:
    """Queue the jobs of a sheet, all of them or none. Raises as `enqueue`."""
    check_admitted(studio, submitter)
    check_room(studio)
    return submissions.submit(
        studio.db, new, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.request
    )


def starting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with init=image where a picture to start from was given without a mask, which means just that."""
    begins = values.get("init_image") and not values.get("mask_image") and "init" in values
    return {**values, "init": "image"} if begins else dict(values)


def check_sources(studio: Studio, submitter: Submitter, params: JobParams) -> None:
    """Raises UnknownArtefact, SourceHidden where a picture that a job starts from is not there any more, or was given
    by somebody else.

    A draft is none that a job may name: it may be gone when the job's turn comes.
    """
    check_own(studio, submitter, params.sources)
    for reference in params.sources:
        _check_source(studio, reference)


def _check_source(studio: Studio, reference: str) -> None:
    if drafts.is_draft(sources.key_of(studio.db, studio.store, reference)):
        raise UnknownArtefact(
            "A picture this is made from ({picture}) is not kept for jobs; send it again.", picture=reference
        )
