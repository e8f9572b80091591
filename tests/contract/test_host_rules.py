"""What the host decides holds for every request, whoever makes it and by whichever door."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

from db import queue, votes
from db.errors import (
    BadValue,
    Banned,
    EngineWithheld,
    PairGone,
    SourceHidden,
    TooManyQueued,
    TooManyThisHour,
    UnknownJob,
    UnknownVisitor,
    WordRefused,
)
from db.evening import moderation
from db.jobs import State
from db.queue.enqueueing import NewJob
from db.rules import host_rules, keys, visitors
from db.schema import jobs
from db.sheets import submissions
from db.sheets.submissions import NewSheet
from tests.contract.queue_steps import add, in_state, take


def a_set(db: sa.Engine, count: int, submitter: str = "ada", prompt: str = "a red heart") -> None:
    new = NewJob(
        engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt=prompt, params={"prompt": prompt}, total_steps=1
    )
    wanted = [(str(n), new) for n in range(count)]
    submissions.submit(db, NewSheet(kind="candidates", prompt=prompt, wanted=wanted), submitter=submitter)


def test_a_paused_queue_gives_nothing_out_and_lets_what_runs_end(database: sa.Engine) -> None:
    add(database)
    (running,) = take(database)
    waiting = add(database)
    host_rules.change(database, paused=True)
    assert take(database, limit=8) == []
    assert queue.position_and_wait(database, waiting.id) == (1, None)
    assert queue.succeed(database, worker_id="w1", job_id=running.id).state == State.SUCCEEDED
    assert add(database).state == State.QUEUED
    host_rules.change(database, paused=False)
    assert [job.id for job in take(database)] == [waiting.id]


def test_a_job_sent_to_the_front_is_served_next(database: sa.Engine) -> None:
    for submitter in ("ada", "bob"):
        add(database, submitter, priority=3)
    behind, last = add(database, "bob"), add(database, "eve")
    queue.to_front(database, behind.id)
    queue.to_front(database, last.id)
    assert [job.id for job in queue.queued_jobs(database, limit=2)] == [last.id, behind.id]
    assert [take(database)[0].id for _ in range(2)] == [last.id, behind.id]
    assert queue.to_front(database, last.id).priority == queue.get(database, last.id).priority
    assert [event.kind for event in queue.events(database, last.id)].count("to_front") == 1
    with pytest.raises(UnknownJob):
        queue.to_front(database, "nope")


def test_a_banned_visitor_can_neither_queue_nor_vote_nor_take_a_name(database: sa.Engine) -> None:
    pictures = [in_state(database, State.SUCCEEDED) for _ in range(2)]
    waiting = add(database, "troll")
    (running,) = [add(database, "troll")]
    take(database, limit=1)
    assert moderation.ban(database, "troll") == 2
    assert {queue.get(database, job.id).cancel_requested for job in (waiting, running)} == {True}
    assert not take(database)
    for refused in (
        lambda: add(database, "troll"),
        lambda: a_set(database, 2, "troll"),
        lambda: votes.cast(database, voter="troll", left_id=pictures[0].id, right_id=pictures[1].id, choice="left"),
        lambda: visitors.set_name(database, "troll", "Me again"),
    ):
        with pytest.raises(Banned, match="ask the host"):
            refused()
    add(database, "ada")
    moderation.lift_ban(database, "troll")
    assert add(database, "troll").state == State.QUEUED
    with pytest.raises(UnknownVisitor):
        moderation.ban(database, "nobody")


def test_a_ban_can_take_all_pictures_of_a_visitor_out(database: sa.Engine) -> None:
    mine, theirs = in_state(database, State.SUCCEEDED), add(database, "bob")
    upscaled = add(database, "bob", engine="upscale", parent_id=mine.id)
    visitors.set_name(database, "ada", "Ada")
    moderation.ban(database, "ada", hide=True, copies=["upscale"])
    assert [job.id for job in queue.list_jobs(database)] == [theirs.id]
    assert queue.get(database, mine.id).hidden and queue.get(database, upscaled.id).hidden
    assert visitors.names(database, ["ada"]) == {}
    who = {visitor.id: visitor for visitor in moderation.recent(database)}
    assert who["ada"].banned_at and who["ada"].asked == 1 and not who["bob"].banned_at and who["bob"].live == 2


def test_refused_words_are_refused_in_every_text_of_a_job(database: sa.Engine) -> None:
    host_rules.change(database, refused_words=["gore", "very bad"])
    for fields in (
        {"prompt": "GÓRE"},
        {"prompt": "a very\u200b  BAD day"},
        {"params": {"negative_prompt": "g o r e"}},
        {"params": {"style": "gore"}},
    ):
        with pytest.raises(WordRefused, match="leave it out of your prompt"):
            add(database, **fields)
    with pytest.raises(WordRefused):
        a_set(database, 3, prompt="gore | a heart")
    with pytest.raises(WordRefused, match="of your name"):
        visitors.set_name(database, "ada", "Gore")
    assert queue.counts(database)[State.QUEUED] == 0
    add(database, prompt="a gorey, bad day, very")


def test_a_withheld_engine_is_refused(database: sa.Engine) -> None:
    host_rules.change(database, withheld=["biggan-clip"])
    with pytest.raises(EngineWithheld, match="'biggan-clip'"):
        add(database, engine="biggan-clip")
    add(database)


def test_the_hosts_limits_go_before_the_configured_ones(database: sa.Engine) -> None:
    host_rules.change(database, max_queued=2)
    add(database, max_queued=50), add(database)
    with pytest.raises(TooManyQueued, match="2 jobs waiting"):
        add(database, max_queued=50)
    with pytest.raises(TooManyQueued):
        a_set(database, 3, "bob")
    host_rules.change(database, max_queued=None)
    with pytest.raises(TooManyQueued):
        add(database, max_queued=2)
    add(database)


def test_a_visitor_may_ask_for_so_many_jobs_in_an_hour(database: sa.Engine) -> None:
    first = add(database, max_per_hour=3)
    host_rules.change(database, max_per_hour=2)
    second = add(database)
    with pytest.raises(TooManyThisHour, match="asked for 2 jobs in the last hour, and one visitor may ask for 2"):
        add(database)
    with pytest.raises(TooManyThisHour):
        a_set(database, 3, "bob")
    add(database, "bob")
    queue.request_cancel(database, second.id)  # took nobody's time
    add(database)
    with pytest.raises(TooManyThisHour):
        add(database)
    with database.begin() as conn:
        conn.execute(sa.update(jobs).where(jobs.c.id == first.id).values(created_at=jobs.c.created_at - 3601))
    add(database)


def test_two_requests_at_once_cannot_both_take_the_last_place(database: sa.Engine) -> None:
    host_rules.change(database, max_queued=5, max_per_hour=5)
    refused: list[Exception] = []

    def ask() -> None:
        for _ in range(2):
            try:
                add(database)
            except (TooManyQueued, TooManyThisHour) as error:
                refused.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.counts(database)[State.QUEUED] == 5 and len(refused) == 3


def test_what_is_hidden_is_no_parent_and_gets_no_vote(database: sa.Engine) -> None:
    hidden, other = (in_state(database, State.SUCCEEDED) for _ in range(2))
    queue.set_hidden(database, hidden.id)
    with pytest.raises(SourceHidden):
        add(database, hidden.submitter, parent_id=hidden.id)
    with pytest.raises(PairGone, match="taken out meanwhile, so this vote does not count"):
        votes.cast(database, voter="eve", left_id=hidden.id, right_id=other.id, choice="left")


def test_a_name_is_one_line_of_plain_text(database: sa.Engine) -> None:
    name = "  Ada\u202e\n<b>Löve\u200blace</b>\x07 "
    assert visitors.set_name(database, "ada", name) == "Ada <b>Lövelace</b>"
    visitors.set_name(database, "bob", "Bob")
    visitors.set_name(database, "bob", "")
    assert visitors.names(database, ["ada", "bob", "eve"]) == {"ada": "Ada <b>Lövelace</b>"}
    with pytest.raises(BadValue, match="41 characters; at most 40"):
        visitors.set_name(database, "ada", "x" * 41)
    with pytest.raises(BadValue, match="surrogate"):
        visitors.set_name(database, "ada", "\ud800")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_queued": 0}, "1 to 10000"),
        ({"max_per_hour": "many"}, "whole number"),
        ({"refused_words": ["..."]}, "no letter or digit"),
        ({"refused_words": ["x" * 81]}, "1 to 80"),
        ({"mood": 1}, "no rule; permitted"),
        ({"paused": True, "max_queued": -1}, "1 to 10000"),
    ],
)
def test_a_rule_that_makes_no_sense_changes_nothing(database: sa.Engine, values: dict[str, object], said: str) -> None:
    host_rules.change(database, max_queued=7)
    with pytest.raises(BadValue, match=said):
        host_rules.change(database, **values)
    assert host_rules.get(database) == host_rules.Rules(max_queued=7)


def test_a_name_is_judged_as_it_is_shown_and_one_that_shows_nothing_is_none(database: sa.Engine) -> None:
    host_rules.change(database, refused_words=["gore"])
    for name in ("Gоrе", "\u202eerog", "G\u200bo\u200br\u200be", "ᎶᎧᎡᎬ", "g 0 r e"):
        with pytest.raises(WordRefused, match="of your name"):
            visitors.set_name(database, "ada", name)
    for blank in ("\u3164", "\u2800\u200b", "\u202e \u202c", "\ufe0f", "\U000e0061"):
        assert visitors.set_name(database, "ada", blank) is None
        with pytest.raises(BadValue, match="needs a name"):
            keys.make(database, blank)
    with pytest.raises(WordRefused, match="of your key's name"):
        keys.make(database, "the g.o.r.e bot")
    assert visitors.set_name(database, "ada", "Ada 👩\u200d🚀") == "Ada 👩\u200d🚀"
    assert visitors.set_name(database, "bob", "\u2067דוד\u2069") == "דוד"


@pytest.mark.parametrize(
    "kept", ["\U0001fae9", "\U0001f3f4\U000e0067\U000e0062\U000e007f", "❤\ufe0f", "\U0001faff", "क्\u200dष"]
)
def test_a_name_keeps_emoji_newer_than_this_unicode(database: sa.Engine, kept: str) -> None:
    assert visitors.set_name(database, "ada", f"Ada {kept}") == f"Ada {kept}"
    assert visitors.set_name(database, "bob", kept) == kept


@pytest.mark.parametrize(
    "dropped", ["\x07", "\x9f", "\ue000", "\U0010fffd", "\ufdd0", "\ufffe", "\U0001ffff", "\ufff9"]
)
def test_a_name_holds_nothing_that_is_no_text(database: sa.Engine, dropped: str) -> None:
    assert visitors.set_name(database, "ada", f"A{dropped}da") == "Ada"
    assert visitors.set_name(database, "ada", dropped) is None
    with pytest.raises(BadValue, match="surrogate"):
        host_rules.change(database, refused_words=["\ud800a"])
