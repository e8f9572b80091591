"""A voter sees each pair once, like is compared with like, and a vote counts once."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from db import artefacts, queue, votes
from db.errors import AlreadyVoted, BadValue, PairGone, UnknownJob
from db.jobs import Job, State, new_id
from db.votes import Tally
from tests.contract.queue_steps import add, in_state, take


def picture(db: sa.Engine, **fields: object) -> Job:
    job = add(db, **({"batch_key": f"alone-{new_id()}"} | fields))
    take(db, batch_key=job.batch_key)
    return queue.succeed(db, worker_id="w1", job_id=job.id)


def test_no_pair_is_ever_shown_twice_to_one_voter(database: sa.Engine) -> None:
    pictures = [picture(database, prompt=f"prompt {n % 2}") for n in range(5)]
    seen = []
    while pair := votes.next_pair(database, "eve"):
        votes.cast(database, voter="eve", left_id=pair[0].id, right_id=pair[1].id, choice="left")
        seen.append({job.id for job in pair})
    assert len(seen) == 10 == len({frozenset(pair) for pair in seen})
    assert all(len(pair) == 2 for pair in seen)
    assert votes.next_pair(database, "bob") is not None
    assert sum(tally.wins for tally in votes.tallies(database, [p.id for p in pictures]).values()) == 10


def test_the_same_prompt_is_compared_first_then_the_same_engine(database: sa.Engine) -> None:
    picture(database, prompt="a blue star")
    picture(database, prompt="a red heart", engine="biggan")
    picture(database, prompt="A  Red HEART")
    for same in ("prompt", "engine"):
        pair = votes.next_pair(database, "eve")
        assert pair is not None
        if same == "prompt":
            assert {job.prompt for job in pair} == {"a red heart", "A  Red HEART"}
        else:
            assert {job.engine for job in pair} == {"vqgan-clip"}
        votes.cast(database, voter="eve", left_id=pair[0].id, right_id=pair[1].id, choice="tie")
    assert votes.next_pair(database, "eve") is not None


def test_pictures_with_few_votes_come_first(database: sa.Engine) -> None:
    old = [picture(database) for _ in range(4)]
    for voter in ("a", "b"):
        votes.cast(database, voter=voter, left_id=old[0].id, right_id=old[1].id, choice="left")
    pair = votes.next_pair(database, "eve")
    assert pair is not None and {job.id for job in pair} == {old[2].id, old[3].id}


def test_the_sides_change(database: sa.Engine) -> None:
    picture(database), picture(database)
    lefts = {pair[0].id for _ in range(60) if (pair := votes.next_pair(database, "eve"))}
    assert len(lefts) == 2


def test_only_finished_pictures_that_may_be_seen_are_shown(database: sa.Engine) -> None:
    for state in State:
        in_state(database, state)
    hidden = picture(database)
    queue.set_hidden(database, hidden.id)
    assert votes.next_pair(database, "eve") is None


def test_a_candidate_of_64_px_does_not_meet_a_finished_picture(database: sa.Engine) -> None:
    def of_size(width: int, height: int) -> str:
        job = picture(database)
        file = {"kind": "picture", "key": f"{job.id}.png", "media_type": "image/png"}
        artefacts.record(database, job_id=job.id, data=b"png", width=width, height=height, **file)
        return job.id

    of_size(64, 64)
    square = of_size(256, 256)
    assert votes.next_pair(database, "eve") is None
    wide = of_size(384, 256)
    pair = votes.next_pair(database, "eve")
    assert pair is not None and {job.id for job in pair} == {square, wide}


def test_a_vote_counts_once_whatever_the_order(database: sa.Engine) -> None:
    one, two = picture(database), picture(database)
    votes.cast(database, voter="eve", left_id=two.id, right_id=one.id, choice="right")
    for left, right in ((one, two), (two, one)):
        with pytest.raises(AlreadyVoted, match="already compared"):
            votes.cast(database, voter="eve", left_id=left.id, right_id=right.id, choice="left")
    votes.cast(database, voter="bob", left_id=one.id, right_id=two.id, choice="tie")
    votes.cast(database, voter="kim", left_id=one.id, right_id=two.id, choice="right")
    assert votes.tallies(database, [one.id, two.id, "other"]) == {
        one.id: Tally(wins=1, losses=1, ties=1),
        two.id: Tally(wins=1, losses=1, ties=1),
        "other": Tally(),
    }


def test_a_vote_that_makes_no_sense_is_refused(database: sa.Engine) -> None:
    one, two, waiting = picture(database), picture(database), add(database)
    for voter, left, right, choice, error, said in (
        ("eve", one.id, one.id, "left", BadValue, "with itself"),
        ("eve", one.id, two.id, "both", BadValue, "'both' is no choice; permitted: left, right, tie"),
        ("eve", one.id, new_id(), "left", PairGone, "taken out meanwhile"),
        ("eve", one.id, "nope", "left", UnknownJob, "no job with the id 'nope'"),
        ("eve", one.id, waiting.id, "left", BadValue, "is queued; only finished"),
        ("", one.id, two.id, "left", BadValue, "1 to 128"),
    ):
        with pytest.raises(error, match=said):
            votes.cast(database, voter=voter, left_id=left, right_id=right, choice=choice)  # type: ignore[arg-type]
    assert votes.tallies(database, [one.id]) == {one.id: Tally()}
