"""Deleting what is one's own: nothing of it is left to be read, and what others made of it stays."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, queue, votes
from db.artefacts import Artefact, Store, givers
from db.engine import connect, reading
from db.errors import LeaseLost, NotYours, SourceHidden, UnknownArtefact, UnknownJob
from db.evening import deleting, erasures
from db.jobs import Job, State
from db.queue import NewJob
from db.schema import metadata
from db.sheets import refinements, submissions
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import add, take

SECRET = "a portrait of my neighbour Erika"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts")


def photo(db: sa.Engine, store: Store, giver: str | None = "ada") -> Artefact:
    return artefacts.save(
        db, store, job_id=None, kind="upload", data=b"photo", media_type="image/png", ext="png", giver=giver
    )


def drawn(db: sa.Engine, store: Store, submitter: str = "ada", **fields: object) -> Job:
    job = add(db, submitter, **fields)
    take(db, limit=1)
    for kind in ("picture", "thumbnail", "gif", "preview", "state"):
        artefacts.save(db, store, job_id=job.id, kind=kind, data=b"x", media_type="image/png", ext="png", held_by="w1")
    return queue.succeed(db, worker_id="w1", job_id=job.id, score=0.5)


def names_in(store: Store) -> list[str]:
    return [name for folder in store.folders() for name in store.names(folder)]


def everything(db: sa.Engine) -> str:
    """All rows of all tables, as text."""
    with db.connect() as conn:
        rows = [dict(r._mapping) for table in metadata.sorted_tables for r in conn.execute(sa.select(table))]
    return json.dumps(rows, default=str)


def test_a_deleted_job_leaves_no_file_no_word_and_no_vote(database: sa.Engine, store: Store) -> None:
    given_picture = photo(database, store)
    params = {"prompt": SECRET, "init_image": given_picture.key}
    job, other = drawn(database, store, prompt=SECRET, params=params), drawn(database, store, "bob")
    child = drawn(database, store, "bob", parent_id=job.id)
    votes.cast(database, voter="eve", left_id=job.id, right_id=other.id, choice="left")
    votes.cast(database, voter="eve", left_id=child.id, right_id=other.id, choice="left")
    (Path(store.local_path(f"jobs/{job.id}/picture.png") or "").parent / ".half.part").write_bytes(b"half")
    gone = deleting.delete_job(database, store, job.id, "ada")
    assert (gone.files, gone.votes) == (7, 1), "five files, one that was never finished, and the photo"
    assert not [name for name in names_in(store) if job.id in name or given_picture.id in name]
    left = everything(database)
    assert SECRET not in left and SECRET.casefold() not in left and given_picture.id not in left
    assert len(artefacts.of_job(database, child.id)) == 5 and queue.get(database, child.id).parent_id == job.id
    assert votes.tallies(database, [other.id])[other.id].losses == 1, "the vote on what was made from it counts"
    assert queue.list_jobs(database, include_hidden=True) == [child, other] and not queue.list_jobs(
        database, only_hidden=True
    )
    with pytest.raises(UnknownJob):
        queue.set_hidden(database, job.id, hidden=False)
    with pytest.raises(SourceHidden):
        add(database, "bob", parent_id=job.id)
    assert deleting.delete_job(database, store, job.id, "ada").files == 0, "again: nothing to do"


def test_only_whoever_asked_for_it_may(database: sa.Engine, store: Store) -> None:
    job = drawn(database, store)
    with pytest.raises(NotYours):
        deleting.delete_job(database, store, job.id, "bob")
    with pytest.raises(UnknownJob):
        deleting.delete_job(database, store, "0" * 26)
    assert queue.get(database, job.id) == job and len(names_in(store)) == 5


def test_a_picture_that_another_job_was_made_from_stays_until_that_is_deleted(
    database: sa.Engine, store: Store
) -> None:
    for giver in ("ada", None):
        picture = photo(database, store, giver)
        one, two = (drawn(database, store, params={"init_image": name}) for name in (picture.key, picture.id))
        deleting.delete_job(database, store, one.id, "ada")
        assert artefacts.get(database, picture.id) and store.get(picture.key)
        deleting.delete_job(database, store, two.id, "ada")
        with pytest.raises(UnknownArtefact):
            store.get(picture.key)


def test_a_job_that_names_somebody_elses_picture_does_not_delete_it(database: sa.Engine, store: Store) -> None:
    theirs = photo(database, store, "bob")
    job = drawn(database, store, params={"init_image": theirs.key})
    deleting.delete_job(database, store, job.id, "ada")
    assert store.get(theirs.key) == b"photo"


def test_a_waiting_job_ends_and_a_running_one_is_taken_from_its_executor(database: sa.Engine, store: Store) -> None:
    running = add(database)
    take(database, limit=1)
    waiting = add(database)
    held = {"job_id": running.id, "data": b"x", "media_type": "image/png", "ext": "png", "held_by": "w1"}
    artefacts.save(database, store, kind="preview", **held)  # type: ignore[arg-type]
    for job in (running, waiting):
        deleting.delete_job(database, store, job.id, "ada")
        assert queue.get(database, job.id).state == State.CANCELLED
    with pytest.raises(LeaseLost):
        artefacts.save(database, store, kind="picture", **held)  # type: ignore[arg-type]
    with pytest.raises(LeaseLost):
        queue.succeed(database, worker_id="w1", job_id=running.id)
    assert names_in(store) == [] and take(database) == []
    assert {one.job_id for one in erasures.since(database, None)} == {running.id, waiting.id}


def test_what_is_put_while_a_job_is_deleted_is_removed_again(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add(database)
    take(database)
    put = store.put

    def deleted_meanwhile(key: str, data: bytes) -> None:
        deleting.delete_job(database, store, job.id, "ada")
        put(key, data)

    monkeypatch.setattr(store, "put", deleted_meanwhile)
    with pytest.raises(LeaseLost):
        artefacts.save(
            database, store, job_id=job.id, kind="picture", data=b"x", media_type="a/b", ext="png", held_by="w1"
        )
    assert names_in(store) == []


def test_a_deletion_that_was_cut_short_is_finished_by_whoever_comes_by(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = drawn(database, store)
    monkeypatch.setattr(store, "remove", lambda names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deleting.delete_job(database, store, job.id, "ada")
    monkeypatch.undo()
    assert len(names_in(store)) == 5 and queue.list_jobs(database) == []
    assert deleting.finish(database, store) == 5 and names_in(store) == []
    assert artefacts.of_job(database, job.id) == {}


def test_a_given_picture_that_is_deleted_takes_running_jobs_with_it_and_leaves_what_was_made(
    database: sa.Engine, store: Store
) -> None:
    picture = photo(database, store)
    made = drawn(database, store, params={"init_image": picture.key})
    running = add(database, "ada", params={"init_image": picture.id})
    take(database, limit=1)
    unconcerned = add(database, "bob")
    take(database, limit=1)
    deleting.delete_given(database, store, picture)
    failed = queue.get(database, running.id)
    assert (failed.state, failed.error) == (State.FAILED, deleting.SOURCE_DELETED)
    assert queue.get(database, unconcerned.id).state == State.RUNNING
    assert len(artefacts.of_job(database, made.id)) == 5
    with pytest.raises(UnknownArtefact):
        store.get(picture.key)
    assert givers.of_giver(database, "ada", limit=9) == []


def test_a_sheet_bears_the_gap_and_forgets_its_words_with_its_last_picture(database: sa.Engine, store: Store) -> None:
    new = NewJob(engine="e", checkpoint="c", batch_key="b", prompt=SECRET, params={"prompt": SECRET}, total_steps=1)
    two = NewSheet(kind="candidates", prompt=SECRET, wanted=[("1", new), ("2", new)])
    begun = refinements.start(database, two, submitter="ada")
    (row,) = refinements.stages_of(database, begun.id)
    one, other = (member.job for member in submissions.jobs_of(database, row.submission.id))
    refinements.mark(database, begun.id, one.id, True)
    deleting.delete_job(database, store, one.id, "ada")
    assert submissions.pictures_of_each(database, [row.submission.id]) == {row.submission.id: [other.id]}
    assert refinements.marks_of(database, begun.id) == set() and refinements.get(database, begun.id).prompt == SECRET
    assert refinements.get(database, begun.id).version > begun.version, "a page that shows it draws it anew"
    deleting.delete_job(database, store, other.id, "ada")
    assert SECRET not in everything(database)


def test_the_words_of_a_sheet_are_not_left_in_its_rankings(database: sa.Engine, store: Store) -> None:
    new = NewJob(engine="e", checkpoint="c", batch_key="b", prompt=SECRET, params={"prompt": SECRET}, total_steps=1)
    one, _ = submissions.submit(
        database, NewSheet(kind="candidates", prompt=SECRET, wanted=[("1", new)]), submitter="ada"
    )
    ranking = submissions.add_about(database, one.id, replace(new, engine="rank"), submitter="bob", label="ranking")
    (member,) = [m for m in submissions.jobs_of(database, one.id) if m.cell is not None]
    artefacts.save(database, store, job_id=ranking.id, kind="result", data=b"x", media_type="a/b", ext="json")
    deleting.delete_job(database, store, member.job.id, "ada")
    assert SECRET not in everything(database) and names_in(store) == []
    assert queue.get(database, ranking.id).state == State.CANCELLED


def test_deleted_words_are_not_to_be_read_in_the_databases_files(tmp_path: Path, store: Store) -> None:
    db = connect(f"sqlite:///{tmp_path}/queue/jobs.db")
    try:
        job = drawn(db, store, prompt=SECRET, params={"prompt": SECRET})
        deleting.delete_job(db, store, job.id, "ada")
        found = [file.name for file in (tmp_path / "queue").iterdir() if SECRET.encode() in file.read_bytes()]
        assert found == []
    finally:
        db.dispose()


def test_nobody_waits_for_somebody_who_reads_the_database(tmp_path: Path, store: Store) -> None:
    db = connect(f"sqlite:///{tmp_path}/queue/jobs.db")
    try:
        job = drawn(db, store, prompt=SECRET)
        with reading(db) as conn:
            conn.execute(sa.select(sa.func.count()).select_from(metadata.tables["jobs"]))
            began = time.monotonic()
            deleting.delete_job(db, store, job.id, "ada")
            assert time.monotonic() - began < 2
        deleting.finish(db, store)
        found = [file.name for file in (tmp_path / "queue").iterdir() if SECRET.encode() in file.read_bytes()]
        assert found == [], "whoever comes by next has seen to it"
    finally:
        db.dispose()


def test_deleted_jobs_count_among_those_asked_for_in_an_hour(database: sa.Engine, store: Store) -> None:
    job = drawn(database, store)
    deleting.delete_job(database, store, job.id, "ada")
    with pytest.raises(Exception, match="in the last hour"):
        queue.enqueue(
            database,
            NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1),
            submitter="ada",
            limits=queue.Limits(max_per_hour=1),
        )
