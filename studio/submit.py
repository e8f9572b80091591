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
from generator.wording import Notice
from studio.context import Studio, Submitter
from studio.limits import check_read, check_typed, check_welcome
from studio.uploads import Upload, check_count, drafts_in, keep, keep_copies, with_copies
from studio.wording import understood

MAX_PICTURES = 8

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

    The wish is checked before its pictures are kept; those of one that the queue refuses afterwards stay in the store.
    Raises BadParams, UnknownName, TooManyQueued, StoreFull; UnknownArtefact or SourceHidden where a picture to start
    from is not there any more.
    """
    check_welcome(studio, submitter)
    wanted = candidates_of(studio, wish, submitter=submitter, say=say)
    if len(wanted) == 1:
        return [enqueue(studio, submitter, wanted[0][1])]
    sheet = NewSheet(kind="candidates", prompt=typed(wanted[0][1]), wanted=wanted)
    return submit_sheet(studio, submitter, sheet)[1]


def candidates_of(
    studio: Studio,
    wish: Wish,
    *,
    submitter: Submitter | None = None,
    say: Callable[[Notice], object] | None = None,
) -> Labelled:
    """The pictures of a wish with their labels, not yet queued. Raises as `submit`, but for what the queue refuses.

    submitter: whose drafts the wish may name; the jobs name copies of them. say: as for `submit`.
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
    copies = drafts_in(values) if submitter is not None else {}

    def read(values: dict[str, Any]) -> dict[str, Any]:
        made = understood(studio, wish.engine, values, wish.repeats)
        if say is not None:
            for notice in made.notices:
                say(notice)
        return made.values

    made = drawings(wish.engine, starting(with_copies(values, copies)), wish.pictures, read)
    keep(studio, given, ids)
    if submitter is not None:
        keep_copies(studio, submitter, copies)
    check_sources(studio, made[0])
    of = {"parent_id": wish.parent_id, "source": wish.source_artefact_id}
    return [(f"seed {params.seed}", new_job(studio, wish.engine, params, **of)) for params in made]


def drawings(
    engine: str,
    values: Mapping[str, Any],
    count: int = 1,
    read: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> list[Params]:
    """So many drawings of one wish: the given seed and those that follow it, or a random seed each.

    read: what the settings of one picture, as they were typed, are understood as. Raises BadParams, UnknownName.
    """
    given = {name: value for name, value in values.items() if name != "seed" or value is not None}
    first = validate(engine, read(given))
    seeds = [(first.seed + n) % 2**32 if "seed" in given else secrets.randbelow(2**32) for n in range(1, count)]
    return [first, *(validate(engine, read({**given, "seed": seed})) for seed in seeds)]


def ask(studio: Studio, submitter: Submitter, engine: str, values: Mapping[str, Any]) -> Job:
    """Enqueue one job of any engine. Raises BadParams, UnknownName, TooManyQueued."""
    check_typed(studio, values.values())
    return enqueue(studio, submitter, new_job(studio, engine, validate_job(engine, dict(values))))


def run_again(studio: Studio, submitter: Submitter, job: Job) -> Job:
    """The same settings, with a new seed where it draws, as a child of that job. Raises as `submit`."""
    if queue.get(studio.db, job.id).hidden:  # by now, and for its owner as well: it would be there again
        raise SourceHidden
    params = validate_job(job.engine, job.params)
    check_sources(studio, params)
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
) -> NewJob:
    """A job with these parameters, not yet queued. source: the id of the artefact it is made from.

    Raises WordRefused.
    """
    check_read(studio, params)
    return unread(studio, engine, params, title=title, parent_id=parent_id, source=source)


def unread(
    studio: Studio,
    engine: str,
    params: JobParams,
    *,
    title: str | None = None,
    parent_id: str | None = None,
    source: str | None = None,
) -> NewJob:
    """The same, whatever its words: for what is asked about a job that nobody has asked for yet."""
    return NewJob(
        engine=engine,
        checkpoint=params.loads[0],
        batch_key=params.batch_key,
        prompt=params.title if title is None else title,
        params=params.model_dump(mode="json"),
        total_steps=max(params.total_steps, 1),
        parent_id=parent_id,
        source_artefact_id=source,
        max_attempts=studio.settings.max_attempts,
        pixels=pixels_of(params),
        budgeted=not isinstance(params, DownloadParams),
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
    """Queue a job. Raises Banned, EngineWithheld, WordRefused, TooManyQueued, TooManyThisHour."""
    return queue.enqueue(
        studio.db, new, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.order
    )


def submit_sheet(studio: Studio, submitter: Submitter, new: NewSheet) -> tuple[Submission, list[Job]]:
    """Queue the jobs of a sheet, all of them or none. Raises as `enqueue`."""
    return submissions.submit(
        studio.db, new, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.order
    )


def starting(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with init=image where a picture to start from was given: that is what giving one means."""
    return {**values, "init": "image"} if values.get("init_image") and "init" in values else dict(values)


def check_sources(studio: Studio, params: JobParams) -> None:
    """Raises UnknownArtefact, SourceHidden where a picture that a job starts from is not there any more.

    A draft is none that a job may name: it may be gone when the job's turn comes.
    """
    for reference in params.sources:
        if drafts.is_draft(sources.key_of(studio.db, studio.store, reference)):
            raise UnknownArtefact(f"A picture this is made from ({reference}) is not kept for jobs; send it again.")
