"""Pictures that were given, over both databases: within quotas, for good only where a job names them, swept else."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from db import artefacts, queue
from db.artefacts import Store, drafts, given, sweeping
from db.artefacts.given import BLOCK, Picture, Quota
from db.engine import clock, writing
from db.errors import StoreFull, TooManyBytesGiven, TooManyQueued, UnknownArtefact
from db.jobs import new_id
from db.queue import NewJob
from db.schema import artefacts as table

PNG = bytes(10_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts")


def picture(size: int = 10_000) -> Picture:
    made = new_id()
    return Picture(made, "upload", artefacts.upload_key(made), bytes(size), 8, 8)


def give(database: sa.Engine, store: Store, giver: str = "ada", size: int = 10_000, **more: Any) -> str:
    return given.save(database, store, [picture(size)], giver=giver, **more)[0].id


def job_of(*sources: str) -> NewJob:
    return NewJob(
        engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1, sources=tuple(sources)
    )


def files(store: Store) -> list[str]:
    return sorted(key for folder in ("uploads", "drafts") for key, _ in store.listed(folder))


def pass_time(database: sa.Engine, by_s: float) -> None:
    with writing(database) as conn:
        conn.execute(sa.update(table).values(due_at=table.c.due_at - by_s))


def test_who_gave_a_picture_and_from_where_is_kept_with_it(database: sa.Engine, store: Store) -> None:
    kept = artefacts.get(database, give(database, store, address="a" * 64))
    assert (kept.giver, kept.address, kept.kind, kept.size) == ("ada", "a" * 64, "upload", 10_000)
    draft = drafts.save(database, store, "ada", PNG, width=1, height=1, address="b")
    assert (draft.giver, draft.address) == ("ada", "b")


@pytest.mark.parametrize(
    ("quota", "who", "sentence"),
    [
        (Quota(per_giver=25_000), {"giver": "ada"}, r"Your pictures take 0\.0 MB here, and 0\.0 MB are allowed"),
        (Quota(per_address=25_000), {"giver": "bob", "address": "home"}, "Pictures from your address take"),
        (Quota(in_all=25_000), {"giver": "eve", "address": "afar"}, "All pictures that visitors have given take"),
    ],
)
def test_pictures_beyond_a_quota_are_not_kept(
    database: sa.Engine, store: Store, quota: Quota, who: dict[str, str], sentence: str
) -> None:
    for _ in range(2):
        give(database, store, "ada", address="home")
    before = files(store)
    with pytest.raises(TooManyBytesGiven, match=sentence):
        give(database, store, quota=quota, **who)
    assert files(store) == before
    for other in ({"giver": "x"}, {"giver": "x", "address": "y"}):
        if quota.in_all is None:
            give(database, store, quota=quota, **other)


def test_the_smallest_file_counts_as_a_block(database: sa.Engine, store: Store) -> None:
    quota = Quota(per_giver=3 * BLOCK)
    for _ in range(3):
        give(database, store, size=70, quota=quota)
    with pytest.raises(TooManyBytesGiven):
        give(database, store, size=70, quota=quota)


def test_who_gives_many_at_once_stays_within_the_quota(database: sa.Engine, store: Store) -> None:
    quota, refused = Quota(in_all=35_000), []

    def one(giver: str) -> None:
        try:
            give(database, store, giver, quota=quota)
        except TooManyBytesGiven:
            refused.append(giver)

    threads = [threading.Thread(target=one, args=(f"visitor-{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 5 and len(files(store)) == 3


def test_what_no_job_names_in_time_is_swept_and_what_one_names_stays(database: sa.Engine, store: Store) -> None:
    named, left = give(database, store), give(database, store)
    draft = drafts.save(database, store, "ada", PNG, width=1, height=1)
    queue.enqueue(database, job_of(artefacts.upload_key(named)), submitter="ada")
    assert sweeping.sweep(database, store).due == 0
    pass_time(database, given.PENDING_S + 1)
    assert sweeping.sweep(database, store).due == 1
    assert artefacts.get(database, named).due_at is None and store.exists(artefacts.upload_key(named))
    with pytest.raises(UnknownArtefact):
        artefacts.get(database, left)
    assert files(store) == sorted([artefacts.upload_key(named), draft.key])
    pass_time(database, drafts.KEPT_S)
    assert sweeping.sweep(database, store).due == 1 and files(store) == [artefacts.upload_key(named)]


def test_a_job_is_not_queued_with_a_picture_that_was_swept(database: sa.Engine, store: Store) -> None:
    for name in (str, artefacts.upload_key):
        gone = give(database, store)
        pass_time(database, given.PENDING_S + 1)
        sweeping.sweep(database, store)
        with pytest.raises(UnknownArtefact, match="is not there any more; give it again"):
            queue.enqueue(database, job_of(name(gone)), submitter="ada")
    assert queue.queued_jobs(database, limit=9) == []


def test_asking_whether_jobs_would_be_refused_queues_nothing(database: sa.Engine) -> None:
    limits = queue.Limits(max_queued=2)
    queue.check(database, [job_of(), job_of("uploads/none.png")], submitter="ada", limits=limits)
    assert queue.queued_jobs(database, limit=9) == []
    with pytest.raises(TooManyQueued):
        queue.check(database, [job_of()] * 3, submitter="ada", limits=limits)


def test_a_store_that_fails_leaves_no_rows(database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put, done = store.put, []

    def fails(key: str, data: bytes) -> None:
        if done:
            raise StoreFull("No space is left.")
        put(key, data)
        done.append(key)

    monkeypatch.setattr(store, "put", fails)
    two = [picture(), picture()]
    with pytest.raises(StoreFull):
        given.save(database, store, two, giver="ada")
    assert files(store) == []
    for one in two:
        with pytest.raises(UnknownArtefact):
            artefacts.get(database, one.id)


def test_files_that_no_row_tells_of_are_swept_when_they_are_old(database: sa.Engine, store: Store) -> None:
    kept, stray, young = give(database, store), "uploads/0123456789.png", "drafts/0123456789abcdef/77.png"
    for key in (stray, young):
        store.put(key, PNG)
    part = store.local_path(stray)
    assert part is not None
    part = part.with_name(".upload-x.part")  # a web app that was killed while it wrote
    part.write_bytes(PNG)
    old = part.stat().st_mtime - sweeping.STRAY_S - 60
    for path in (store.local_path(stray), part, store.local_path(artefacts.upload_key(kept))):
        assert path is not None
        os.utime(path, (old, old))
    assert sweeping.sweep(database, store).strays == 2
    assert files(store) == sorted([artefacts.upload_key(kept), young])


def test_a_store_that_another_studio_uses_as_well_keeps_its_files(database: sa.Engine, store: Store) -> None:
    store.put("uploads/theirs.png", PNG)
    store.put(f"jobs/{new_id()}/picture.png", PNG)
    path = store.local_path("uploads/theirs.png")
    assert path is not None
    os.utime(path, (1.0, 1.0))
    assert sweeping.sweep(database, store).strays == 0 and store.exists("uploads/theirs.png")


def test_a_sweep_and_a_wish_at_the_same_time_end_well_for_one_of_them(database: sa.Engine, store: Store) -> None:
    """Whoever is first: the job has its picture, or it was refused; no job is queued whose picture is gone."""
    for _ in range(12):
        one, ended = give(database, store), []
        with writing(database) as conn:
            conn.execute(sa.update(table).where(table.c.id == one).values(due_at=clock(conn) - 1))

        def ask(one: str = one, ended: list[str] = ended) -> None:
            try:
                ended.append(queue.enqueue(database, job_of(artefacts.upload_key(one)), submitter="ada").id)
            except UnknownArtefact:
                ended.append("refused")

        threads = [threading.Thread(target=ask), threading.Thread(target=sweeping.sweep, args=(database, store))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (ended == ["refused"]) != store.exists(artefacts.upload_key(one))
