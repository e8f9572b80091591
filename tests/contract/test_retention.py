"""Old pictures go where the host wants it, whole and with their files; favourites and what is in use stay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from db import artefacts, boards, clock_steps, queue, votes
from db.artefacts import Store
from db.clock_steps import Since
from db.engine import writing
from db.errors import BadValue, StoreUnavailable
from db.evening import retention
from db.evening.retention import due, remove, remove_due
from db.jobs import State
from db.queue.enqueueing import NewJob
from db.rules import host_rules
from db.schema import events, jobs, members, refinements, stages, submissions
from db.schema import marks as marks_table
from db.sheets import refinements as refining
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import add, in_state
from tests.contract.test_evening import picture

DAY_S = 86400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"file://{tmp_path}/artefacts")


def aged(db: sa.Engine, days: float, *job_ids: str) -> None:
    """As if these jobs had ended so many days ago."""
    with writing(db) as conn:
        old = sa.update(jobs).where(jobs.c.id.in_(job_ids)).values(finished_at=jobs.c.finished_at - days * DAY_S)
        conn.execute(old)


def there(db: sa.Engine) -> set[str]:
    with db.connect() as conn:
        return set(conn.scalars(sa.select(jobs.c.id)))


def test_without_a_rule_nothing_goes(database: sa.Engine, store: Store) -> None:
    old = picture(database, store)
    aged(database, 5000, old.id)
    assert remove_due(database, store) == 0 and due(database).jobs == 0 and there(database) == {old.id}


def test_old_jobs_go_whole_and_young_ones_stay(database: sa.Engine, store: Store) -> None:
    old, young = picture(database, store), picture(database, store)
    child = add(database, parent_id=None)
    votes.cast(database, voter="eve-eve-eve-eve-1", left_id=old.id, right_id=young.id, choice="right")
    failed = in_state(database, State.FAILED)
    aged(database, 8, old.id, failed.id)
    keys = [file.key for file in artefacts.of_job(database, old.id).values()]
    host_rules.change(database, keep_days=7)
    told = due(database)
    assert (told.jobs, told.kept) == (2, 0) and told.size == sum(len(store.get(key)) for key in keys)
    assert remove_due(database, store) == 2 and remove_due(database, store) == 0
    assert there(database) == {young.id, child.id}
    assert not [key for key in keys if store.exists(key)]
    with database.connect() as conn:
        assert not conn.scalar(sa.select(sa.func.count()).where(events.c.job_id == old.id))
    assert set(artefacts.of_job(database, young.id)) == {"picture", "thumbnail", "gif", "preview"}


def test_favourites_and_what_is_in_use_stay(database: sa.Engine, store: Store) -> None:
    liked, disliked, source, named, plain = (picture(database, store) for _ in range(5))
    votes.cast(database, voter="eve-eve-eve-eve-1", left_id=liked.id, right_id=disliked.id, choice="left")
    add(database, parent_id=source.id)
    add(database, params={"seed": 1, "init_image": artefacts.of_job(database, named.id)["picture"].key})
    two = NewJob(engine="e", checkpoint="c", batch_key="b", prompt="p", params={}, total_steps=1)
    asked = NewSheet(kind="candidates", prompt="p", wanted=[("1", two), ("2", two)])
    refinement = refining.start(database, asked, submitter="ada")
    with database.connect() as conn:
        marked, other = conn.scalars(sa.select(members.c.job_id).order_by(members.c.cell)).all()
    for job_id in (marked, other):
        queue.request_cancel(database, job_id)
    with writing(database) as conn:
        conn.execute(sa.insert(marks_table).values(job_id=marked, refinement_id=refinement.id, at=1.0))
    aged(database, 100, *there(database))
    host_rules.change(database, keep_days=7)
    assert due(database).jobs == 3 and due(database).kept == 4
    remove_due(database, store)
    assert there(database) >= {liked.id, source.id, named.id, marked}
    assert not there(database) & {disliked.id, plain.id, other}
    with writing(database) as conn:
        conn.execute(sa.delete(marks_table))
    remove_due(database, store)
    with database.connect() as conn:
        for table in (submissions, stages, refinements, members):
            assert not conn.execute(sa.select(table)).all(), "an empty sheet goes with its last picture"


def test_so_many_favourites_of_each_visitor_stay_as_the_host_allows(database: sa.Engine, store: Store) -> None:
    made = [picture(database, store).id for _ in range(5)]
    for job_id in made[:3]:
        boards.put(database, "ada", [job_id])
    boards.put(database, "ada", made[:1], "twice kept is one picture")  # and it was kept last
    boards.put(database, "bob", made[3:4])
    aged(database, 8, *made)
    host_rules.change(database, keep_days=7)
    told = due(database)
    assert (told.jobs, told.kept, told.beyond) == (1, 4, 0), "a few of each are no matter"
    host_rules.change(database, keep_favourites=2)
    told = due(database)
    assert (told.jobs, told.kept, told.beyond) == (2, 3, 1)
    assert remove_due(database, store) == 2
    assert there(database) == {made[0], made[2], made[3]}, "those that were kept last, whoever else keeps how much"
    assert due(database).jobs == 0


def test_the_oldest_go_until_the_rest_fits(database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [picture(database, store) for _ in range(6)]
    votes.cast(database, voter="eve-eve-eve-eve-1", left_id=made[0].id, right_id=made[5].id, choice="left")
    with writing(database) as conn:
        conn.execute(sa.text("UPDATE artefacts SET size = 250000000"))  # 1 GB each
    host_rules.change(database, keep_gb=3)
    assert due(database).jobs == 3 and due(database).size == 3 * 10**9
    monkeypatch.setattr(retention, "AT_ONCE", 2)
    assert [remove_due(database, store) for _ in range(3)] == [2, 1, 0], "in batches"
    assert there(database) == {made[0].id, made[4].id, made[5].id}


def test_a_clock_that_jumped_ahead_makes_nothing_old(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = picture(database, store)
    aged(database, 30, old.id)
    host_rules.change(database, keep_days=7)
    monkeypatch.setattr(clock_steps, "since_last", lambda db, now: Since(ahead_s=5.0, back_s=1e9))
    assert remove_due(database, store) == 0 and there(database) == {old.id}


def test_a_removal_that_is_broken_off_is_finished_by_the_next(
    database: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = picture(database, store)
    aged(database, 30, old.id)
    host_rules.change(database, keep_days=7)
    with monkeypatch.context() as patch:

        def away(names: Sequence[str]) -> None:
            Store.remove(store, names[:1])
            raise StoreUnavailable("away")

        patch.setattr(store, "remove", away)
        with pytest.raises(StoreUnavailable):
            remove_due(database, store)
    assert queue.get(database, old.id).hidden, "nobody votes on what is going"
    assert remove_due(database, store) == 1 and not there(database)


def test_a_job_that_is_at_work_by_then_stays(database: sa.Engine, store: Store) -> None:
    running = in_state(database, State.RUNNING)
    assert remove(database, store, [running.id]) == 0 and there(database) == {running.id}


def test_a_rule_out_of_range_is_refused(database: sa.Engine) -> None:
    for wrong in ({"keep_days": 0}, {"keep_days": 4000}, {"keep_gb": 1.5}, {"keep_gb": -1}, {"keep_favourites": 0}):
        with pytest.raises(BadValue, match="whole number"):
            host_rules.change(database, **wrong)
