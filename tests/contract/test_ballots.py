"""Votes in bulk: what ratings and downloads get to see, and how fast one voter may vote."""

from __future__ import annotations

import csv
import io
import json
import random

import pytest
import sqlalchemy as sa

from db import queue, votes
from db.engine import writing
from db.errors import TooFast
from db.evening import tables
from db.jobs import Job, State, new_id
from db.schema import jobs as jobs_table
from db.schema import votes as votes_table
from db.votes import casting, history, pairs
from tests.contract.queue_steps import add, in_state, take

HOSTILE = ["=1+1", "+1", "-1", "@sum(A1)", "\t=1", "  =cmd|' /C calc'!A0", "＝1", "\u200b=1", '"quoted", and\nlong']


def picture(db: sa.Engine, **fields: object) -> Job:
    job = add(db, **({"batch_key": f"alone-{new_id()}"} | fields))
    take(db, batch_key=job.batch_key)
    return queue.succeed(db, worker_id="w1", job_id=job.id, score=-0.25)


def cast(db: sa.Engine, left: Job, right: Job, choice: votes.Choice = "left", voter: str = "eve") -> None:
    votes.cast(db, voter=voter, left_id=left.id, right_id=right.id, choice=choice)


def test_which_picture_was_on_the_left_is_kept(database: sa.Engine) -> None:
    one, two = picture(database), picture(database)
    cast(database, two, one, "left", "ann")
    cast(database, one, two, "right", "bob")
    cast(database, one, two, "tie", "kim")
    found, about = history.newest(database)
    shown = history.shown(database, about)
    assert [(v.voter, v.left_id, v.winner_id) for v in found] == [
        ("ann", two.id, two.id),
        ("bob", one.id, two.id),
        ("kim", one.id, None),
    ]
    assert set(shown) == {one.id, two.id} and shown[one.id].params == {"seed": 1} and shown[one.id].score == -0.25
    assert [row["choice"] for row in tables.votes(database)] == ["tie", "right", "left"]


def test_what_the_host_hides_is_gone_from_ratings_pairs_and_downloads(database: sa.Engine) -> None:
    one, two, three = (picture(database) for _ in range(3))
    cast(database, one, two), cast(database, two, three, voter="bob")
    before = history.state(database)
    pool = pairs.pool(database)
    queue.set_hidden(database, one.id)
    assert history.state(database) != before
    found, about = history.newest(database)
    assert [v.first_id for v in found] == [two.id] and about == {two.id, three.id}
    assert set(history.shown(database, [one.id, two.id])) == {two.id}
    assert len(list(tables.votes(database))) == 1 and len(list(tables.jobs(database))) == 2
    assert set(history.visible(database, [one.id, two.id])) == {two.id}
    for _ in range(20):
        # The pool was made before the picture was hidden.
        pair = pairs.next_pair(database, "kim", among=pool)
        assert pair is not None and one.id not in {job.id for job in pair}


def test_nobody_votes_faster_than_one_can_look(database: sa.Engine) -> None:
    made = [picture(database) for _ in range(casting.MAX_VOTES + 2)]
    for job in made[1:-1]:
        cast(database, made[0], job)
    with pytest.raises(TooFast, match="at most 20 votes count in 20 s"):
        cast(database, made[0], made[-1])
    assert votes.cast_by(database, "eve") == casting.MAX_VOTES
    cast(database, made[0], made[-1], voter="bob")
    with writing(database) as conn:
        conn.execute(sa.update(votes_table).values(at=votes_table.c.at - casting.IN_S))
    cast(database, made[0], made[-1])


def test_no_prompt_becomes_a_formula_in_a_spreadsheet(database: sa.Engine) -> None:
    for prompt in HOSTILE:
        picture(database, prompt=prompt)
    text = "".join(tables.as_csv(tables.JOB_COLUMNS, tables.jobs(database)))
    rows = list(csv.DictReader(io.StringIO(text)))
    shown = [row["prompt"] for row in reversed(rows)]
    assert shown == ["'" + prompt for prompt in HOSTILE[:-1]] + HOSTILE[-1:]
    # Numbers stay numbers, negative ones too; the settings are JSON.
    assert float(rows[0]["score"]) == -0.25 and json.loads(rows[0]["params"]) == {"seed": 1}
    exported = json.loads("".join(tables.as_json(tables.jobs(database))))
    assert [row["prompt"] for row in reversed(exported)] == HOSTILE


def test_downloads_name_no_visitor(database: sa.Engine) -> None:
    one, two = picture(database, submitter="secret-cookie"), picture(database)
    cast(database, one, two, voter="secret-cookie")
    for rows in (tables.votes(database), tables.jobs(database)):
        text = "".join(tables.as_json(rows))
        assert "secret-cookie" not in text and tables.alias("secret-cookie") in text
    assert tables.alias("a") == tables.alias("a") != tables.alias("b")


def test_downloads_have_every_row_once_and_stop_at_their_limit(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_AT_ONCE", 3)
    monkeypatch.setattr(tables, "_PAGE", 2)
    made = [picture(database) for _ in range(5)]
    made.append(in_state(database, State.FAILED))
    for n, (one, two) in enumerate((a, b) for a in made[:5] for b in made[:5] if a.id < b.id):
        cast(database, one, two, voter=f"v{n}")
    assert [row["id"] for row in tables.jobs(database)] == [job.id for job in reversed(made)]
    assert [row["id"] for row in tables.votes(database)] == sorted(
        (r["id"] for r in tables.votes(database)), reverse=True
    )
    assert len(list(tables.votes(database))) == 10
    assert len(list(tables.votes(database, limit=4))) == 4 and len(list(tables.jobs(database, limit=3))) == 3


def test_downloads_of_an_empty_studio_are_whole_files(database: sa.Engine) -> None:
    assert "".join(tables.as_csv(tables.VOTE_COLUMNS, tables.votes(database))).split(",")[:2] == ["id", "at"]
    assert json.loads("".join(tables.as_json(tables.votes(database)))) == []


def test_old_pictures_of_a_large_gallery_are_asked_about_too(database: sa.Engine) -> None:
    job = add(database)
    row = {**vars(job), "prompt_search": "a red heart", "state": "succeeded"}
    ids = [f"{at:014x}{at:012x}" for at in range(10**15, 10**15 + 2000)]
    with writing(database) as conn:
        conn.execute(
            sa.insert(jobs_table), [row | {"id": job_id, "prompt_search": f"prompt {job_id}"} for job_id in ids]
        )
    random.seed(0)
    found = pairs.pool(database)
    ages = [ids.index(candidate.id) for candidate in found.candidates]
    assert len(set(ages)) == len(ages) <= pairs.NEWEST + pairs.OLDER_RUNS * pairs.RUN
    assert set(range(1800, 2000)) <= set(ages) and sum(age < 1800 for age in ages) > 60
    assert min(ages) < 600 and any(600 <= age < 1200 for age in ages)
