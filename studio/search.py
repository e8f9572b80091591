"""Search by meaning: finished pictures in the order in which CLIP finds them like words, a picture, or a job's picture.

Words and pictures are read by an executor, since nothing here computes: the first search for something takes a moment,
and is answered at once from then on. Who may see what, and the filters, are those of `access.jobs`.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from characters.seen import as_seen
from db import artefacts
from db.jobs import Job, check_text
from db.queue import list_jobs, workers
from db.search import embeddings, searches
from db.search.nearest import pictures_in
from db.search.searches import MAX_WAITING
from generator import registry
from generator.checkpoints.clip_space import clip_space
from generator.wording import Notice, as_ranked
from studio import access
from studio.context import Studio, Submitter
from studio.errors import BadWish, Busy, Refused
from studio.uploads import Upload, seen_by_clip

MAX_WORDS = 300  # characters
LOOK_S = 0.05  # between two looks whether an executor has read it
LATE_S = 15.0  # an executor that reads at all has read it by then


Waits = Literal["reading", "no_executor", "unread"]


class SearchOff(Refused):
    """There is no search by meaning here."""


@dataclass(frozen=True)
class Query:
    """What to search for: one of words, the file of a picture, and the id of a job."""

    words: str | None = None
    picture: bytes | None = field(default=None, repr=False)
    like: str | None = None

    @cached_property
    def digest(self) -> str:
        """What stands for the picture."""
        return hashlib.sha256(b"picture " + (self.picture or b"")).hexdigest()


@dataclass(frozen=True)
class Found:
    """A page of what was found.

    jobs: best first, with their scores: the cosine similarity, -1 to 1. after: pass it to get the next page; None at
    the end. looked_through: in how many pictures was searched; unseen: how many finished ones no executor has looked at
    yet, so that they cannot be found. waits: why there is no answer yet: an executor is about to read what was searched
    for, or there is none, or none of those there has read it. Then there are no jobs; search again for the same.
    """

    jobs: list[Job] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    after: str | None = None
    looked_through: int = 0
    unseen: int = 0
    waits: Waits | None = None

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What there is to be said of it, to be shown beside the pictures."""
        said = {
            "reading": Notice("What you search for is being read; the pictures come in a moment."),
            "no_executor": Notice("No executor is running to read what you search for; it is answered once one is."),
            "unread": Notice("No executor has read what you search for; their logs say why."),
        }
        found = [said[self.waits]] if self.waits else []
        if self.unseen:
            found.append(
                Notice("Pictures that no executor has looked at yet, so that they are not found: {n}.", n=self.unseen)
            )
        return tuple(found)


def search(
    studio: Studio,
    submitter: Submitter,
    query: Query,
    *,
    after: str | None = None,
    limit: int = 24,
    wait_s: float = 0.0,
    mine: bool = False,
    include_hidden: bool = False,
    only_hidden: bool = False,
    **filters: Any,
) -> Found:
    """The pictures nearest to what is searched for, of those that `access.jobs` would list with the same filters.

    after: as the page before has it. wait_s: how long to wait here until it was read. Raises SearchOff, BadWish for
    what cannot be searched for, Busy where too many wait, UnknownJob, NotHost, and BadValue where the last picture of
    the page before is gone.
    """
    if include_hidden or only_hidden:
        access.check_host(submitter)
    space, clip = _space(studio)
    pictures = pictures_in(studio.db, space, studio.settings.search_bytes)
    vector = _vector(studio, submitter, query, space, clip, wait_s)
    if not isinstance(vector, bytes):
        pictures.look(studio.db)
        return Found(waits=vector, looked_through=pictures.looked_through, unseen=pictures.not_found)
    shown = {"include_hidden": include_hidden, "only_hidden": only_hidden, **filters}
    if narrowed := filters.get("narrowed"):  # its order and its pages are those of the search
        shown["narrowed"] = replace(narrowed, by_score=False, skip=0)
    shown["submitter"] = submitter.id if mine else None
    nearest = pictures.nearest(studio.db, vector, limit=limit + 1, after=after, besides=query.like, **shown)
    scores = dict(nearest[:limit])
    jobs = list_jobs(studio.db, among=list(scores), limit=len(scores), **shown) if scores else []
    places = {job_id: place for place, job_id in enumerate(scores)}
    jobs.sort(key=lambda job: places[job.id])
    return Found(
        jobs,
        [round(scores[job.id], 6) for job in jobs],
        after=nearest[limit - 1][0] if len(nearest) > limit else None,
        looked_through=pictures.looked_through,
        unseen=pictures.not_found,
    )


def _space(studio: Studio) -> tuple[str, registry.Checkpoint]:
    name = studio.settings.search_clip
    if not name:
        raise SearchOff("There is no search by meaning here; the host can have one with T2I_SEARCH_CLIP.")
    if name not in registry.CLIP_MODELS:
        raise SearchOff(f"T2I_SEARCH_CLIP names no CLIP model; permitted: {', '.join(registry.CLIP_MODELS)}.")
    return clip_space(name), registry.CLIP_MODELS[name]


def _vector(
    studio: Studio, submitter: Submitter, query: Query, space: str, clip: registry.Checkpoint, wait_s: float
) -> bytes | Waits:
    """What CLIP makes of it; where nobody has read it so far, why."""
    if sum(part is not None for part in (query.words, query.picture, query.like)) != 1:
        raise BadWish("Search for words, or for a picture, or for what is like a job's picture: for one of them.")
    words = None
    if query.like is not None:
        job = access.job(studio, submitter, query.like)
        if (seen := embeddings.of_job(studio.db, space, job.id)) is not None:
            return seen
        query = Query(picture=_picture_of(studio, job))
    if query.words is not None:
        words = _read(query.words, clip.name)
        digest = _digest(words)
    else:
        digest = query.digest
    until = time.monotonic() + (wait_s if workers.live(studio.db) else 0.0)
    while True:
        known = searches.find(studio.db, space, digest)
        if known is None:
            sent = None if query.picture is None else Upload("picture", query.picture)
            small = None if sent is None else seen_by_clip(studio, sent, clip.only_side or 224)
            if not searches.ask(studio.db, space, digest, words=words, picture=small):
                raise Busy("{count} searches wait to be read; try again in some seconds.", count=MAX_WAITING)
        elif known.vector is not None:
            return known.vector
        elif known.problem is not None:
            raise BadWish("This cannot be searched for: {why}", why=known.problem)
        if time.monotonic() >= until:
            break
        time.sleep(LOOK_S)
    if not workers.live(studio.db):
        return "no_executor"
    return "unread" if known is not None and (known.waiting_s or 0.0) > LATE_S else "reading"


def digest_of_words(words: str, clip: str) -> str:
    """By what these words are kept once they are read. Raises BadWish, BadValue."""
    return _digest(_read(words, clip))


def _digest(read: str) -> str:
    return hashlib.sha256(f"words {read.lower()}".encode()).hexdigest()


def _read(words: str, clip: str) -> str:
    """The words as the CLIP is given them."""
    if len(words) > MAX_WORDS:
        raise BadWish("{n} characters to search for; at most {most} are permitted.", n=len(words), most=MAX_WORDS)
    check_text("search", words)
    seen = " ".join(as_seen(words).split())
    if not seen:
        raise BadWish("Write some words to search for.")
    return as_ranked(seen, [clip])


def _picture_of(studio: Studio, job: Job) -> bytes:
    files = artefacts.of_job(studio.db, job.id)
    for kind in ("thumbnail", "picture"):
        if kind in files:
            return studio.store.get(files[kind].key)
    raise BadWish("That job has no picture that others could be like.")
