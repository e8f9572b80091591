"""A backup of a studio at work, everything destroyed, and the way back: all that was listed is there and verified."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, boards, queue, votes
from db.artefacts import Store
from db.backup import making, snapshot
from db.backup.making import DATABASE, back_up, backups
from db.backup.restoring import check, restore
from db.backup.snapshot import TABLES, counts
from db.engine import connect, reading, writing
from db.errors import BadValue, DbError, StillRunning, StoreFull
from db.evening import erasing, retention
from db.jobs import State
from db.queue import workers
from db.rules import host_rules, host_sessions, keys, visitors
from db.rules.salt import salt
from db.schema import artefacts as files_table
from db.schema import jobs
from db.search import embeddings, searches
from studio.left import sentences
from tests.contract.queue_steps import add, take
from tests.contract.test_evening import picture

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def database(database_url: str) -> Iterator[sa.Engine]:
    """One of its own: who has another one's open is refused once it was restored."""
    db = connect(database_url)
    yield db
    db.dispose()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts")


@pytest.fixture
def full(database: sa.Engine, store: Store) -> sa.Engine:
    """A database with something in many of its tables."""
    one, two = picture(database, store), picture(database, store, prompt="día de lluvia 雨 🌧")
    child = add(database, parent_id=one.id)
    queue.request_cancel(database, child.id)
    votes.cast(database, voter="eve-eve-eve-eve-1", left_id=one.id, right_id=two.id, choice="left")
    host_rules.change(database, refused_words=["gore"], keep_days=9)
    visitors.set_name(database, "ada-ada-ada-ada-1", "Ada")
    keys.make(database, "a program")
    host_sessions.begin(database, credential="c", label="Firefox", lasts_s=100)
    boards.put(database, "ada-ada-ada-ada-1", [one.id], "for the poster")
    embeddings.save(database, "mini@1", {one.id: bytes(8), two.id: None})
    searches.ask(database, "mini@1", "digest", words="something private")
    assert queue.get(database, child.id).parent_id == one.id
    return database


def everything(db: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    with db.connect() as conn:
        tables = [table for table in TABLES if table.name not in ("host_sessions", "searches")]
        return {t.name: sorted(map(tuple, conn.execute(sa.select(t)).all()), key=repr) for t in tables}


def empty(db: sa.Engine) -> None:
    with writing(db) as conn:
        conn.execute(sa.update(jobs).values(parent_id=None))
        for table in reversed(TABLES):
            conn.execute(sa.delete(table))


def url(db: sa.Engine) -> str:
    return db.url.render_as_string(hide_password=False)


def all_there(db: sa.Engine, store: Store) -> int:
    """How many files; an AssertionError for a row whose file is not there as it says."""
    with db.connect() as conn:
        rows = conn.execute(sa.select(files_table)).all()
    for row in rows:
        data = store.get(row.key)
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (row.sha256, row.size), row.key
    return len(rows)


def test_a_backup_brings_everything_back(full: sa.Engine, store: Store, tmp_path: Path) -> None:
    before, secret = everything(full), salt(full)
    before = everything(full)
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    assert made.copied == 8 and not made.linked and not made.damaged
    shutil.rmtree(tmp_path / "artefacts")
    store = Store(f"file://{tmp_path}/artefacts")
    empty(full)
    done = restore(made.folder, url(full), store, replace=True)
    assert ((done.jobs, done.files) == (3, 8) and done.moved is None) or full.dialect.name == "sqlite"
    again = connect(url(full))
    assert everything(again) == before and all_there(again, store) == 8 and salt(again) == secret
    assert counts(again)["host_sessions"] == 0, "nobody is the host by a backup"
    assert counts(again)["searches"] == 0 and b"something private" not in (made.folder / DATABASE).read_bytes()
    # Numbers count on: the next vote, event and embedding are new rows.
    votes.cast(
        again, voter="bob-bob-bob-bob-1", left_id=before["votes"][0][2], right_id=before["votes"][0][3], choice="tie"
    )
    add(again)
    assert embeddings.save(again, "mini@2", {before["votes"][0][2]: bytes(8)}) == 1
    again.dispose()


def test_a_backup_is_made_by_a_process_that_has_just_begun(full: sa.Engine, store: Store, tmp_path: Path) -> None:
    fresh = connect(url(full))
    try:
        assert back_up(fresh, store, tmp_path / "backups", keep=3, version="1").copied == 8
    finally:
        fresh.dispose()


def test_what_is_copied_is_of_one_moment(database: sa.Engine) -> None:
    with reading(database, at_one_moment=True) as conn:
        count = sa.select(sa.func.count()).select_from(jobs)
        assert conn.scalar(count) == 0
        add(database)
        assert conn.scalar(count) == 0


def test_a_backup_goes_from_one_kind_of_database_to_another_folder_and_kind(
    full: sa.Engine, store: Store, tmp_path: Path
) -> None:
    before = everything(full)
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    elsewhere = Store(f"file://{tmp_path}/elsewhere/pictures")
    restore(made.folder, f"sqlite:///{tmp_path}/elsewhere/data/jobs.db", elsewhere)
    new = connect(f"sqlite:///{tmp_path}/elsewhere/data/jobs.db")
    assert everything(new) == before and all_there(new, elsewhere) == 8
    new.dispose()


def test_a_file_that_is_damaged_in_the_backup_before_is_whole_in_the_next(
    full: sa.Engine, store: Store, tmp_path: Path
) -> None:
    first = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    rotten = next(path for path in sorted((first.folder / "files").rglob("*")) if path.is_file())
    data = rotten.read_bytes()
    rotten.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BadValue, match="damaged"):
        check(first.folder)
    second = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    assert (second.copied, second.linked, second.damaged) == (1, 7, [])
    assert check(second.folder)


@contextmanager
def at_work(database: sa.Engine, store: Store) -> Iterator[None]:
    """Visitors ask, executors draw and replace previews, and old pictures are removed, until the block ends."""
    ends, wrong = threading.Event(), list[BaseException]()

    def draw(worker: str) -> None:
        try:
            while not ends.is_set():
                add(database, worker, max_queued=1000)
                for job in take(database, worker, limit=1):
                    for n in range(3):
                        data = os.urandom(20_000)
                        shown = {"media_type": "image/png", "ext": "png", "held_by": worker}
                        artefacts.save(database, store, job_id=job.id, kind="preview", data=data, **shown)
                        if n == 2:
                            artefacts.save(database, store, job_id=job.id, kind="picture", data=data, **shown)
                    queue.succeed(database, worker_id=worker, job_id=job.id)
        except BaseException as error:
            wrong.append(error)

    def remove() -> None:
        try:
            while not ends.wait(0.05):
                ended = queue.list_jobs(database, states=[State.SUCCEEDED], limit=6)
                if len(ended) == 6:  # none of those that were there at the start
                    retention.remove(database, store, [ended[2].id])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=draw, args=(f"w{n}",)) for n in range(2)] + [threading.Thread(target=remove)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong


def test_a_backup_is_whole_while_others_write(database: sa.Engine, store: Store, tmp_path: Path) -> None:
    kept = [picture(database, store) for _ in range(3)]
    with at_work(database, store):
        for _ in range(3):
            made = back_up(database, store, tmp_path / "backups", keep=2, version="1")
            assert not made.damaged
    assert len(backups(tmp_path / "backups")) == 2
    for n, folder in enumerate(backups(tmp_path / "backups")):
        new = Store(f"file://{tmp_path}/new{n}/pictures")
        address = f"sqlite:///{tmp_path}/new{n}/jobs.db"
        done = restore(folder, address, new)
        db = connect(address)
        assert all_there(db, new) == done.files == len(check(folder)) - 1
        with db.connect() as conn:
            wanted = sa.select(jobs.c.id).where(jobs.c.state == State.SUCCEEDED)
            finished = set(conn.scalars(wanted))
        assert finished >= {job.id for job in kept}
        db.dispose()


def test_the_newest_backup_is_the_newest_also_of_one_second(tmp_path: Path) -> None:
    names = ["20261128T023443Z", *(f"20261128T023443Z-{n}" for n in range(2, 13)), "20261128T023444Z"]
    for name in (*names, "other", ".part-20261129T000000Z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backup.json").write_text("{}")
    assert [one.name for one in backups(tmp_path)] == names[::-1]


def test_what_has_not_changed_takes_no_room_again(full: sa.Engine, store: Store, tmp_path: Path) -> None:
    first = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    new = picture(full, store)
    second = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    assert (second.copied, second.linked) == (4, 8)
    one = next(path for path in (first.folder / "files").rglob("*.png"))
    assert os.path.samefile(one, second.folder / one.relative_to(first.folder))
    third = back_up(full, store, tmp_path / "backups", keep=1, version="1")
    assert backups(tmp_path / "backups") == [third.folder] and len(check(third.folder)) == 13, new.id
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=third.folder).returncode == 0


def test_a_file_that_is_gone_or_damaged_in_the_store_is_named_and_the_rest_is_kept(
    full: sa.Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_PATIENCE_S", 0.0)
    with full.connect() as conn:
        gone, bad = conn.scalars(sa.select(files_table.c.key).order_by(files_table.c.id).limit(2)).all()
    store.delete(gone)
    store.put(bad, b"something else")
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    assert sorted(made.damaged) == sorted([gone, bad])
    address = f"sqlite:///{tmp_path}/new/jobs.db"
    done = restore(made.folder, address, Store(f"file://{tmp_path}/new/pictures"))
    assert sorted(done.damaged) == sorted([gone, bad]) and done.files == 6


def test_a_damaged_backup_restores_nothing(full: sa.Engine, store: Store, tmp_path: Path) -> None:
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    target, elsewhere = f"sqlite:///{tmp_path}/new/jobs.db", Store(f"file://{tmp_path}/new/pictures")
    one = next((made.folder / "files").rglob("*.png"))
    right = one.read_bytes()
    one.write_bytes(b"x" + right[1:])
    with pytest.raises(BadValue, match="damaged: 1 of its files"):
        restore(made.folder, target, elsewhere)
    one.write_bytes(right)
    about = json.loads((made.folder / "backup.json").read_text())
    (made.folder / "backup.json").write_text(json.dumps(about | {"format": 99}))
    with pytest.raises(BadValue, match="format 99"):
        restore(made.folder, target, elsewhere)
    with pytest.raises(BadValue, match="no backup"):
        restore(tmp_path, target, elsewhere)
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_over_and_nobody_at_work_is_robbed(full: sa.Engine, store: Store, tmp_path: Path) -> None:
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    with pytest.raises(BadValue, match=r"not empty: .*3 jobs.*--replace"):
        restore(made.folder, url(full), store)
    workers.register(full, worker_id="w9", device="cpu", engines=["e"], places=1, hostname="h", pid=1)
    with pytest.raises(StillRunning, match="stop the studio"):
        restore(made.folder, url(full), store, replace=True)
    workers.stop(full, "w9")
    done = restore(made.folder, url(full), store, replace=True)
    assert (done.moved is not None and done.moved.is_file()) == (full.dialect.name == "sqlite")


def test_where_the_files_do_not_fit_what_was_there_stays(
    full: sa.Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    add(full, prompt="asked for since the backup")
    before = everything(full)

    def no_space(*_: object) -> None:
        raise StoreFull("The store is full.")

    monkeypatch.setattr(store, "put", no_space)
    with pytest.raises(StoreFull):
        restore(made.folder, url(full), store, replace=True)
    again = connect(url(full))
    assert everything(again) == before, "nothing is taken away for what cannot be put in its place"
    again.dispose()


def test_where_the_rows_are_broken_off_what_was_there_stays(
    full: sa.Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    add(full, prompt="asked for since the backup")
    before = everything(full)

    def broken_off(*_: object) -> None:
        raise OSError(5, "Input/output error")

    for module, name in ((snapshot, "copy_rows"), (shutil, "copyfile")):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken_off)
            if module is shutil or full.dialect.name == "postgresql":
                with pytest.raises(OSError if module is snapshot else DbError):
                    restore(made.folder, url(full), store, replace=True)
        again = connect(url(full))
        assert everything(again) == before
        again.dispose()


def test_a_database_that_was_moved_aside_is_told_when_the_event_is_deleted(
    full: sa.Engine, store: Store, tmp_path: Path
) -> None:
    made = back_up(full, store, tmp_path / "backups", keep=3, version="1")
    done = restore(made.folder, url(full), store, replace=True)
    again = connect(url(full))
    try:
        host_rules.change(again, paused=True)
        erasing.forget_everything(again, store)
        found = erasing.left(again, store)
        assert (str(done.moved) in found.copies) == (done.moved is not None) and found.nothing == (not found.copies)
        for copy in found.copies:
            assert any(copy in str(said) for said in sentences(found))
            Path(copy).unlink()
        assert erasing.left(again, store).nothing
    finally:
        again.dispose()


def test_one_backup_at_a_time_and_none_that_is_half(
    full: sa.Engine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backups"
    with making._alone(target), pytest.raises(BadValue, match="Another backup"):
        back_up(full, store, target, keep=3, version="1")
    with pytest.raises(BadValue, match="1 or more"):
        back_up(full, store, target, keep=0, version="1")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(making, "_copy", no_space)
        with pytest.raises(StoreFull, match="No space left"):
            back_up(full, store, target, keep=3, version="1")
    assert not backups(target)
    back_up(full, store, target, keep=3, version="1")
    assert len(backups(target)) == 1 and not list(target.glob(".part-*"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DbError, match="could not be written"):
        back_up(full, store, tmp_path / "file" / "backups", keep=3, version="1")


def test_the_drill_by_the_scripts(tmp_path: Path) -> None:
    """As a host would: back up, lose everything, restore, in another folder than the studio's."""
    address, pictures = f"sqlite:///{tmp_path}/data/jobs.db", f"file://{tmp_path}/data/artefacts"
    db, store = connect(address), Store(pictures)
    job = picture(db, store)
    db.dispose()
    environment = os.environ | {"T2I_DATABASE_URL": address, "T2I_STORE_URL": pictures}

    def script(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(ROOT / "scripts" / name), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    made = script("backup.sh", "backups", "--keep", "2")
    assert made.returncode == 0 and "4 files copied, 0 as before" in made.stdout, made.stderr
    assert (tmp_path / "backups").stat().st_mode & 0o077 == 0, "visitors' pictures are for nobody else"
    assert "5 files are as they were written" in script("restore.sh", "backups", "--check").stdout
    refused = script("restore.sh", "backups")
    assert refused.returncode == 2 and "not empty" in refused.stderr and "Traceback" not in refused.stderr
    shutil.rmtree(tmp_path / "data")
    back = script("restore.sh", "backups")
    assert back.returncode == 0 and "1 jobs and 4 files" in back.stdout, back.stderr
    db = connect(address)
    assert queue.get(db, job.id).state == State.SUCCEEDED and all_there(db, store) == 4
    db.dispose()
    assert script("backup.sh", "backups", "--keep", "x" * 100_000).stderr.count("x") < 300
