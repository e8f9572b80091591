"""Who is on the stage of the wall: what forms, then its film and the finished picture, then the next; a slow show of
the best where nobody is there. Ids and times alone: nothing here reads a database or draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

TURN_S = 20.0  # of one picture that forms while others do
FILM_S, REST_S = 12.0, 8.0  # the longest film (generator/output/film.py), and the finished picture behind it
CALM_S = 45.0  # a finished picture stays so long where nothing follows
SLIDE_S = 14.0  # of a picture in the show
MAX_PREMIERES = 3  # films that wait for the stage; of more, the newest


@dataclass(frozen=True)
class Stage:
    """What is on it, since when (in s of any clock), and what the direction remembers.

    premieres: finished pictures whose films were not on it yet, the oldest first. listed: the finished pictures on the
    wall at the last look, the newest first; whole: those were all there are. forming: what formed then.
    """

    kind: Literal["empty", "forming", "finished", "calm"] = "empty"
    job_id: str | None = None
    since: float = 0.0
    premieres: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    whole: bool = True
    forming: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What there is: jobs that form, the first that began first; finished ones, the newest first (whole: all of them);
    those of the show, the best first.

    ended: what formed at the last look or stood on the stage, is finished and may be seen, also where it hangs nowhere
    else.
    """

    forming: Sequence[str] = ()
    finished: Sequence[str] = ()
    whole: bool = True
    show: Sequence[str] = ()
    ended: Sequence[str] = ()


def direct(before: Stage | None, scene: Scene, now: float) -> Stage:
    """What is on the stage from now on. before: None where the wall has just been opened."""
    if before is None:
        before = Stage(listed=tuple(scene.finished), whole=scene.whole, forming=tuple(scene.forming), since=now)
    there = {*scene.finished, *scene.ended}
    waits = [job_id for job_id in before.premieres if job_id in there]
    waits += [job_id for job_id in _new(before, scene) if job_id not in waits and job_id != before.job_id]
    known = replace(
        before,
        premieres=tuple(waits[-MAX_PREMIERES:]),
        listed=tuple(scene.finished),
        whole=scene.whole,
        forming=tuple(scene.forming),
    )
    passed = now - before.since
    on = before.job_id
    if before.kind == "forming":
        if on in there:
            return replace(known, kind="finished", since=now)
        alone = len(scene.forming) == 1 and not known.premieres
        if on in scene.forming and (alone or passed < TURN_S):
            return known
    elif before.kind == "finished" and on in there:
        follows = known.premieres or scene.forming
        if passed < FILM_S + (REST_S if follows else CALM_S):
            return known
    elif before.kind == "calm" and on in scene.show and not known.premieres and not scene.forming:
        return known if passed < SLIDE_S else _next(known, scene, now)
    return _next(known, scene, now)


def _new(before: Stage, scene: Scene) -> list[str]:
    """What has come onto the wall since the last look, the oldest first.

    Where the list was cut at its end, what moves up there because something above was taken out is not new.
    """
    old = {*before.listed}
    came = [job_id for job_id in scene.finished if job_id not in old]
    if not before.whole:
        last = max((place for place, job_id in enumerate(scene.finished) if job_id in old), default=len(scene.finished))
        came = [job_id for job_id in scene.finished[:last] if job_id not in old]
    return [*reversed(came), *(job_id for job_id in scene.ended if job_id in before.forming and job_id not in came)]


def _next(known: Stage, scene: Scene, now: float) -> Stage:
    if known.premieres:
        first, *others = known.premieres
        return replace(known, kind="finished", job_id=first, since=now, premieres=tuple(others))
    if scene.forming:
        return replace(known, kind="forming", job_id=_following(scene.forming, known.job_id), since=now)
    if scene.show:
        return replace(known, kind="calm", job_id=_following(scene.show, known.job_id), since=now)
    return replace(known, kind="empty", job_id=None, since=now)


def _following(ids: Sequence[str], job_id: str | None) -> str:
    """The one behind it; the first where it is not among them, or the last."""
    place = ids.index(job_id) + 1 if job_id in ids else 0
    return ids[place % len(ids)]
