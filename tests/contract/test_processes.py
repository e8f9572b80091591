"""Many processes on one database: every job is claimed once, and no kill -9 loses or doubles one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from db import queue
from db.errors import AlreadyVoted, TooManyQueued
from db.jobs import State
from tests.contract.queue_steps import add, address, in_state

ROOT = Path(__file__).parents[2]


def together(processes: int, code: str, *args: str) -> list[str]:
    """Run `code` in several processes at once; all words they printed."""
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, str(n), *args],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(processes)
    ]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = [process.communicate()[0].split() for process in started]
    assert all(process.returncode == 0 for process in started)
    return list(itertools.chain(*printed))


START = """
import sys
from db import queue, votes
from db.engine import connect
from db.errors import AlreadyVoted, TooManyQueued
db = connect(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""


def claims(limit: int, then: str) -> str:
    """A program that claims until nothing waits, and prints each job; what comes then is done with it."""
    return f"""
idle = 0
while idle < 3:
    jobs = queue.claim(db, worker_id=sys.argv[1], limit={limit}, lease_s=60)
    idle = 0 if jobs else idle + 1
    for job in jobs:
        print(job.id)
        {then}
db.dispose()
"""


CLAIM = claims(3, "queue.succeed(db, worker_id=sys.argv[1], job_id=job.id)")


def test_every_job_is_claimed_exactly_once(database: sa.Engine) -> None:
    asked = [add(database, f"visitor-{n % 7}", batch_key=f"b{n % 2}").id for n in range(90)]
    claimed = together(3, START + CLAIM, address(database))
    assert sorted(claimed) == sorted(asked)
    assert queue.counts(database)[State.SUCCEEDED] == 90


ENQUEUE = f"""
for n in range(20):
    try:
        new = queue.NewJob(engine="e", checkpoint="c", batch_key="b", prompt="", params={{}}, total_steps=1)
        job = queue.enqueue(db, new, submitter="ada", limits=queue.Limits(max_queued=30))
        print(job.id)
    except {TooManyQueued.__name__}:
        pass
db.dispose()
"""


def test_a_limit_holds_against_many_requests_at_once(database: sa.Engine) -> None:
    made = together(2, START + ENQUEUE, address(database))
    assert len(set(made)) == len(made) == 30 == queue.counts(database)[State.QUEUED]


VOTE = f"""
for n in range(5):
    try:
        votes.cast(db, voter="eve", left_id=sys.argv[3], right_id=sys.argv[4], choice="left")
        print("counted")
    except {AlreadyVoted.__name__}:
        print("refused")
db.dispose()
"""


def test_a_vote_sent_many_times_at_once_counts_once(database: sa.Engine) -> None:
    one, two = in_state(database, State.SUCCEEDED), in_state(database, State.SUCCEEDED)
    answers = together(2, START + VOTE, address(database), one.id, two.id)
    assert (answers.count("counted"), answers.count("refused")) == (1, 9)


def test_processes_killed_at_random_lose_and_double_no_job(database: sa.Engine) -> None:
    run = [sys.executable, "scripts/stress_queue.py", "--kills", "5", "--processes", "2"]
    ended = subprocess.run([*run, "--database-url", address(database)], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("5 kills") and "none lost, none doubled" in ended.stdout
