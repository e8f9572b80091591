"""Refinements: from what is marked in a row to its next row, drawn, varied or upscaled."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from characters.seen import as_seen
from db import artefacts, queue
from db.artefacts import Artefact
from db.errors import DatabaseUnavailable, DbError, UnknownRefinement
from db.jobs import Job, State
from db.queue import NewJob
from db.sheets import refinements, submissions
from db.sheets.refinements import Refinement, Stage
from db.sheets.submissions import Member, NewSheet
from generator import registry
from generator.params import BadParams
from generator.params.vary import COUNT, SKIP_RATE, takes_pictures
from generator.wording import style_named
from studio.access import may_see
from studio.context import Studio, Submitter
from studio.errors import BadWish
from studio.file_names import file_name
from studio.limits import check_admitted
from studio.rank import rank
from studio.room import check_room
from studio.sheets import is_live, pictures_of
from studio.submit import MAX_PICTURES, Wish, candidates_of, typed
from studio.upscale import upscaling
from studio.vary import engine_for, variations_of

Marked = Sequence[tuple[Job, Artefact]]  # jobs and their finished pictures


def begin(
    studio: Studio,
    submitter: Submitter,
    *,
    prompt: str,
    engine: str,
    checkpoint: str,
    style: str | None,
    count: int,
) -> Refinement:
    """A refinement with a first row of candidates. style: None for any, or for the one that the prompt names.

    Raises BadParams, UnknownName, TooManyQueued.
    """
    check_admitted(studio, submitter)
    if engine not in takes_pictures():
        raise BadWish(
            "{engine} cannot start from a picture. Choose one of: {engines}.",
            engine=engine,
            engines=", ".join(takes_pictures()),
        )
    if not as_seen(prompt).strip():
        raise BadWish("There is no prompt yet; write what you want to see.")
    if not 2 <= count <= MAX_PICTURES:
        raise BadWish("{count} candidates; 2 to {most} are allowed.", count=count, most=MAX_PICTURES)
    # As large as Generate makes them: upscaling those that are worth it goes beyond that.
    values = {"prompt": prompt, "checkpoint": checkpoint, "seed": None}
    if registry.checkpoint(checkpoint).styled and (style is not None or style_named(prompt) is None):
        values["style"] = style
    wanted = candidates_of(studio, submitter, Wish(engine, values, count))
    row = NewSheet(kind="candidates", prompt=typed(wanted[0][1]), wanted=wanted)
    check_room(studio)
    return refinements.start(
        studio.db, row, submitter=submitter.id, limits=studio.limits_of(submitter), order=submitter.request
    )


def refinement(
    studio: Studio, submitter: Submitter, refinement_id: str
) -> tuple[Refinement, list[tuple[Stage, list[Member]]]]:
    """A refinement and its rows, each with all jobs of it.

    Raises UnknownRefinement where there is none with a picture that they may see: then its prompt is hidden as well.
    """
    found = refinements.get(studio.db, refinement_id)
    stages = refinements.stages_of(studio.db, found.id)
    rows = [(stage, submissions.jobs_of(studio.db, stage.submission.id)) for stage in stages]
    if not any(pictures_of(submitter, everyone) for _, everyone in rows):
        raise UnknownRefinement(refinement_id)
    return found, rows


def own_refinements(studio: Studio, submitter: Submitter, *, limit: int) -> list[tuple[Refinement, list[list[str]]]]:
    """Their newest refinements, each with the ids of the jobs in its rows, but for what the host has hidden."""
    own = refinements.of_submitter(studio.db, submitter.id, limit=limit)
    rows = refinements.rows_of_each(studio.db, [found.id for found in own])
    pictures = submissions.pictures_of_each(studio.db, [one for ids in rows.values() for one in ids])
    listed = [(found, [pictures[submission_id] for submission_id in rows[found.id]]) for found in own]
    return [(found, shown) for found, shown in listed if any(shown)]


def row_of(studio: Studio, found: Refinement, stage: Stage) -> list[Member]:
    """All jobs of a row as they are now; one that is done is ranked, once where nothing goes wrong."""
    everyone = submissions.jobs_of(studio.db, stage.submission.id)
    # In the name of who began: whoever looks first, it counts against the same visitor's queue.
    owner = Submitter(found.submitter, admitted=True)
    done = [m.job.id for m in pictures_of(owner, everyone) if m.job.state == State.SUCCEEDED]
    if stage.submission.kind == "enlarged" or is_live(everyone) or len(done) < 2:
        return everyone
    if not submissions.to_be_tried([member.job for member in everyone if member.cell is None], time.time()):
        return everyone
    files = artefacts.of_jobs(studio.db, done)
    pictures = [one["picture"].id for one in files.values() if "picture" in one]
    try:
        clip = registry.RANKING
        rank(studio, owner, stage.submission, pictures, prompt=found.prompt, clip=clip, once=True)
    except DatabaseUnavailable:
        raise
    except (DbError, BadParams):  # no room, a limit, a rule of the host's: the row is there all the same
        return everyone
    return submissions.jobs_of(studio.db, stage.submission.id)


def mark(studio: Studio, refinement_id: str, job_id: str, marked: bool) -> int:
    """Mark a picture, or take the mark away; the refinement's version then. Whoever has its id may.

    Raises UnknownRefinement, UnknownJob.
    """
    return refinements.mark(studio.db, refinement_id, job_id, marked)


def set_up(studio: Studio, refinement_id: str, submission_id: str, settings: Mapping[str, Any]) -> int:
    """Change what the next step of a row is set to; the refinement's version then. Whoever has its id may.

    Raises UnknownRefinement, UnknownSubmission.
    """
    return refinements.set_up(studio.db, refinement_id, submission_id, **settings)


def vary_marked(
    studio: Studio,
    submitter: Submitter,
    refinement_id: str,
    source: Stage,
    marked: Marked,
    *,
    count: int = COUNT,
    skip_rate: float = SKIP_RATE,
) -> Stage:
    """A row of `count` variations, shared out evenly among the marked pictures; at least one of each.

    Raises BadParams, UnknownName, TooManyQueued.
    """
    check_admitted(studio, submitter)
    _check_some(marked)
    wanted: list[tuple[str, NewJob]] = []
    for number, (job, picture) in enumerate(marked):
        share = max(count // len(marked) + (number < count % len(marked)), 1)
        engine = engine_for(studio, job)
        wanted += variations_of(studio, submitter, job, picture, engine=engine, count=share, skip_rate=skip_rate)
    layout = {"from": source.place, "parents": [job.id for job, _ in marked], "skip_rate": skip_rate}
    row = NewSheet(kind="variations", wanted=wanted, layout=layout)
    check_room(studio)
    return refinements.add_stage(
        studio.db,
        refinement_id,
        row,
        submitter=submitter.id,
        limits=studio.limits_of(submitter),
        order=submitter.request,
    )


def upscale_marked(studio: Studio, submitter: Submitter, refinement_id: str, source: Stage, marked: Marked) -> Stage:
    """A row of the marked pictures upscaled; they stay favourites. Raises BadParams, TooManyQueued."""
    check_admitted(studio, submitter)
    _check_some(marked)
    checkpoint = registry.ENGINES["upscale"].checkpoints[0]
    label = f"upscaled {registry.CHECKPOINTS[checkpoint].scale} times"
    wanted = [(label, upscaling(studio, submitter, *one, checkpoint=checkpoint)) for one in marked]
    layout = {"from": source.place, "parents": [job.id for job, _ in marked], "checkpoint": checkpoint}
    row = NewSheet(kind="enlarged", wanted=wanted, layout=layout)
    check_room(studio)
    return refinements.add_stage(
        studio.db,
        refinement_id,
        row,
        submitter=submitter.id,
        marked=True,
        limits=studio.limits_of(submitter),
        order=submitter.request,
    )


def _check_some(marked: Marked) -> None:
    if not marked:
        raise BadWish("Nothing is marked in this row that is finished; tap the pictures you like first.")


def packed(studio: Studio, submitter: Submitter, marked: Marked) -> bytes:
    """The pictures' files in one ZIP, but for what the host has hidden by now; they are compressed already."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for job, picture in marked:
            if not may_see(submitter, queue.get(studio.db, job.id)):
                continue
            # A fixed time: the same pictures make the same file.
            name = zipfile.ZipInfo(f"{len(archive.namelist()) + 1}_{file_name(job, picture)}")
            archive.writestr(name, studio.store.get(picture.key))
    return out.getvalue()
