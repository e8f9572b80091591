"""Sheets: pictures that were asked for together, as far as somebody may see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from db import artefacts, queue
from db.artefacts import Artefact
from db.errors import DbError, NotYours, UnknownArtefact, UnknownJob, UnknownSubmission
from db.jobs import LIVE
from db.sheets import submissions
from db.sheets.submissions import Member, Submission
from studio.access import may_see, owns
from studio.contact_sheet import Cell, contact_sheet, merged_film
from studio.context import Studio, Submitter
from studio.grid import grid_of
from studio.sheet_page import Words, as_page
from studio.sheet_table import as_table


def sheet(studio: Studio, submitter: Submitter, sheet_id: str) -> tuple[Submission, list[Member]]:
    """A sheet and all jobs of it. Raises UnknownSubmission where there is none with a picture that they may see."""
    found = submissions.get(studio.db, sheet_id)
    everyone = submissions.jobs_of(studio.db, sheet_id)
    if not pictures_of(submitter, everyone):
        raise UnknownSubmission(sheet_id)
    return found, everyone


def pictures_of(submitter: Submitter, everyone: Iterable[Member]) -> list[Member]:
    """Those that have a place on the sheet and that they may see."""
    return [member for member in everyone if member.cell is not None and may_see(submitter, member.job)]


def is_live(members: Iterable[Member]) -> bool:
    """Whether one of them waits or runs."""
    return any(member.job.state in LIVE for member in members)


def own_sheets(studio: Studio, submitter: Submitter, *, limit: int) -> list[tuple[Submission, list[str]]]:
    """Their newest sheets with the ids of the jobs on each, but for what the host has hidden."""
    own = submissions.of_submitter(studio.db, submitter.id, limit=limit)
    pictures = submissions.pictures_of_each(studio.db, [one.id for one in own])
    return [(one, pictures[one.id]) for one in own if pictures[one.id]]


def still_theirs(submitter: Submitter, members: Iterable[Member]) -> list[str]:
    """The ids of those jobs that they can still cancel."""
    return [member.job.id for member in members if member.job.state in LIVE and owns(submitter, member.job)]


def cancel_all(studio: Studio, submitter: Submitter, job_ids: Iterable[str]) -> None:
    """Cancel their own jobs. Raises NotYours or UnknownJob where there are others, once all of theirs have ended."""
    first: DbError | None = None
    for job_id in job_ids:
        try:
            queue.request_cancel(studio.db, job_id, submitter=submitter.id)
        except (NotYours, UnknownJob) as error:
            first = first or error
    if first:
        raise first


def columns_of(found: Submission, members: int) -> int:
    """How many pictures stand in a row."""
    columns = found.layout.get("columns")
    return len(columns["values"]) if columns else min(members, 4)


def as_png(
    studio: Studio, submitter: Submitter, sheet_id: str, lines: Mapping[str, str], *, best: str | None = None
) -> bytes:
    """The sheet as one PNG. lines: what stands under each picture, by job; those without are left out. best: the job
    whose picture is marked.

    Raises as `sheet`.
    """
    found, cells = _cells(studio, submitter, sheet_id, lines, ("thumbnail", "picture"), best)
    return contact_sheet(found.prompt, cells, columns_of(found, len(cells)), grid_of(found))


def as_film(
    studio: Studio, submitter: Submitter, sheet_id: str, lines: Mapping[str, str], *, best: str | None = None
) -> bytes:
    """The films of the sheet side by side, as one GIF. The rest as for `as_png`."""
    found, cells = _cells(studio, submitter, sheet_id, lines, ("gif",), best)
    return merged_film(found.prompt, cells, columns_of(found, len(cells)), grid_of(found))


def as_html(
    studio: Studio,
    submitter: Submitter,
    sheet_id: str,
    lines: Mapping[str, str],
    words: Words,
    *,
    best: str | None = None,
) -> bytes:
    """The sheet as one HTML file with its pictures in it. The rest as for `as_png`."""
    found, cells = _cells(studio, submitter, sheet_id, lines, ("picture", "thumbnail"), best)
    return as_page(found.prompt, cells, grid_of(found), words)


def as_csv(studio: Studio, submitter: Submitter, sheet_id: str, address: Callable[[str], str]) -> bytes:
    """The sheet as CSV, a line a picture. address: of a job, by its id. Raises as `sheet`."""
    found, everyone = sheet(studio, submitter, sheet_id)
    return as_table(pictures_of(submitter, everyone), grid_of(found), address)


def _cells(
    studio: Studio,
    submitter: Submitter,
    sheet_id: str,
    lines: Mapping[str, str],
    kinds: tuple[str, ...],
    best: str | None,
) -> tuple[Submission, list[Cell | None]]:
    """The pictures in their order; of a grid one for each of its places, None where there is none to be seen."""
    found, everyone = sheet(studio, submitter, sheet_id)
    members = [member for member in pictures_of(submitter, everyone) if member.job.id in lines]
    files = artefacts.of_jobs(studio.db, [member.job.id for member in members])
    made: dict[int | None, Cell] = {}
    for member in members:
        job_id = member.job.id
        shown = next((files[job_id][kind] for kind in kinds if kind in files[job_id]), None)
        made[member.cell] = Cell(member.label, lines[job_id], _bytes(studio, shown), job_id == best)
    grid = grid_of(found)
    return found, [made.get(cell) for cell in range(grid.cells)] if grid else list(made.values())


def _bytes(studio: Studio, artefact: Artefact | None) -> bytes | None:
    try:
        return None if artefact is None else studio.store.get(artefact.key)
    except UnknownArtefact:
        return None
