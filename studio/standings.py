"""The ratings as of a moment ago: worked out in the background, for all visitors, and not more often than is cheap."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import sqlalchemy as sa

from db.artefacts import givers
from db.jobs import Job
from db.votes import history
from db.votes.history import Shown, Vote
from generator import registry
from ratings.influence import FRESH_S
from ratings.standings import Ballots, Picture, Rated, Standings, standings

# Ratings are worked out anew after this long at the earliest, and after 20 times the CPU time that it took: with
# however many votes they take at most a twentieth of one core.
REST_S = 10.0
REST_TIMES = 20
# How long a page waits for ratings that are being worked out: for the first ones, and for newer ones. Who comes while
# newer ones are worked out sees those from before.
FIRST_WAIT_S = 3.0
NEWER_WAIT_S = 0.3

# What differs between any two pictures, and names of pictures.
_NO_SETTINGS = {"prompt", "seed", *givers.SETTINGS}
_MAX_VALUE_LENGTH = 40


class Keeper:
    """The newest standings there are. One for everybody who is served by this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._found: Standings | None = None
        self._pictures: dict[str, Picture] = {}  # those voted on, by job: read once
        self._state: tuple[int, int, int] | None = None
        self._due = 0.0
        self._error: Exception | None = None

    def current(self, db: sa.Engine, first_wait_s: float = FIRST_WAIT_S) -> Standings | None:
        """The standings, seconds to minutes old; None while the first ones are worked out.

        first_wait_s: how long to wait for those. Raises what went wrong, as db.errors.DatabaseUnavailable, where there
        are none yet.
        """
        with self._lock:
            wait_s = first_wait_s if self._found is None else 0.0
            if self._thread is None and time.monotonic() >= self._due:
                self._thread = threading.Thread(target=self._work, args=(db,), daemon=True)
                self._thread.start()
                wait_s = max(wait_s, NEWER_WAIT_S)
            thread = self._thread
        if thread is not None:
            thread.join(wait_s)
        with self._lock:
            if self._found is None and self._error is not None:
                error, self._error, self._due = self._error, None, 0.0
                raise error
            return self._found

    def _work(self, db: sa.Engine) -> None:
        started = time.thread_time()
        try:
            state = history.state(db)
            if state != self._state:
                votes, self._pictures = voted_on(db, self._pictures)
                found = standings(collected(votes, self._pictures))
                with self._lock:
                    self._found, self._state, self._error = found, state, None
        except Exception as error:
            logging.getLogger(__name__).exception("the ratings could not be worked out")
            with self._lock:
                self._error = error
        finally:
            rest = max(REST_S, REST_TIMES * (time.thread_time() - started))
            with self._lock:
                self._due = time.monotonic() + rest
                self._thread = None


def best_rated(db: sa.Engine, found: Standings, limit: int) -> list[tuple[Rated, Job]]:
    """The best pictures, at most `limit`, but for those that the host has hidden since the votes were counted."""
    shown = history.visible(db, [rated.name for rated in found.best])
    return [(rated, shown[rated.name]) for rated in found.best if rated.name in shown][:limit]


def voted_on(db: sa.Engine, known: Mapping[str, Picture]) -> tuple[list[Vote], dict[str, Picture]]:
    """The newest votes, oldest first, and the pictures they are about, by job; known: those read before."""
    votes, there = history.newest(db)
    new = history.shown(db, there - known.keys())
    pictures = {job_id: picture for job_id, picture in known.items() if job_id in there}
    pictures |= {job_id: _picture(job) for job_id, job in new.items()}
    # What was hidden in between is not among the new ones.
    return [vote for vote in votes if vote.first_id in pictures and vote.second_id in pictures], pictures


def collected(votes: list[Vote], pictures: Mapping[str, Picture]) -> Ballots:
    """Votes and pictures in numbers, as the ratings take them."""
    voted = sorted({job_id for vote in votes for job_id in (vote.first_id, vote.second_id)})
    place = {job_id: n for n, job_id in enumerate(voted)}
    voters: dict[str, int] = {}
    addresses: dict[str, int] = {}
    return Ballots(
        pictures=[pictures[job_id] for job_id in voted],
        first=np.array([place[vote.first_id] for vote in votes], np.int64),
        second=np.array([place[vote.second_id] for vote in votes], np.int64),
        share=np.array([_share(vote) for vote in votes], np.float64),
        first_left=np.array([vote.left_id == vote.first_id for vote in votes], bool),
        voter=np.array([voters.setdefault(vote.voter, len(voters)) for vote in votes], np.int64),
        at=np.array([vote.at for vote in votes], np.float64),
        address=np.array(
            [-1 if vote.address is None else addresses.setdefault(vote.address, len(addresses)) for vote in votes],
            np.int64,
        ),
        fresh=np.array([_is_fresh(vote) for vote in votes], bool),
    )


def _is_fresh(vote: Vote) -> bool:
    return vote.voter_since is not None and vote.at - vote.voter_since < FRESH_S


def _share(vote: Vote) -> float:
    return 0.5 if vote.winner_id is None else float(vote.winner_id == vote.first_id)


def _picture(job: Shown) -> Picture:
    clip = job.params.get("clip") or ()
    return Picture(
        id=job.id,
        engine=job.engine,
        checkpoint=job.checkpoint,
        prompt=job.prompt,
        score=job.score,
        clip="+".join(map(str, clip)) if isinstance(clip, (list, tuple)) else str(clip),
        settings={
            name: value for name in job.params if name not in _NO_SETTINGS and (value := _value(job.params[name]))
        },
    )


def _value(value: Any) -> str:
    """A setting's value in a few letters; "" for one that is none, as a long text or a list of points."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None:
        return "none"
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        value = "+".join(value)
    if isinstance(value, (str, int, float)) and 0 < len(str(value)) <= _MAX_VALUE_LENGTH:
        return f"{value:g}" if isinstance(value, float) else str(value)
    return ""


def model_title(name: str) -> str:
    """ "engine checkpoint" for people."""
    engine, _, checkpoint = name.partition(" ")
    spec = registry.ENGINES.get(engine)
    return f"{spec.title if spec else engine}, {checkpoint}"
