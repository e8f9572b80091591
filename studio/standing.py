"""What stands under a picture of a sheet: its place in a ranking, its score and its time, or how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from characters.brief import Term
from db import artefacts
from db.artefacts import Artefact
from db.errors import UnknownArtefact
from db.jobs import Job, State
from db.sheets.submissions import Member, Submission
from db.wording import duration
from studio.context import Studio

Files = Mapping[str, Mapping[str, Artefact]]  # of jobs, by kind
Read = Callable[[Artefact | None], Mapping[str, Any] | None]  # what a result document says
Places = Mapping[str, tuple[int, float]]  # by job: place from 1, score


@dataclass(frozen=True)
class Seconds:
    """A time that pages tell in the visitor's language."""

    value: float

    def __str__(self) -> str:
        return duration(self.value)


@dataclass(frozen=True)
class Score:
    """A score that pages tell with the visitor's decimal mark."""

    value: float

    def __str__(self) -> str:
        return f"{self.value:.3f}"


# What the times under pictures are, for whoever compares them.
TIMES = Term(
    "Times: what a picture's steps had of the device, as if it had been drawn alone; without loading models, the first "
    "drafts, and making it larger."
)

Piece = tuple[str, Mapping[str, object]]  # an English sentence, which pages translate, and what goes into its {places}


def standing(job: Job, places: Places, *, best: bool = False) -> list[Piece]:
    """The pieces of the line, in their order. best: whether it is what `best_of` says."""
    if job.state == State.QUEUED:
        return [(Term("Waiting"), {})]
    if job.state == State.RUNNING:
        return [(Term("Step {step} of {total}"), {"step": job.step, "total": job.total_steps})]
    if job.state == State.FAILED:
        return [(Term("Failed. {reason}"), {"reason": job.error})]
    if job.state == State.CANCELLED:
        return [(Term("Cancelled"), {})]
    place, score = places.get(job.id, (None, job.score))
    pieces: list[Piece] = [(Term("Best"), {})] if best else []
    pieces += [] if place is None else [(Term("No. {place}"), {"place": place})]
    pieces += [] if score is None else [(Term("score {score}"), {"score": Score(score)})]
    return [*pieces, ("{taken}", {"taken": Seconds(cost(job))})]


def line(job: Job, places: Places, *, best: bool = False) -> str:
    """The whole line in English. best: as for `standing`."""
    return " · ".join(sentence.format(**values) for sentence, values in standing(job, places, best=best))


def best_of(members: Iterable[Member], places: Places) -> str | None:
    """The job whose picture is the best of a comparison: by the newest ranking, else by the scores of those done.

    None where fewer than two can be told apart, and where different CLIP models gave the scores.
    """
    done = [member.job for member in members if member.job.state == State.SUCCEEDED]
    ranked = [job.id for job in done if job.id in places]
    if len(ranked) > 1:
        return min(ranked, key=lambda job_id: places[job_id][0])
    scored = [(job.score, job.id) for job in done if job.score is not None]
    judges = {json.dumps(job.params.get("clip")) for job in done if job.score is not None}
    scores = sorted((score for score, _ in scored), reverse=True)
    if len(judges) != 1 or len(scores) < 2 or scores[0] == scores[1]:
        return None
    return max(scored)[1]


def lines(studio: Studio, found: Submission, everyone: Sequence[Member]) -> tuple[dict[str, str], str | None]:
    """The line of each picture of a sheet, in English, by job, and the job that is the best of a comparison.

    everyone: all jobs of the sheet that may be seen.
    """
    files = artefacts.of_jobs(studio.db, [member.job.id for member in everyone])
    places = ranked_places([member.job for member in rankings_of(everyone)], files, reader(studio))
    members = [member for member in everyone if member.cell is not None]
    best = best_of(members, places) if found.kind == "compare" else None
    return {m.job.id: line(m.job, places, best=m.job.id == best) for m in members}, best


def reader(studio: Studio) -> Read:
    """What reads the result of a job out of its document; None where that is gone."""

    def read(document: Artefact | None) -> dict[str, Any] | None:
        try:
            return None if document is None else result_of(studio.store.get(document.key))
        except UnknownArtefact:
            return None

    return read


def rankings_of(everyone: Iterable[Member]) -> list[Member]:
    """The rankings of a sheet, the newest last."""
    return [member for member in everyone if member.cell is None and member.job.engine == "rank"]


def ranked_places(rankings: Sequence[Job], files: Files, read: Read) -> dict[str, tuple[int, float]]:
    """(place from 1, score) of each job in the newest ranking that is done. read: what a result document says."""
    job_of = {found["picture"].id: job_id for job_id, found in files.items() if "picture" in found}
    for job in reversed(rankings):
        result = read(files[job.id].get("result"))
        if result is not None:
            ranking = [entry for entry in result["ranking"] if entry["picture"] in job_of]
            return {job_of[e["picture"]]: (place, e["score"]) for place, e in enumerate(ranking, start=1)}
    return {}


def result_of(document: bytes) -> dict[str, Any]:
    """What a job that draws nothing has found, from the document that it leaves."""
    found: dict[str, Any] = json.loads(document)["result"]
    return found


def cost(job: Job) -> float:
    """Seconds that its steps had of the device: of one that several shared, its part, as if it had been drawn alone.

    Of jobs that are older than this is counted, how long they were there.
    """
    return job.spent_s or taken(job)


def taken(job: Job) -> float:
    """Seconds from the start of the last attempt to now or the end; 0 where the clock was set back meanwhile."""
    return job.taken_s if job.taken_s is not None else max(time.time() - (job.started_at or job.created_at), 0.0)
