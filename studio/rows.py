"""A row of a refinement as it is shown: its pictures in their order, what is finished and what is marked."""

from __future__ import annotations

from dataclasses import dataclass

from db import artefacts
from db.artefacts import Artefact
from db.jobs import Job, State
from db.sheets import refinements
from db.sheets.refinements import Refinement, Stage
from db.sheets.submissions import Member
from studio.context import Studio, Submitter
from studio.refine import Marked
from studio.sheets import pictures_of
from studio.standing import Files, Places, Read, ranked_places, rankings_of, reader


@dataclass(frozen=True)
class Row:
    """A row as it is drawn: its pictures in their order, the rankings about it, what is finished and what is marked."""

    stage: Stage
    members: list[Member]
    rankings: list[Job]
    files: Files
    places: Places
    marks: set[str]

    @property
    def pictures(self) -> dict[str, Artefact]:
        """The finished pictures, by job."""
        done = (member.job.id for member in self.members if member.job.state == State.SUCCEEDED)
        return {job_id: self.files[job_id]["picture"] for job_id in done}

    @property
    def marked(self) -> Marked:
        """Those of them that are marked, with their jobs."""
        return self.chosen(self.marks)

    def chosen(self, job_ids: set[str]) -> Marked:
        """The finished ones of these jobs, with their pictures."""
        found = self.pictures
        return [(m.job, found[m.job.id]) for m in self.members if m.job.id in job_ids and m.job.id in found]


def row(
    studio: Studio,
    submitter: Submitter,
    found: Refinement,
    stage: Stage,
    everyone: list[Member],
    files: Files | None = None,
    read: Read | None = None,
) -> Row:
    """The row as they may see it, the best first where it is ranked.

    everyone: all jobs of it. files, read: those a page has at hand already, and what reads a result document.
    """
    if files is None:
        files = artefacts.of_jobs(studio.db, [member.job.id for member in everyone])
    rankings = [member.job for member in rankings_of(everyone)]
    places, drawn = ranked_places(rankings, files, read or reader(studio)), pictures_of(submitter, everyone)
    members = sorted(drawn, key=lambda member: places.get(member.job.id, (len(drawn), 0.0))[0])
    return Row(stage, members, rankings, files, places, refinements.marks_of(studio.db, found.id))
