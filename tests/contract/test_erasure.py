"""The end of an event leaves nothing, on any machine, whoever was paused or switched off in the middle of it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, queue
from db.artefacts import Store, drafts
from db.engine import writing
from db.errors import Erased
from db.evening import erasing, erasures, work_folders
from db.evening.erasing import KEPT, forget_everything, left
from db.jobs import ENDED, new_id
from db.queue import workers
from db.rules import host_rules
from db.schema import metadata
from db.schema import searches as searches_table
from db.schema import workers as workers_table
from db.search import searches
from tests.contract.queue_steps import add, take
from tests.contract.test_executor_kill import pause
from tests.executor_studio import Studio

SECRET = "a portrait of my neighbour Erika"


@pytest.fixture(params=["folder", "elsewhere"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts" if request.param == "folder" else f"memory://{tmp_path.name}")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, lease_s=1.0, heartbeat_s=0.25)
    yield studio
    studio.close()


def worker(db: sa.Engine, name: str, hostname: str = "elsewhere", folder: str | None = "/data/work") -> None:
    about = {"device": "cpu", "engines": ["e"], "places": 1, "pid": 1}
    workers.register(db, worker_id=name, hostname=hostname, folder=folder, **about)  # type: ignore[arg-type]


def silent(db: sa.Engine, *names: str) -> None:
    with writing(db) as conn:
        conn.execute(sa.update(workers_table).where(workers_table.c.id.in_(names)).values(beat_at=1.0))


def names_in(store: Store) -> list[str]:
    return [name for folder in store.folders() for name in store.names(folder)]


def test_what_was_searched_for_and_nobody_reads_does_not_stay_where_nobody_searches(studio: Studio) -> None:
    assert searches.ask(studio.db, "mini@1", "digest", words=SECRET)
    with writing(studio.db) as conn:
        conn.execute(sa.update(searches_table).values(asked_at=searches_table.c.asked_at - searches.LAPSES_S - 1))
    studio.executor()  # one that reads no searches
    studio.until(lambda: searches.find(studio.db, "mini@1", "digest") is None)


def test_every_table_is_of_the_event_or_kept_on_purpose() -> None:
    of_event = {table.name for table in erasing._TABLES} | {"visitors"}
    assert of_event | set(KEPT) == set(metadata.tables) and not of_event & set(KEPT), (
        "a new table is emptied with the event (_TABLES of db/evening/erasing.py), or is not of it (KEPT)"
    )


def test_files_nobody_has_noted_go_as_well(database: sa.Engine, store: Store) -> None:
    host_rules.change(database, paused=True)
    job = add(database, prompt=SECRET)
    for key in (f"jobs/{job.id}/picture.png", f"uploads/{new_id()}.png", "executors/w1.txt", f"jobs/{new_id()}/a.png"):
        store.put(key, b"x")
    drafts.save(database, store, "ada-ada-ada-ada-ada", b"x", width=1, height=1)
    if folder := store.local_path("uploads/x"):
        for part in (folder.parent / ".half.part", folder.parent.parent / "jobs" / job.id / ".other.part"):
            part.write_bytes(b"half a photo")
    store.put("backup/settings.json", b"{}")
    forget_everything(database, store)
    assert names_in(store) == ["backup/settings.json"]
    found = left(database, store)
    assert found.nothing and found.folders == ("backup",), "what the studio did not put there is told, and stays"


def test_no_word_can_be_read_in_the_file_of_the_database(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    for number in range(40):
        add(studio.db, prompt=f"{SECRET} {number}")
    host_rules.change(studio.db, paused=True)
    before = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("jobs.db*"))
    assert SECRET.encode() in before
    assert forget_everything(studio.db, studio.store).compacted
    after = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("jobs.db*"))
    assert SECRET.encode() not in after and SECRET.casefold().encode() not in after
    studio.close()


def test_what_is_left_is_found_by_looking_again(database: sa.Engine, store: Store) -> None:
    host_rules.change(database, paused=True)
    old = new_id()
    assert left(database, store).nothing, "nothing was ever deleted"
    forget_everything(database, store)
    host_rules.change(database, paused=False)
    new = add(database)
    store.put(f"jobs/{new.id}/picture.png", b"of the next event")
    assert left(database, store).nothing
    store.put(f"jobs/{old}/picture.png", b"of a machine that was switched off")
    found = left(database, store)
    assert not found.nothing and found.files == (f"jobs/{old}/picture.png",)
    (erasure,) = erasures.since(database, None)
    assert erasing.sweep_store(store, erasure) == 1 and left(database, store).nothing
    assert names_in(store) == [f"jobs/{new.id}/picture.png"]


def test_an_upload_that_was_on_the_way_is_not_kept(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    host_rules.change(database, paused=True)
    put = store.put

    def erased_meanwhile(key: str, data: bytes) -> None:
        forget_everything(database, store)
        put(key, data)

    monkeypatch.setattr(store, "put", erased_meanwhile)
    with pytest.raises(Erased):
        artefacts.save(database, store, job_id=None, kind="upload", data=b"x", media_type="image/png", ext="png")
    with pytest.raises(Erased):
        drafts.save(database, store, "ada-ada-ada-ada-ada", b"x", width=1, height=1)
    assert names_in(store) == []


def test_executors_are_told_until_each_machine_is_clear(database: sa.Engine, store: Store) -> None:
    host_rules.change(database, paused=True)
    worker(database, "one"), worker(database, "two"), worker(database, "away", folder="/other/work")
    silent(database, "two", "away")
    forget_everything(database, store)
    assert [(u.worker.id, u.live) for u in left(database, store).executors] == [
        ("away", False),
        ("one", True),
        ("two", False),
    ]
    (erasure,) = erasures.since(database, None)
    erasures.carried_out(database, ["one"], erasure.id)
    assert [u.worker.id for u in left(database, store).executors] == ["away"], "two had the folder that is clear"
    worker(database, "later", folder="/other/work")
    erasures.carried_out(database, ["later"], erasure.id)
    assert left(database, store).nothing
    worker(database, "gone", hostname="burnt")
    silent(database, "gone")
    assert [u.worker.id for u in left(database, store).executors] == ["gone"]
    erasing.write_off(database, "gone")
    assert left(database, store).nothing
    forget_everything(database, store)
    assert len(left(database, store).executors) > 0, "the next event is another one"


def test_a_work_folder_loses_what_is_older_and_keeps_what_came_later(tmp_path: Path, database: sa.Engine) -> None:
    job, other, work = add(database), add(database), tmp_path / "work"
    for name in (
        f"{job.id}/frame.png",
        f"{other.id}.2/frame.png",
        "loose.png",
        f"kept/{other.id}/picture.png",
        "a/b.part",
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("x")

    def there() -> set[str]:
        return {path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file()}

    with writing(database) as conn:
        of_one = erasures.note(conn, job.id)
    work_folders.clear(work, [of_one])
    assert there() == {f"{other.id}.2/frame.png", "loose.png", f"kept/{other.id}/picture.png", "a/b.part"}
    time.sleep(0.05)
    with writing(database) as conn:
        of_all = erasures.note(conn)
    newer = f"kept/{new_id(after=of_all.stamp)}/picture.png"
    (work / newer).parent.mkdir()
    (work / newer).write_text("x")
    assert work_folders.clear(work, [of_all]) == [] and there() == {newer}
    assert [one.id for one in erasures.since(database, None)] == [of_all.id], "it covers those before it"
    assert work_folders.clear(tmp_path / "none", [of_all]) == []


@pytest.mark.parametrize("where", ["in put", "before record", "in a frame"])
def test_an_executor_that_was_paused_in_the_middle_leaves_nothing_when_it_wakes_up(studio: Studio, where: str) -> None:
    job = studio.add(f"slow pauses {where}", steps=200, save_every=1)
    executor = studio.executor()
    studio.until((studio.folder / "is_there").exists)
    pause(studio, executor)
    studio.until(lambda: bool(queue.requeue_expired(studio.db)))
    host_rules.change(studio.db, paused=True)
    assert forget_everything(studio.db, studio.store).jobs == 1
    told = left(studio.db, studio.store)
    assert [one.worker.pid for one in told.executors] == [executor.pid] and not told.files
    (studio.folder / "go_on").touch()
    executor.send_signal(signal.SIGCONT)
    studio.until(lambda: left(studio.db, studio.store).nothing)
    studio.until(lambda: studio.said("dropped") > 0 or studio.said("lease_lost") > 0)
    work = studio.folder / "data/work"
    studio.until(lambda: not names_in(studio.store) and not (list(work.iterdir()) if work.is_dir() else []))
    time.sleep(0.3)  # whatever it had in its hands has come down by now
    assert not [path for name in ("work", "artefacts") for path in (studio.folder / "data" / name).rglob("*")]
    assert "Traceback" not in studio.log.read_text() and executor.poll() is None
    # It is of use for the next event.
    host_rules.change(studio.db, paused=False)
    next_one = studio.add("a heart", steps=2)
    assert studio.ended(next_one)[0].state == "succeeded", job.id


def test_an_executor_that_was_away_clears_its_machine_before_anything_else(studio: Studio) -> None:
    job = studio.add("slow heart", steps=200, save_every=1)
    executor = studio.executor()
    studio.reached(job, 5)
    executor.send_signal(signal.SIGKILL)
    executor.wait()
    work = studio.folder / "data/work"
    assert list((work / job.id).glob("*/frames"))
    studio.until(lambda: bool(queue.requeue_expired(studio.db)))
    with writing(studio.db) as conn:  # on another machine, where this program cannot look
        conn.execute(sa.update(workers_table).values(hostname="elsewhere", beat_at=time.time() - 3600))
    host_rules.change(studio.db, paused=True)
    forget_everything(studio.db, studio.store)
    assert list(work.iterdir()) and [one.live for one in left(studio.db, studio.store).executors] == [False]
    shutil.copytree(work, work.with_name("kept"))
    (studio.folder / f"data/artefacts/jobs/{job.id}").mkdir(parents=True)
    (studio.folder / f"data/artefacts/jobs/{job.id}/preview.webp").write_bytes(b"put before it was killed")
    studio.executor()
    studio.until(lambda: studio.said("erased") == 1)
    assert list(work.iterdir()) == [] and names_in(studio.store) == []
    assert [one.worker.hostname for one in left(studio.db, studio.store).executors] == ["elsewhere"]


def test_frames_on_this_machine_go_at_once_though_no_executor_runs(studio: Studio) -> None:
    job = studio.add("slow heart", steps=200, save_every=1)
    executor = studio.executor()
    studio.reached(job, 5)
    executor.send_signal(signal.SIGTERM)
    executor.wait()
    host_rules.change(studio.db, paused=True)
    assert list((studio.folder / "data/work").iterdir())
    forget_everything(studio.db, studio.store)
    assert not list((studio.folder / "data/work").iterdir()) and left(studio.db, studio.store).nothing


def test_a_job_that_is_deleted_while_it_runs_leaves_no_frame(studio: Studio) -> None:
    from db.evening.deleting import delete_job

    job = studio.add("slow heart", steps=4000, save_every=1)
    studio.executor()
    studio.reached(job, 5)
    delete_job(studio.db, studio.store, job.id, "anna")
    studio.until(lambda: studio.said("erased") > 0 and [one.status for one in workers.live(studio.db)] == ["idle"])
    studio.until(lambda: not list((studio.folder / "data/work").iterdir()))
    # What it was putting just then goes when that is done.
    studio.until(lambda: names_in(studio.store) == [])
    assert studio.job(job.id).state in ENDED
    assert os.path.exists(studio.folder / "data/work") and take(studio.db) == []


def test_the_script_does_as_the_page_does(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts import erase_event

    monkeypatch.setenv("T2I_DATABASE_URL", studio.db.url.render_as_string(False))
    monkeypatch.setenv("T2I_STORE_URL", studio.store.address)
    monkeypatch.setenv("T2I_EXPORTS_DIR", str(studio.folder / "exports"))
    (studio.folder / "exports").mkdir()
    (studio.folder / "exports" / "evening-20260101-000000.zip").write_bytes(b"x")
    (studio.folder / "exports" / ".evening-20260101-000000.zip.1.part").write_bytes(b"x")
    studio.add("a heart")
    assert erase_event.main(["--confirm", "DELETE"]) == 1 and "The queue is open" in capsys.readouterr().err
    host_rules.change(studio.db, paused=True)
    assert erase_event.main(["--confirm", "yes"]) == 1 and "type DELETE" in capsys.readouterr().err
    assert erase_event.main(["--confirm", "DELETE"]) == 0
    said = capsys.readouterr().out
    assert "1 jobs and 0 files" in said and "to be kept: 1." in said and queue.counts(studio.db)["queued"] == 0
    assert erase_event.main(["--confirm", "DELETE", "--exports"]) == 0 and "Nothing is left." in capsys.readouterr().out
    assert not list((studio.folder / "exports").iterdir())
    worker(studio.db, "away")
    silent(studio.db, "away")
    assert erase_event.main([]) == 3 and "was last heard of" in capsys.readouterr().out
    monkeypatch.setenv("T2I_LEASE_S", "soon")
    assert erase_event.main([]) == 2 and "T2I_LEASE_S" in capsys.readouterr().err
