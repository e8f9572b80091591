"""Connecting: an empty or older database is brought up to date, a newer one refused, a broken one named."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from db import engine, queue
from db.engine import connect, reading, revision, upgrade, writing
from db.errors import DatabaseTooNew, DatabaseUnavailable
from db.queue import workers
from db.schema import REVISION, metadata
from tests.contract.queue_steps import add, address, take

ROOT = Path(__file__).parents[2]


def test_an_empty_database_gets_all_tables(database_url: str) -> None:
    db = connect(database_url)
    with reading(db) as conn:
        assert revision(conn) == REVISION
        assert set(metadata.tables) <= set(sa.inspect(conn).get_table_names())
    add(db)
    db.dispose()
    again = connect(database_url)
    assert len(queue.list_jobs(again)) == 1
    again.dispose()


def test_the_migrations_make_exactly_the_tables_of_the_schema(database: sa.Engine) -> None:
    with reading(database) as conn:
        differences = compare_metadata(MigrationContext.configure(conn), metadata)
        if conn.dialect.name == "sqlite":
            # SQLite does not tell that this index is descending; its definition is compared as text.
            differences = [d for d in differences if getattr(d[1], "name", "") != "ix_jobs_line"]
            made = conn.scalar(sa.text("SELECT sql FROM sqlite_master WHERE name = 'ix_jobs_line'"))
            assert made.endswith("(state, submitter, priority DESC, id)")
        assert differences == []
        indexes = {index["name"]: index for index in sa.inspect(conn).get_indexes("jobs")}
    assert {index.name for index in metadata.tables["jobs"].indexes} == set(indexes)


def test_a_database_of_an_older_version_is_migrated_and_keeps_its_jobs(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = connect(database_url)
    job = add(db)
    db.dispose()
    # A version to come: this version's migrations and one more.
    package = tmp_path / "newer"
    subprocess.run(["cp", "-r", str(ROOT / "db"), str(package)], check=True)
    (package / "migrations/versions/9999_mood.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f'revision = "9999"\ndown_revision = "{REVISION}"\n\n\n'
        'def upgrade():\n    op.add_column("jobs", sa.Column("mood", sa.String(8), server_default="fine"))\n'
    )
    monkeypatch.setattr(engine, "__file__", str(package / "engine.py"))
    monkeypatch.setattr(engine, "REVISION", "9999")
    newer = connect(database_url)
    with reading(newer) as conn:
        assert revision(conn) == "9999"
        assert conn.execute(sa.text("SELECT id, mood FROM jobs")).all() == [(job.id, "fine")]
    newer.dispose()
    monkeypatch.undo()
    with pytest.raises(DatabaseTooNew, match=r"is at version '9999'.*update the studio"):
        connect(database_url)


def test_indexes_of_what_few_jobs_have_leave_the_others_out_after_the_update_and_hold_all_after_the_way_back(
    database_url: str,
) -> None:
    def limited(db: sa.Engine) -> set[str | None]:
        with reading(db) as conn:
            found = sa.inspect(conn).get_indexes("jobs")
        return {one["name"] for one in found if one["dialect_options"].get(f"{db.dialect.name}_where") is not None}

    of_few = {
        *("ix_jobs_address", "ix_jobs_address_id", "ix_jobs_address_turn", "ix_jobs_finished", "ix_jobs_parent"),
        *("ix_jobs_score", "ix_jobs_served", "ix_jobs_style", "ix_jobs_suspect", "ix_jobs_turn"),
    }
    db = connect(database_url)
    job = add(db)
    assert limited(db) == of_few
    config = Config()
    config.set_main_option("script_location", str(ROOT / "db/migrations"))
    config.set_main_option("path_separator", "os")
    with writing(db) as conn:
        config.attributes["connection"] = conn
        command.downgrade(config, "0020")
        assert revision(conn) == "0020"
    assert limited(db) == set()
    db.dispose()
    db = connect(database_url)
    assert limited(db) == of_few
    assert [one.id for one in take(db)] == [job.id]
    db.dispose()


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = connect(database_url)
    package = tmp_path / "newer"
    subprocess.run(["cp", "-r", str(ROOT / "db"), str(package)], check=True)
    (package / "migrations/versions/9999_broken.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n\n"
        f'revision = "9999"\ndown_revision = "{REVISION}"\n\n\n'
        'def upgrade():\n    op.create_table("extra", sa.Column("id", sa.Integer))\n    raise ValueError("broken")\n'
    )
    monkeypatch.setattr(engine, "__file__", str(package / "engine.py"))
    with pytest.raises(ValueError, match="broken"), writing(db) as conn:
        upgrade(conn)
    with reading(db) as conn:
        assert revision(conn) == REVISION
        assert not sa.inspect(conn).has_table("extra")
    db.dispose()


def test_several_processes_may_start_on_an_empty_database(database_url: str) -> None:
    code = "import sys; from db.engine import connect; connect(sys.argv[1]).dispose()"
    started = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", code, database_url], cwd=ROOT, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        assert (process.communicate()[1].decode(), process.returncode) == ("", 0)
    db = connect(database_url)
    add(db)
    db.dispose()


def test_a_locked_database_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    db = connect(f"sqlite:///{path}", busy_timeout_s=0.1)
    job = add(db)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match=r"jobs.db is locked by another process"):
        add(db)
    assert queue.get(db, job.id) == job
    other.execute("ROLLBACK")
    add(db)
    other.close()
    db.dispose()


def test_a_row_that_postgresql_does_not_let_go_is_one_sentence(database: sa.Engine) -> None:
    if database.dialect.name == "sqlite":
        pytest.skip("SQLite locks the file, which has its own test.")
    job = add(database)
    impatient = connect(address(database), busy_timeout_s=0.1)
    with writing(database) as conn:
        conn.execute(sa.text("SELECT id FROM jobs FOR UPDATE"))
        assert take(impatient) == []
        with pytest.raises(DatabaseUnavailable, match="is locked by another process"):
            queue.request_cancel(impatient, job.id)
    impatient.dispose()


def as_nobody(code: str, *args: str) -> str:
    """What a process prints that may not write what root owns."""
    drop = "import os\nif os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
    run = [sys.executable, "-c", code.replace("#drop", drop), *args]
    return subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


REFUSED = """
import sys
import alembic.command, sqlalchemy.dialects.sqlite.pysqlite
from db import queue
from db.queue import workers
from db.engine import connect
from db.errors import DatabaseUnavailable
#drop
try:
    db = connect(sys.argv[1])
    workers.register(db, worker_id="w", device="cpu", engines=[], places=1, hostname="h", pid=1)
except DatabaseUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("made", [True, False], ids=["a database", "no database"])
def test_a_read_only_folder_is_one_sentence(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "readonly"
    folder.mkdir()
    if made:
        connect(f"sqlite:///{folder}/jobs.db").dispose()
        (folder / "jobs.db").chmod(0o444)
    folder.chmod(0o555)
    # Every folder above must be open to a process without rights, which those of a test run are not.
    for parent in folder.parents[: len(folder.parents) - 2]:
        if parent.owner() == folder.owner():
            parent.chmod(parent.stat().st_mode | 0o111)
    said = as_nobody(REFUSED, f"sqlite:///{folder}/jobs.db")
    folder.chmod(0o755)
    assert f"The database {folder}/jobs.db" in said
    assert "must be allowed to write the file and its folder." in said
    assert "\n" not in said


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnavailable, match="cannot be made"):
        connect(f"sqlite:///{tmp_path}/file/deep/jobs.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"my holiday diary " * 1000)
    with pytest.raises(DatabaseUnavailable, match="is no SQLite database"):
        connect(f"sqlite:///{tmp_path}/jobs.db")


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    db = connect(f"sqlite:///{tmp_path}/jobs.db")
    job = add(db)

    @sa.event.listens_for(db, "begin")
    def no_room(conn: sa.Connection) -> None:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(DatabaseUnavailable, match="no space left"):
        add(db, prompt="x" * 100_000)
    sa.event.remove(db, "begin", no_room)
    assert [j.id for j in queue.list_jobs(db)] == [job.id]
    db.dispose()


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_server_that_closed_its_connections_is_asked_anew_without_an_error(database: sa.Engine) -> None:
    add(database)
    here = "FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
    server = sa.create_engine(database.url)
    with server.connect() as conn:
        conn.execute(sa.text(f"SELECT pg_terminate_backend(pid) {here} AND pid != pg_backend_pid()"))
        conn.commit()
        while conn.scalar(sa.text(f"SELECT count(*) {here}")) > 1:  # they end in their own time
            conn.rollback()  # the next look is to be a new one
            time.sleep(0.01)
    server.dispose()
    add(database)
    assert len(queue.list_jobs(database)) == 2


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("jobs.db", "is no database address"),
        ("mysql://x/y", "'mysql' is not supported; use sqlite or postgresql"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
        ("postgresql://eve:secret@127.0.0.1:1/x", "cannot be reached"),
    ],
)
def test_an_address_that_leads_nowhere_is_named_without_its_password(url: str, said: str) -> None:
    with pytest.raises(DatabaseUnavailable, match=said) as refused:
        connect(url)
    assert "secret" not in str(refused.value)


def test_executors_come_and_go(database: sa.Engine) -> None:
    about = {"device": "cpu", "engines": ["vqgan-clip"], "places": 2, "hostname": "here", "pid": os.getpid()}
    one = workers.register(database, worker_id="w1", **about)
    workers.register(database, worker_id="w2", **about)
    workers.beat(database, "w1", "2 jobs")
    first, second = workers.live(database, within_s=30)
    assert (first.id, first.status, second.status) == ("w1", "2 jobs", "starting")
    assert first.beat_at >= one.beat_at and first.engines == ["vqgan-clip"]
    assert workers.live(database, within_s=-1) == []
    workers.stop(database, "w1")
    assert [worker.id for worker in workers.live(database)] == ["w2"]
    workers.register(database, worker_id="w1", **about)
    assert [worker.id for worker in workers.live(database)] == ["w2", "w1"]
