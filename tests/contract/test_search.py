"""Search by meaning: the nearest pictures best first, whatever the filters, and nothing of what was deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from db import queue
from db.artefacts import Store
from db.errors import BadValue
from db.evening import deleting, retention
from db.jobs import Job, State
from db.queue import Narrowed
from db.schema import embeddings as table
from db.schema import searches as searches_table
from db.search import embeddings, nearest, searches
from db.search.nearest import Pictures
from tests.contract.queue_steps import add, in_state, take

SPACE, ROOM = "mini@1", 64 << 20


def styled(style: str) -> Narrowed:
    return Narrowed(settings=(("style", style),))


def vector(*values: float) -> bytes:
    """A direction in three dimensions."""
    unit = np.array(values, np.float32)
    return (unit / np.linalg.norm(unit)).astype(np.float16).tobytes()


QUERY = vector(1, 0, 0)


def drawn(db: sa.Engine, away: float, submitter: str = "ada", space: str = SPACE, **fields: Any) -> Job:
    """A finished picture, the farther from QUERY the greater `away` is."""
    add(db, submitter, **fields)
    (job,) = take(db)
    job = queue.succeed(db, worker_id="w1", job_id=job.id, score=0.5)
    assert embeddings.save(db, space, {job.id: vector(1, away, 0)}) == 1
    return job


def found(db: sa.Engine, pictures: Pictures | None = None, limit: int = 10, **filters: Any) -> list[str]:
    pictures = pictures or Pictures(SPACE, ROOM)
    return [job_id for job_id, _ in pictures.nearest(db, QUERY, limit=limit, **filters)]


def unseen(db: sa.Engine, space: str = SPACE) -> int:
    pictures = Pictures(space, ROOM)
    pictures.look(db)
    return pictures.not_found


def test_the_nearest_come_first_and_pages_follow_each_other(database: sa.Engine) -> None:
    pictures = Pictures(SPACE, ROOM)
    assert found(database, pictures) == []
    jobs = {away: drawn(database, away).id for away in (3.0, 0.0, 2.0, 1.0, 5.0)}
    in_order = [jobs[away] for away in sorted(jobs)]
    assert found(database, pictures) == in_order
    ((_, best),) = pictures.nearest(database, QUERY, limit=1)
    assert best == pytest.approx(1.0, abs=1e-3)
    seen: list[str] = []
    while page := found(database, pictures, limit=2, after=seen[-1] if seen else None):
        drawn(database, 0.5)  # one that comes while somebody reads shifts nothing
        seen += page
    assert [job_id for job_id in seen if job_id in in_order] == in_order and len(seen) == len(set(seen))
    assert found(database, pictures, limit=1, besides=in_order[0]) != in_order[:1]


def test_equally_near_ones_are_all_found_once(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "FEW", 1)
    monkeypatch.setattr(nearest, "SOME", 2)
    pictures, seen = Pictures(SPACE, ROOM), list[str]()
    alike = {drawn(database, 1.0).id for _ in range(9)}
    while page := found(database, pictures, limit=2, after=seen[-1] if seen else None):
        seen += page
    assert len(seen) == len(alike) and set(seen) == alike


def test_filters_are_right_where_few_of_the_nearest_pass(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "FEW", 0)
    monkeypatch.setattr(nearest, "SOME", 3)
    for n in range(12):
        drawn(database, 0.01 * n)
    far = drawn(database, 50.0, "bob", engine="biggan-clip", prompt="a rocket", params={"style": "blob"}).id
    farther = drawn(database, 60.0, "bob", engine="biggan-clip", params={"style": "noto"}).id
    in_state(database, State.FAILED)
    assert found(database, submitter="bob") == [far, farther]
    assert found(database, limit=1, submitter="bob") == [far]
    assert found(database, engine="biggan-clip", narrowed=styled("noto")) == [farther]
    assert found(database, narrowed=styled("blob")) == found(database, search="ROCKET") == [far]
    assert (
        found(database, submitter="bob", states=["failed"]) == [] and len(found(database, states=["succeeded"])) == 10
    )
    assert found(database, without=["vqgan-clip"]) == [far, farther]
    assert found(database, narrowed=Narrowed(settings=(("style", "blob"),))) == [far]
    assert found(database, submitter="nobody") == []


def test_what_is_hidden_or_deleted_is_not_found(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, pictures = Store(f"file://{tmp_path}/a"), Pictures(SPACE, ROOM)
    one, two, three = (drawn(database, away).id for away in (1.0, 2.0, 3.0))
    assert found(database, pictures) == [one, two, three]
    queue.set_hidden(database, one)
    assert found(database, pictures) == [two, three] and found(database, pictures, only_hidden=True) == [one]
    deleting.delete_job(database, store, two)
    assert found(database, pictures) == [three] and pictures.looked_through == 2
    with pytest.raises(BadValue, match="search again"):
        found(database, pictures, after=two)
    with database.connect() as conn:
        assert conn.scalar(sa.select(table.c.vector).where(table.c.job_id == two)) is None, "nothing is left of it"
    assert embeddings.save(database, SPACE, {two: QUERY}) == 0 and embeddings.of_job(database, SPACE, two) is None
    assert retention.remove(database, store, [three]) == 1
    assert found(database, pictures) == []
    monkeypatch.setattr(pictures, "_count_at", 0.0)
    assert found(database, pictures) == [] and pictures.looked_through == 1, "it is counted now and then"
    queue.set_hidden(database, one, False)
    assert found(database, pictures) == [one]


def test_another_clip_is_another_space(database: sa.Engine) -> None:
    job = drawn(database, 1.0)
    assert found(database, Pictures("ViT-B/32@2", ROOM)) == []
    assert unseen(database) == 0 and unseen(database, "ViT-B/32@2") == 1
    pictures = Pictures(SPACE, ROOM)
    assert found(database, pictures) == [job.id]
    with pytest.raises(BadValue, match="another CLIP"):
        pictures.nearest(database, QUERY * 2, limit=1)


def test_of_more_than_there_is_memory_for_the_newest_are_found(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 4)
    pictures = Pictures(SPACE, 8 * 3 * 4)  # 8 pictures; read anew, it takes 7 and leaves room for those to come
    jobs = [drawn(database, 1.0 + n).id for n in range(12)]
    assert set(found(database, pictures, limit=20)) == set(jobs[-7:]) and pictures.not_found == 5
    jobs.append(drawn(database, 0.0).id)
    assert found(database, pictures, limit=20)[0] == jobs[-1] and pictures.looked_through == 8
    jobs.append(drawn(database, 0.0).id)
    assert set(found(database, pictures, limit=20)) == set(jobs[-7:]) and pictures.not_found == 7


def test_a_walk_finds_what_nobody_has_looked_at(database: sa.Engine) -> None:
    done = [in_state(database, State.SUCCEEDED).id for _ in range(5)]
    in_state(database, State.FAILED)
    embeddings.save(database, SPACE, {done[3]: QUERY})
    assert unseen(database) == 4
    seen, before = [], None
    while True:
        some, before = embeddings.unseen(database, SPACE, before_id=before, look=2)
        seen += [one.job_id for one in some]
        if before is None:
            break
    assert seen == [done[4], done[2], done[1], done[0]]
    assert embeddings.save(database, SPACE, dict.fromkeys(done)) == 4 and unseen(database) == 0
    assert embeddings.save(database, SPACE, dict.fromkeys(done, QUERY)) == 0, "what is known stays"


def test_a_search_is_read_once_and_its_words_are_forgotten(database: sa.Engine) -> None:
    assert searches.find(database, SPACE, "d") is None and searches.asked(database, SPACE) == []
    for _ in range(2):
        assert searches.ask(database, SPACE, "d", words="a red heart")
    ((digest, words),) = [(one.digest, one.words) for one in searches.asked(database, SPACE)]
    waiting = searches.find(database, SPACE, "d")
    assert (digest, words) == ("d", "a red heart") and waiting and waiting.waiting_s is not None
    assert searches.asked(database, "another") == []
    searches.answer(database, SPACE, "d", vector=QUERY)
    read = searches.find(database, SPACE, "d")
    assert read and (read.vector, read.problem, read.waiting_s) == (QUERY, None, None)
    searches.ask(database, SPACE, "d", words="a red heart")
    assert searches.asked(database, SPACE) == [], "it is known"
    with database.connect() as conn:
        assert conn.scalars(sa.select(searches_table.c.words)).all() == [None]


def test_searches_are_bounded(database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searches, "MAX_WAITING", 2)
    monkeypatch.setattr(searches, "MAX_KEPT", 1)
    assert [searches.ask(database, SPACE, f"d{n}", words="x") for n in range(3)] == [True, True, False]
    with database.begin() as conn:
        conn.execute(sa.update(searches_table).values(asked_at=searches_table.c.asked_at - searches.LAPSES_S - 1))
    assert searches.ask(database, SPACE, "d3", words="x"), "what nobody has read for long is forgotten"
    searches.answer(database, SPACE, "d3", vector=QUERY)
    searches.ask(database, SPACE, "d4", words="x")
    assert searches.tidy(database) == 1 and searches.find(database, SPACE, "d3") is None
    assert searches.find(database, SPACE, "d4") is not None
