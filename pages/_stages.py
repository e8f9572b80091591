"""From what is marked in a row of a refinement to its next row: drawn, varied or enlarged."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from db import queue, refinements
from db.artefacts import Artefact
from db.jobs import Job
from db.refinements import Refinement, Stage
from generator import registry
from generator.params import BadParams
from generator.params.vary import takes_pictures
from pages._submit import MAX_PICTURES, candidates_of, drawing_of, enlarging, variations_of
from pages.shared.engines import offered_engines
from pages.shared.language import N_, _
from pages.shared.studio import Studio

Marked = Sequence[tuple[Job, Artefact]]  # jobs and their finished pictures

DEFAULT_COUNT = 4
COUNTS = (2, 4, 6, 8)
# Skip rates from near to far; see generator.params.vary.
RATES = {
    0.9: N_("very near"),
    0.75: N_("near"),
    0.6: N_("rather near"),
    0.45: N_("between"),
    0.3: N_("rather far"),
    0.15: N_("far"),
    0.0: N_("very far"),
}
DEFAULT_RATE = 0.6


def engines_that_vary() -> list[str]:
    """The engines that can go on from a picture and that the host lets visitors see."""
    offered = offered_engines()
    return [name for name in takes_pictures() if name in offered]


def begin(
    studio: Studio, visitor: str, *, prompt: str, engine: str, checkpoint: str, style: str | None, count: int
) -> Refinement:
    """A refinement with a first row of candidates. Raises BadParams, UnknownName, TooManyQueued."""
    if engine not in takes_pictures():
        raise BadParams(
            _(
                "{engine} cannot start from a picture. Choose one of: {engines}.",
                engine=engine,
                engines=", ".join(takes_pictures()),
            )
        )
    if not prompt.strip():
        raise BadParams(_("There is no prompt yet; write what you want to see."))
    if not 2 <= count <= MAX_PICTURES:
        raise BadParams(_("{count} candidates; 2 to {most} are allowed.", count=count, most=MAX_PICTURES))
    # Enlarging is a step of its own here, for the pictures that are worth it.
    values = {"prompt": prompt, "checkpoint": checkpoint, "seed": None, "upscale": 1}
    if registry.checkpoint_spec(checkpoint).styled:
        values["style"] = style
    wanted = candidates_of(studio, engine, values, count)
    return refinements.start(
        studio.db,
        prompt=wanted[0][1].prompt,
        submitter=visitor,
        wanted=wanted,
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
    )


def vary_marked(
    studio: Studio,
    refinement_id: str,
    source: Stage,
    marked: Marked,
    visitor: str,
    *,
    count: int,
    skip_rate: float,
) -> Stage:
    """A row of `count` variations, shared out evenly among the marked pictures; at least one of each.

    Raises BadParams, UnknownName, TooManyQueued.
    """
    _check_some(marked)
    wanted, engines = [], engines_that_vary() or takes_pictures()  # where there is none, the queue says so
    for number, (job, picture) in enumerate(marked):
        share = max(count // len(marked) + (number < count % len(marked)), 1)
        drawn_by = drawing_of(studio, job).engine
        engine = drawn_by if drawn_by in engines else engines[0]
        wanted += variations_of(studio, job, picture, engine=engine, count=share, skip_rate=skip_rate)
    return refinements.add_stage(
        studio.db,
        refinement_id,
        kind="variations",
        submitter=visitor,
        wanted=wanted,
        layout={"from": source.place, "parents": [job.id for job, _ in marked], "skip_rate": skip_rate},
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
    )


def enlarge_marked(studio: Studio, refinement_id: str, source: Stage, marked: Marked, visitor: str) -> Stage:
    """A row of the marked pictures enlarged; they stay favourites. Raises BadParams, TooManyQueued."""
    _check_some(marked)
    checkpoint = registry.ENGINES["upscale"].checkpoints[0]
    wanted = [
        (
            f"enlarged {registry.CHECKPOINTS[checkpoint].scale} times",
            enlarging(studio, *one, checkpoint=checkpoint),
        )
        for one in marked
    ]
    return refinements.add_stage(
        studio.db,
        refinement_id,
        kind="enlarged",
        submitter=visitor,
        wanted=wanted,
        layout={"from": source.place, "parents": [job.id for job, _ in marked], "checkpoint": checkpoint},
        marked=True,
        max_queued=studio.settings.max_queued_per_submitter,
        max_per_hour=studio.settings.max_per_hour_per_submitter,
    )


def _check_some(marked: Marked) -> None:
    if not marked:
        raise BadParams(_("Nothing is marked in this row that is finished; tap the pictures you like first."))


def packed(studio: Studio, marked: Marked) -> bytes:
    """The pictures' files in one ZIP, but for what the host has hidden by now; they are compressed already."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for job, picture in marked:
            if queue.get(studio.db, job.id).hidden:
                continue
            # A fixed time: the same pictures make the same file.
            name = zipfile.ZipInfo(f"{picture.job_id}.{picture.key.rsplit('.', 1)[-1]}")
            archive.writestr(name, studio.store.get(picture.key))
    return out.getvalue()
