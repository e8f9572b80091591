"""A database that is deleted, moved, replaced or exchanged under a running studio: nobody writes into what is lost."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from db import queue
from db.engine import check, connect, reading, writing
from db.errors import DatabaseReplaced, DatabaseUnavailable, NoDatabaseAddress
from db.jobs import Job
from tests.api.serving import served
from tests.contract.queue_steps import add, address
from tests.executor_studio import Studio
from tests.pages.visits import Studio as Visits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(tmp_path, lease_s=4)
    yield studio
    studio.close()


def file_of(studio: Studio) -> Path:
    return studio.folder / "data/jobs.db"


def copy_of(path: Path, to: Path) -> Path:
    """A sound copy, made as `scripts/backup.sh` and SQLite's own shell do."""
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)
    return to


def other_studio(folder: Path) -> Path:
    db = connect(f"sqlite:///{folder}/other.db")
    add(db, prompt="theirs")
    db.dispose()
    return folder / "other.db"


def replaced_by_a_copy(studio: Studio) -> None:
    copy_of(file_of(studio), studio.folder / "copy.db").replace(file_of(studio))


def replaced_by_another_studio(studio: Studio) -> None:
    other_studio(studio.folder).replace(file_of(studio))


def overwritten_by_another_studio(studio: Studio) -> None:
    shutil.copyfile(other_studio(studio.folder), file_of(studio))


def robbed_of_its_log(studio: Studio) -> None:
    Path(f"{file_of(studio)}-wal").unlink()


def robbed_of_its_index(studio: Studio) -> None:
    Path(f"{file_of(studio)}-shm").unlink()


@pytest.mark.parametrize(
    ("replace", "says"),
    [
        (replaced_by_a_copy, "is another file than the one"),
        (replaced_by_another_studio, "is another file than the one"),
        (overwritten_by_another_studio, "holds another studio than the one"),
        (robbed_of_its_log, "has lost its wal file"),
        (robbed_of_its_index, "has lost its shm file"),
    ],
)
def test_an_executor_ends_with_a_sentence_and_writes_nothing_more(
    studio: Studio, replace: Callable[[Studio], None], says: str
) -> None:
    executor = studio.executor()
    job = studio.add("slow heart", steps=4000)
    studio.reached(job, 2)
    replace(studio)
    # Where a file was copied into the one that is open, the database engine itself mixes the two.
    now = dump(file_of(studio)) if "another file" in says else None
    assert executor.wait(30) == 2, "2: to start it again is for the host, who knows which file is the right one"
    log = studio.log.read_text()
    assert "ERROR database_replaced" in log and says in log and "Start the studio again" in log
    if now is not None:
        assert dump(file_of(studio)) == now


def dump(path: Path) -> list[str]:
    """All that a newcomer reads in a database."""
    for side in ("-wal", "-shm"):  # of the file that was there before
        with suppress(FileNotFoundError):
            shutil.move(f"{path}{side}", f"{path}.before{side}")
    with closing(sqlite3.connect(path)) as found:
        return list(found.iterdump())


@pytest.mark.parametrize("away", ["file", "folder"])
def test_a_database_that_is_moved_away_and_back_is_waited_for(studio: Studio, away: str) -> None:
    executor = studio.executor()
    job = studio.add("slow heart", steps=60)
    studio.reached(job, 2)
    path = file_of(studio) if away == "file" else file_of(studio).parent
    path.rename(elsewhere := path.with_name("elsewhere"))
    studio.until(lambda: "is gone" in studio.log.read_text())
    assert not file_of(studio).exists(), "no empty database takes its place"
    with pytest.raises(DatabaseUnavailable, match="is gone"):
        add(studio.db)
    shutil.rmtree(path, ignore_errors=True)  # frames made a new folder meanwhile
    elsewhere.rename(path)
    (done,) = studio.ended(job)
    assert (done.state, done.attempt, executor.poll()) == ("succeeded", 1, None)


def test_a_deleted_database_is_not_made_anew_by_those_who_have_it_open(studio: Studio) -> None:
    executor = studio.executor()
    studio.wait_ready()
    file_of(studio).unlink()
    studio.until(lambda: "is gone" in studio.log.read_text())
    executor.send_signal(signal.SIGTERM)
    assert executor.wait(12) == 0
    assert not file_of(studio).exists()


def test_a_studio_that_is_started_again_goes_on_with_the_copy(studio: Studio) -> None:
    job = studio.add("heart")
    replaced_by_a_copy(studio)
    with pytest.raises(DatabaseReplaced, match="is another file"):
        queue.get(studio.db, job.id)
    studio.db.dispose()
    studio.db = connect(str(studio.db.url))
    studio.executor()
    assert studio.ended(job)[0].state == "succeeded"


ENQUEUER = """
import sys
from db.engine import connect
from db.errors import DatabaseUnavailable
from tests.contract.queue_steps import add
db = connect(sys.argv[1])
for line in sys.stdin:
    try:
        print("added", add(db, prompt=line.strip()).id, flush=True)
    except DatabaseUnavailable as error:
        print(type(error).__name__, error, flush=True)
"""


def test_two_processes_never_write_into_two_files_under_one_name(studio: Studio) -> None:
    command = [sys.executable, "-c", ENQUEUER, str(studio.db.url)]
    first = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdin and first.stdout
    with first:
        assert ask(first, "before").startswith("added")
        replaced_by_a_copy(studio)
        said = ask(first, "after")
        assert said.startswith("DatabaseReplaced") and "is another file" in said
        assert ask(first, "and again").startswith("DatabaseReplaced")
    newer = connect(str(studio.db.url))
    assert [job.prompt for job in queue.list_jobs(newer)] == ["before"]
    newer.dispose()


def ask(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin and process.stdout
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_the_api_is_not_ready_on_a_database_that_was_replaced(tmp_path: Path) -> None:
    visits = Visits(tmp_path)
    with served(visits) as api:
        assert api.get("/readyz").status_code == 200
        copy_of(tmp_path / "jobs.db", tmp_path / "copy.db").replace(tmp_path / "jobs.db")
        for path in ("/readyz", "/api/v1/jobs"):
            answer: httpx.Response = api.get(path)
            assert answer.status_code == 503 and "was replaced" in answer.text, answer.text
            assert str(tmp_path) not in answer.text
        assert api.get("/healthz").status_code == 200
    visits.db.dispose()


def test_another_studio_at_the_address_is_noticed_and_the_same_one_after_a_reconnect_is_not(
    database: sa.Engine,
) -> None:
    add(database)
    db = connect(address(database))
    check(db)
    if db.dialect.name == "postgresql":
        db.dispose()  # as a server that was restarted does: new connections are made
        add(db)
    with writing(database) as conn:
        before = conn.scalar(sa.text("SELECT id FROM studio"))
        conn.execute(sa.text("UPDATE studio SET id = 'another'"))
    try:
        if db.dialect.name == "postgresql":
            db.dispose()
            with pytest.raises(DatabaseReplaced, match="holds another studio"):
                add(db)
        with pytest.raises(DatabaseReplaced, match="holds another studio"):
            check(db)
        with pytest.raises(DatabaseReplaced), reading(db):
            pass
    finally:
        with database.begin() as conn:
            conn.execute(sa.text("UPDATE studio SET id = :id"), {"id": before})
        db.dispose()
    again = connect(address(database))
    add(again)
    again.dispose()


def test_every_database_has_an_id_of_its_own_and_keeps_it(database_url: str) -> None:
    ids = set()
    for _ in range(2):
        db = connect(database_url)
        with reading(db) as conn:
            ids.add(conn.scalar(sa.text("SELECT id FROM studio")))
        db.dispose()
    assert len(ids) == 1 and len(ids.pop()) == 32


def test_a_file_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bookmarks.db")) as other:
        other.execute("CREATE TABLE bookmarks (address TEXT)")
    with pytest.raises(NoDatabaseAddress, match="is another program's"):
        connect(f"sqlite:///{tmp_path}/bookmarks.db")
    with closing(sqlite3.connect(tmp_path / "bookmarks.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_pooled_connection_more_makes_no_new_file(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    with reading(db):
        (tmp_path / "jobs.db").unlink()
        with pytest.raises(DatabaseUnavailable, match="is gone"):
            add(db)
    assert not (tmp_path / "jobs.db").exists()
    db.dispose()


def test_a_closed_pool_makes_its_log_anew(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    made: list[Job] = []
    for _ in range(3):
        made.append(add(db))
        db.dispose()  # the last one to close removes the log
    assert len(queue.list_jobs(db)) == len(made) == 3
    check(db)
    db.dispose()
