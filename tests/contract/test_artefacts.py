"""Files are stored whole under safe keys, recorded once per kind, and a store that fails says so in a sentence."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, queue, schema
from db.artefacts import Store, drafts
from db.engine import writing
from db.errors import BadValue, LeaseLost, StoreFull, StoreUnavailable, UnknownArtefact
from db.schema import jobs
from tests.contract.queue_steps import add, take


@pytest.fixture(params=["folder", "elsewhere"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(f"file://{tmp_path}/artefacts")
    return Store(f"memory://{tmp_path.name}")


def test_bytes_come_back_under_their_key(store: Store) -> None:
    assert not store.exists("jobs/1/picture.png")
    store.put("jobs/1/picture.png", b"one")
    store.put("jobs/1/picture.png", b"two")
    assert store.exists("jobs/1/picture.png")
    assert store.get("jobs/1/picture.png") == b"two"
    assert store.url("jobs/1/picture.png").endswith("/jobs/1/picture.png")
    store.delete("jobs/1/picture.png")
    store.delete("jobs/1/picture.png")
    with pytest.raises(UnknownArtefact, match=r"jobs/1/picture\.png"):
        store.get("jobs/1/picture.png")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../x", "a//b", "a/", ".hidden", "a\\b", "a b", "a\n", "~/x", "x" * 256]
)
def test_a_key_that_could_leave_the_store_is_refused(store: Store, key: str) -> None:
    for call in (store.get, store.exists, store.delete, store.url, store.local_path):
        with pytest.raises(BadValue, match="no artefact key"):
            call(key)
    with pytest.raises(BadValue, match="no artefact key"):
        store.put(key, b"x")


def test_a_local_file_has_a_path_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/artefacts")
    store.put("jobs/1/gif.gif", b"gif")
    path = store.local_path("jobs/1/gif.gif")
    assert path == tmp_path / "artefacts/jobs/1/gif.gif"
    assert path.read_bytes() == b"gif"
    assert [p.name for p in path.parent.iterdir()] == ["gif.gif"]
    assert Store("memory://x").local_path("jobs/1/gif.gif") is None


def test_a_relative_store_is_where_the_studio_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("file://data/artefacts")
    store.put("uploads/1.png", b"x")
    assert (tmp_path / "data/artefacts/uploads/1.png").read_bytes() == b"x"


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}")
    contents = [bytes([n]) * 200_000 for n in range(2)]
    store.put("jobs/1/preview.png", contents[0])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for data in contents:
                store.put("jobs/1/preview.png", data)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.get("jobs/1/preview.png") in contents for _ in range(200))
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (errno.ENOSPC, StoreFull, "no space left"),
        (errno.EROFS, StoreUnavailable, "read-only"),
        (errno.EACCES, StoreUnavailable, "read-only"),
        (errno.EIO, StoreUnavailable, "cannot be used"),
    ],
)
def test_a_store_that_cannot_write_says_so_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], said: str
) -> None:
    store = Store(f"file://{tmp_path}")
    store.put("jobs/1/picture.png", b"old")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(error, match=said):
        store.put("jobs/1/picture.png", b"new")
    assert store.get("jobs/1/picture.png") == b"old"
    assert [p.name for p in (tmp_path / "jobs/1").iterdir()] == ["picture.png"]


def test_a_full_disk_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("There is no /dev/full here to stand for a full disk.")
    store = Store("file:///dev")
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), "/dev/no-such-part"))
    with pytest.raises(StoreFull, match="no space left"):
        store.put("picture.png", b"x")


def test_a_store_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "artefacts").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        Store(f"file://{tmp_path}/artefacts").put("jobs/1/picture.png", b"x")


def test_a_store_elsewhere_that_nobody_answers_for_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class NobodyAnswers(Exception):
        """As botocore's EndpointConnectionError, which is no OSError."""

    def refuse(*_: object, **__: object) -> None:
        raise NobodyAnswers('Could not connect to the endpoint URL: "http://store:8333/"')

    store = Store("memory://nobody")
    for call in ("pipe_file", "cat_file", "exists", "rm_file"):
        monkeypatch.setattr(store._fs, call, refuse, raising=True)
    for action in (lambda: store.put("a.png", b"x"), lambda: store.get("a.png"), lambda: store.exists("a.png")):
        with pytest.raises(StoreUnavailable, match=r"memory://nobody cannot be used: Could not connect"):
            action()
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        store.delete("a.png")


def test_an_unknown_kind_of_store_is_refused() -> None:
    with pytest.raises(StoreUnavailable, match="nonsense"):
        Store("nonsense://x")


def test_a_job_has_one_file_of_each_kind_the_newest(database: sa.Engine, store: Store) -> None:
    job = add(database)
    for data in (b"first", b"second"):
        kept = artefacts.save(
            database, store, job_id=job.id, kind="preview", data=data, media_type="image/png", ext="png", width=64
        )
    artefacts.record(
        database, job_id=job.id, kind="gif", key="jobs/1/x.gif", media_type="image/gif", size=3, sha256="0"
    )
    found = artefacts.of_job(database, job.id)
    assert sorted(found) == ["gif", "preview"]
    assert found["preview"] == kept == artefacts.get(database, kept.id)
    assert kept.key == f"jobs/{job.id}/preview.png"
    assert (kept.size, kept.sha256, kept.width) == (6, hashlib.sha256(b"second").hexdigest(), 64)
    assert store.get(kept.key) == b"second"
    assert artefacts.of_jobs(database, [job.id, "other"]) == {job.id: found, "other": {}}
    artefacts.discard(database, store, job_id=job.id, kind="preview")
    artefacts.discard(database, store, job_id=job.id, kind="preview")
    assert sorted(artefacts.of_job(database, job.id)) == ["gif"]
    assert not store.exists(kept.key)


class DeletesNothing(Store):
    """A store that is read-only at the moment."""

    def delete(self, key: str) -> None:
        raise StoreUnavailable("it is read-only")


def test_a_file_that_cannot_be_deleted_now_is_not_forgotten(database: sa.Engine, store: Store, tmp_path: Path) -> None:
    job = add(database)
    kept = artefacts.save(database, store, job_id=job.id, kind="state", data=b"x", media_type="a/b", ext="pt")
    with pytest.raises(StoreUnavailable):
        artefacts.discard(database, DeletesNothing(f"file://{tmp_path}"), job_id=job.id, kind="state")
    assert artefacts.of_job(database, job.id)["state"] == kept, "found again by whoever sweeps"
    artefacts.discard(database, store, job_id=job.id, kind="state")
    assert not store.exists(kept.key) and not artefacts.of_job(database, job.id)


def test_what_an_attempt_left_behind_goes_with_the_end_of_its_job(
    database: sa.Engine, store: Store, tmp_path: Path
) -> None:
    job = add(database)
    kept = artefacts.save(database, store, job_id=job.id, kind="picture", data=b"x", media_type="image/png", ext="png")
    store.put(f"jobs/{job.id}/other/picture.png", b"of an attempt that was killed before it noted it")
    folder = tmp_path / "artefacts" / "jobs" / job.id
    if folder.is_dir():
        (folder / ".abc.part").write_bytes(b"of a file that a store which became read-only took half of")
    artefacts.tidy(database, store, job.id)
    assert store.names(f"jobs/{job.id}") == [kept.key]


class LosesTheJob(Store):
    """A store so slow that the job is somebody else's when the bytes are there."""

    database: sa.Engine

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        lose(self.database)


def lose(database: sa.Engine) -> None:
    """The lease of w1 runs out, and w2 takes the job."""
    with writing(database) as conn:
        conn.execute(sa.update(jobs).values(lease_expires_at=1.0))
    assert queue.requeue_expired(database) == 1
    assert len(take(database, "w2")) == 1


def test_an_executor_that_lost_a_job_keeps_no_file_for_it(database: sa.Engine, store: Store) -> None:
    job = add(database)
    take(database, "w1")
    file = {"job_id": job.id, "kind": "state", "media_type": "application/octet-stream", "ext": "pt"}
    artefacts.save(database, store, data=b"step 5", held_by="w1", **file)
    lose(database)
    with pytest.raises(LeaseLost, match="no longer belongs to executor w1"):
        artefacts.save(database, store, data=b"step 6", held_by="w1", **file)
    kept = artefacts.of_job(database, job.id)["state"]
    assert store.get(kept.key) == b"step 5"
    assert artefacts.save(database, store, data=b"step 6", held_by="w2", **file).size == 6


def test_a_job_lost_while_its_file_is_put_is_not_recorded(database: sa.Engine, tmp_path: Path) -> None:
    slow = LosesTheJob(f"file://{tmp_path}/artefacts")
    slow.database = database
    job = add(database)
    take(database, "w1")
    with pytest.raises(LeaseLost):
        artefacts.save(
            database, slow, job_id=job.id, kind="gif", data=b"x", media_type="image/gif", ext="gif", held_by="w1"
        )
    assert artefacts.of_job(database, job.id) == {}


def test_uploads_belong_to_no_job_and_each_has_its_own_key(database: sa.Engine, store: Store) -> None:
    one, two = (
        artefacts.save(database, store, job_id=None, kind="upload", data=b"x", media_type="image/png", ext="png")
        for _ in range(2)
    )
    assert one.key == f"uploads/{one.id}.png" != two.key
    assert add(database, source_artefact_id=one.id).source_artefact_id == one.id


def test_what_cannot_be_recorded_is_refused(database: sa.Engine) -> None:
    good = {"job_id": None, "kind": "upload", "key": "uploads/1.png", "media_type": "image/png", "data": b""}
    for fields, said in (
        ({"kind": "film"}, "'film' is no kind of artefact; permitted: picture, preview"),
        ({"key": "../x"}, "no artefact key"),
        ({"data": None}, "needs its bytes"),
    ):
        with pytest.raises(BadValue, match=said):
            artefacts.record(database, **(good | fields))
    with pytest.raises(UnknownArtefact, match="'nope'"):
        artefacts.get(database, "nope")


def test_drafts_are_bounded_and_belong_to_who_gave_them(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(owner: str, png: bytes = b"x") -> artefacts.Artefact:
        return drafts.save(database, store, owner, png, width=1, height=1)

    first, other = keep("me"), keep("somebody")
    assert drafts.is_draft(first.key) and not drafts.is_draft("uploads/1.png") and "me" not in first.key.split("/")
    assert drafts.get(database, "me", first.key) == first
    for owner, key in (("somebody", first.key), ("me", "uploads/1.png"), ("me", other.key)):
        with pytest.raises(UnknownArtefact, match="give it again"):
            drafts.get(database, owner, key)
    monkeypatch.setattr(drafts, "MAX_OWN", 2)
    monkeypatch.setattr(drafts, "MAX_OWN_BYTES", 100)
    second, third = keep("me"), keep("me")
    assert _there(database, store, first, second, third, other) == [False, True, True, True], "the oldest goes"
    large = keep("me", b"x" * 101)
    assert _there(database, store, second, third, large, other) == [False, False, True, True], "the newest stays"
    monkeypatch.setattr(drafts, "MAX_ALL", 2)
    last = keep("a third")
    assert _there(database, store, other, large, last) == [False, True, True]
    monkeypatch.setattr(drafts, "KEPT_S", -1)
    assert _there(database, store, large, last, keep("me")) == [False, False, False], "each for so long only"


def _there(database: sa.Engine, store: Store, *found: artefacts.Artefact) -> list[bool]:
    with database.connect() as conn:
        rows = set(conn.scalars(sa.select(schema.artefacts.c.key)))
    assert all((one.key in rows) == store.exists(one.key) for one in found)
    return [one.key in rows for one in found]
