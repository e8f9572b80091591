"""Jobs asked for together: queued whole or not at all, served in fair turns, found again with their labels."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from db import queue
from db.engine import connect, reading, upgrade, writing
from db.errors import BadValue, TooManyQueued, UnknownJob, UnknownSubmission
from db.queue import Limits, NewJob
from db.schema import REVISION
from db.sheets import submissions
from db.sheets.submissions import NewSheet
from tests.contract.older import as_of
from tests.contract.queue_steps import add, take


def new(seed: int = 1, **fields: Any) -> NewJob:
    usual: dict[str, Any] = {
        "engine": "vqgan-clip",
        "checkpoint": "mini",
        "batch_key": "vqgan-clip/mini/64x64",
        "prompt": "a red heart",
        "params": {"seed": seed},
        "total_steps": 10,
    }
    return NewJob(**(usual | fields))


def several(count: int, **fields: Any) -> list[tuple[str, NewJob]]:
    return [(f"seed {seed}", new(seed, **fields)) for seed in range(count)]


def ask(db: sa.Engine, wanted: list[tuple[str, NewJob]], submitter: str = "ada", **fields: Any) -> Any:
    limits = Limits(fields.pop("max_queued", None))
    usual: dict[str, Any] = {"kind": "candidates", "prompt": "a red heart", "wanted": wanted}
    return submissions.submit(db, NewSheet(**(usual | fields)), submitter=submitter, limits=limits)


def test_jobs_asked_for_together_are_found_together(database: sa.Engine) -> None:
    layout = {"rows": {"name": "cutn", "values": ["8", "16"]}}
    submission, made = ask(database, several(3), layout=layout)
    add(database)
    assert submissions.get(database, submission.id) == submission
    assert submission.layout == layout
    found = submissions.jobs_of(database, submission.id)
    assert [(m.job.id, m.cell, m.label) for m in found] == [(j.id, i, f"seed {i}") for i, j in enumerate(made)]
    assert submissions.of_jobs(database, [made[1].id, "other"]) == {made[1].id: submission}
    assert submissions.of_submitter(database, "ada") == [submission]
    assert submissions.of_submitter(database, "bob") == []
    assert [job.params["seed"] for job in take(database, limit=3)] == [0, 1, 2], "in the order of the sheet"


def test_a_set_that_does_not_fit_is_refused_whole_and_says_how_many_would(database: sa.Engine) -> None:
    add(database)
    with pytest.raises(TooManyQueued, match=r"These 5 jobs were not queued: 1 of yours .* have 5 .* Ask for 4 or"):
        ask(database, several(5), max_queued=5)
    assert queue.counts(database)["queued"] == 1
    assert submissions.of_submitter(database, "ada") == []
    ask(database, several(4), max_queued=5)
    ask(database, several(4), "bob", max_queued=5)
    assert queue.counts(database)["queued"] == 9


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"total_steps": 0}, BadValue),
        ({"params": {"seed": float("nan")}}, BadValue),
        ({"parent_id": "nobody"}, UnknownJob),
    ],
)
def test_one_bad_job_keeps_the_whole_set_out(database: sa.Engine, change: dict[str, Any], problem: Any) -> None:
    with pytest.raises(problem):
        ask(database, [*several(2), ("bad", new(**change))])
    assert queue.list_jobs(database) == [] and submissions.of_submitter(database, "ada") == []


def test_an_empty_set_and_an_unknown_kind_are_refused(database: sa.Engine) -> None:
    with pytest.raises(BadValue, match="1 to 256 jobs, not 0"):
        ask(database, [])
    with pytest.raises(BadValue, match="permitted: candidates, variations, compare"):
        ask(database, several(1), kind="album")
    with pytest.raises(UnknownSubmission, match="no sheet with the id 'nothing'"):
        submissions.get(database, "nothing")


def test_a_large_set_does_not_keep_other_visitors_waiting(database: sa.Engine) -> None:
    ask(database, several(6))
    other = add(database, "bob")
    served = [take(database)[0] for _ in range(2)]
    assert other.id in [job.id for job in served]


def test_a_ranking_belongs_to_the_set_without_a_place_on_its_sheet(database: sa.Engine) -> None:
    submission, made = ask(database, several(2))
    rank = new(engine="rank", checkpoint="none", batch_key="rank mini", params={})
    asked: dict[str, Any] = {"submitter": "bob", "limits": Limits(max_queued=1)}
    job = submissions.add_about(database, submission.id, rank, label="ranking", **asked)
    found = submissions.jobs_of(database, submission.id)
    assert [(m.job.id, m.cell) for m in found] == [(made[0].id, 0), (made[1].id, 1), (job.id, None)]
    with pytest.raises(TooManyQueued, match="1 jobs waiting"):
        submissions.add_about(database, submission.id, rank, **asked)
    with pytest.raises(UnknownSubmission):
        submissions.add_about(database, "nothing", rank, submitter="eve")


def test_what_was_made_from_a_job_is_found_from_it(database: sa.Engine) -> None:
    parent = add(database)
    _, made = ask(database, several(2, parent_id=parent.id, source_artefact_id="a"), kind="variations")
    upscaled = add(database, "bob", parent_id=made[0].id)
    assert [job.id for job in queue.children(database, parent.id)] == [made[1].id, made[0].id]
    assert queue.children(database, made[0].id) == [upscaled]
    queue.set_hidden(database, upscaled.id)
    assert queue.children(database, made[0].id) == []
    assert {job.source_artefact_id for job in made} == {"a"}


def test_a_database_of_the_first_version_keeps_its_jobs(database_url: str) -> None:
    db = connect(database_url)
    job = add(db)
    with writing(db) as conn:
        as_of(conn, "0001")
        upgrade(conn)
    db.dispose()
    db = connect(database_url)  # as a studio does after a migration: another id is there now
    with reading(db) as conn:
        assert conn.scalar(sa.text("SELECT version_num FROM alembic_version")) == REVISION
    assert queue.list_jobs(db) == [job]
    ask(db, several(2, parent_id=job.id))
    assert len(queue.children(db, job.id)) == 2
    db.dispose()
