"""Refinements: rows of pictures, marks and settings that every device with the id finds again."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.errors import BadValue, TooManyQueued, UnknownJob, UnknownRefinement, UnknownSubmission
from db.jobs import Job
from db.queue import Limits
from db.sheets import refinements, submissions
from db.sheets.refinements import MAX_STAGES, Refinement
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import add
from tests.contract.test_submissions import new, several


def row_of(count: int, kind: str = "candidates", **fields: Any) -> NewSheet:
    return NewSheet(kind=kind, wanted=several(count), **fields)


def start(db: sa.Engine, count: int = 3) -> tuple[Refinement, list[Job]]:
    made = refinements.start(db, row_of(count, prompt="a red heart"), submitter="ada")
    (row,) = refinements.stages_of(db, made.id)
    return made, [member.job for member in submissions.jobs_of(db, row.submission.id)]


def test_rows_marks_and_settings_are_found_again_by_the_id(database: sa.Engine) -> None:
    made, first = start(database)
    refinements.mark(database, made.id, first[0].id, True)
    refinements.mark(database, made.id, first[2].id, True)
    refinements.mark(database, made.id, first[2].id, False)
    varied = row_of(2, "variations", layout={"skip_rate": 0.5, "from": 1})
    row = refinements.add_stage(database, made.id, varied, submitter="bob")
    upscaled = row_of(1, "enlarged", layout={"from": 2})
    larger = refinements.add_stage(database, made.id, upscaled, submitter="ada", marked=True)
    refinements.set_up(database, made.id, row.submission.id, skip_rate=0.9)
    refinements.set_up(database, made.id, row.submission.id, count=6)

    found = refinements.stages_of(database, made.id)
    assert [(s.place, s.submission.kind, s.submission.prompt) for s in found] == [
        (1, "candidates", "a red heart"),
        (2, "variations", "a red heart"),
        (3, "enlarged", "a red heart"),
    ]
    assert [s.settings for s in found] == [{}, {"skip_rate": 0.9, "count": 6}, {}]
    assert refinements.settings_of(database, row.submission.id) == {"skip_rate": 0.9, "count": 6}
    upscaled = submissions.jobs_of(database, larger.submission.id)[0].job
    assert refinements.marks_of(database, made.id) == {first[0].id, upscaled.id}
    assert refinements.get(database, made.id).version == 8, "every change is counted"
    assert [one.id for one in refinements.of_submitter(database, "ada")] == [made.id]
    assert refinements.of_submitter(database, "bob") == []


def test_a_list_of_refinements_is_read_in_two_queries_however_long_it_is(database: sa.Engine) -> None:
    made = [start(database, count)[0].id for count in (2, 3, 1, 4)]
    refinements.add_stage(database, made[1], row_of(2, "variations"), submitter="ada")
    asked: list[str] = []

    def note(_conn: sa.Connection, _cursor: object, text: str, *_: object) -> None:
        asked.append(text)

    sa.event.listen(database, "before_cursor_execute", note)
    rows = refinements.rows_of_each(database, made)
    pictures = submissions.pictures_of_each(database, [one for ids in rows.values() for one in ids])
    sa.event.remove(database, "before_cursor_execute", note)
    assert len([text for text in asked if text.startswith("SELECT")]) == 2
    assert [[len(pictures[one]) for one in rows[found]] for found in made] == [[2], [3, 2], [1], [4]]


def test_what_is_hidden_or_about_a_sheet_is_no_picture_of_it(database: sa.Engine) -> None:
    made, first = start(database, 3)
    (row,) = refinements.stages_of(database, made.id)
    submissions.add_about(database, row.submission.id, new(engine="rank"), submitter="ada")
    queue.set_hidden(database, first[0].id, True)
    there = submissions.pictures_of_each(database, [row.submission.id, "nothing"])
    assert there == {row.submission.id: [first[1].id, first[2].id], "nothing": []}


def test_only_pictures_and_rows_of_the_refinement_can_be_changed_from_it(database: sa.Engine) -> None:
    made, _ = start(database)
    other, others = start(database)
    (row,) = refinements.stages_of(database, other.id)
    for job_id in (others[0].id, add(database).id, "nothing"):
        with pytest.raises(UnknownJob):
            refinements.mark(database, made.id, job_id, True)
    with pytest.raises(UnknownSubmission):
        refinements.set_up(database, made.id, row.submission.id, count=1)
    for change in (lambda i: refinements.mark(database, i, others[0].id, True), lambda i: refinements.get(database, i)):
        with pytest.raises(UnknownRefinement, match="no refinement with the id 'guessed'"):
            change("guessed")
    assert refinements.marks_of(database, made.id) == set() == refinements.marks_of(database, other.id)
    assert refinements.get(database, made.id).version == 1, "what was refused has changed nothing"


def test_a_row_that_does_not_fit_is_not_added(database: sa.Engine) -> None:
    made, _ = start(database)
    with pytest.raises(TooManyQueued):
        refinements.add_stage(database, made.id, row_of(4, "variations"), submitter="ada", limits=Limits(5))
    with pytest.raises(TooManyQueued):
        refinements.start(database, row_of(4, prompt="x"), submitter="ada", limits=Limits(5))
    assert len(refinements.stages_of(database, made.id)) == 1 == len(refinements.of_submitter(database, "ada"))
    assert len(queue.list_jobs(database)) == 3
    for _ in range(MAX_STAGES - 1):
        refinements.add_stage(database, made.id, row_of(1, "enlarged"), submitter="ada")
    with pytest.raises(BadValue, match="at most 24 rows; start a new one"):
        refinements.add_stage(database, made.id, row_of(1, "enlarged"), submitter="ada")


def test_a_set_is_ranked_once_however_many_look_at_it(database: sa.Engine) -> None:
    sheet, _ = submissions.submit(database, row_of(2, prompt="x"), submitter="ada")
    asked = [
        submissions.add_about(database, sheet.id, new(engine="rank"), submitter=who, label="ranking", once=True)
        for who in ("ada", "bob")
    ]
    again = submissions.add_about(database, sheet.id, new(engine="rank"), submitter="ada", label="ranking")
    assert asked[0].id == asked[1].id != again.id
    assert len(submissions.jobs_of(database, sheet.id)) == 4
