"""Reading jobs: one, a page of them, those that run or wait, and what happened to one."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import sqlalchemy as sa

from db.boards import on_board
from db.engine import reading, writing
from db.errors import BadValue, UnknownJob
from db.jobs import LIVE, Job, State, from_row, is_id, normalise, storable
from db.queue.fair_order import service_order
from db.schema import events as events_table
from db.schema import jobs
from db.schema.queue import STYLE


@dataclass(frozen=True)
class Narrowed:
    """What a page of the gallery is narrowed to besides, and its order.

    from_id: this job and older ones. until: asked for before this time in UTC s. board: of this submitter, by its name.
    settings: names with their values as people write them; on or off for a switch. by_score: the highest first, and
    those with one alone. skip: how many are left out at the start.
    """

    from_id: str | None = None
    until: float | None = None
    board: tuple[str, str] | None = None
    settings: tuple[tuple[str, str], ...] = ()
    by_score: bool = False
    skip: int = 0


NOT_NARROWED = Narrowed()


@dataclass(frozen=True)
class Event:
    """One thing that happened to a job: its kind is the new state, or claimed, released, lease_expired (its executor
    was lost, and it was alone there), suspected (the same, beside others), cleared (no suspect any more), came_back
    (the executor was not lost), cancel_requested, tried_again. `at` is in UTC s."""

    id: int
    job_id: str
    at: float
    kind: str
    worker_id: str | None
    detail: str | None


def get(db: sa.Engine, job_id: str) -> Job:
    """The job with this id. Raises UnknownJob."""
    if not is_id(job_id):
        raise UnknownJob(job_id)
    with reading(db) as conn:
        row = conn.execute(_ONE, {"job_id": job_id}).one_or_none()
    if row is None:
        raise UnknownJob(job_id)
    return from_row(row)


def get_each(db: sa.Engine, job_ids: Sequence[str]) -> list[Job]:
    """These jobs, in this order. Raises UnknownJob for the first that is not there."""
    with reading(db) as conn:
        found = _found(conn, [job_id for job_id in job_ids if is_id(job_id)])
    for job_id in job_ids:
        if job_id not in found:
            raise UnknownJob(job_id)
    return [found[job_id] for job_id in job_ids]


# Made once: making a statement takes longer than running it.
_ONE = sa.select(*jobs.c).where(jobs.c.id == sa.bindparam("job_id"))


def list_jobs(
    db: sa.Engine,
    *,
    before_id: str | None = None,
    limit: int = 24,
    states: Collection[State | str] | None = None,
    engine: str | None = None,
    submitter: str | None = None,
    search: str | None = None,
    among: Collection[str] | None = None,
    without: Collection[str] = (),
    since: float | None = None,
    narrowed: Narrowed = NOT_NARROWED,
    include_hidden: bool = False,
    only_hidden: bool = False,
) -> list[Job]:
    """Up to `limit` jobs, newest first, older than `before_id`: pass the last id of one page to get the next.

    search: a part of the prompt, whatever its case and spacing. among: the ids to choose from. without: engines whose
    jobs are left out. since: those asked for at this time in UTC s or later.
    A page costs the same at the end of 100,000 jobs as at the start; a search that finds nothing reads one narrow
    index to its end, and what is narrowed by a setting other than style the jobs themselves.
    """
    with reading(db) as conn:
        page = _page(
            before_id=before_id,
            limit=limit,
            states=None if states is None else tuple(_each(states)),
            engine=engine,
            submitter=submitter,
            search=search,
            among=None if among is None else tuple(among),
            without=tuple(sorted(without)),
            since=since,
            narrowed=narrowed,
            include_hidden=include_hidden,
            only_hidden=only_hidden,
        )
        return _in_order(conn, conn.scalars(page).all())


@lru_cache(maxsize=256)
def _page(**filters: Any) -> sa.Select[Any]:
    """`page_query`, made once for a page that is looked at again and again: that takes longer than reading it."""
    return page_query(**filters)


def page_query(
    *,
    before_id: str | None = None,
    limit: int | None = 24,
    states: Collection[State | str] | None = None,
    engine: str | None = None,
    submitter: str | None = None,
    search: str | None = None,
    among: Collection[str] | None = None,
    without: Collection[str] = (),
    since: float | None = None,
    narrowed: Narrowed = NOT_NARROWED,
    include_hidden: bool = False,
    only_hidden: bool = False,
) -> sa.Select[Any]:
    """The statement that finds the ids of a page: each part reads an index from its new end, and stops.

    limit: None for all of them.
    """
    term = normalise(search) if search else ""
    order = [jobs.c.score.desc(), jobs.c.id.desc()] if narrowed.by_score else [jobs.c.id.desc()]
    page = sa.select(jobs.c.id).where(*_shown(include_hidden, only_hidden)).order_by(*order).limit(limit)
    if narrowed.skip:
        page = page.offset(narrowed.skip)
    page = page.where(*_narrower(narrowed))
    if not term and (include_hidden or only_hidden):  # of what was deleted no word is left to be found by
        page = page.where(jobs.c.deleted_at.is_(None))
    if before_id is not None:
        page = page.where(jobs.c.id < before_id)
    if without:
        page = page.where(_plain(jobs.c.engine).not_in(sorted(without)))
    if since is not None:
        page = page.where(jobs.c.created_at >= since)
    texts = [before_id, submitter, engine, search, narrowed.from_id, *(narrowed.board or ())]
    texts += [text for setting in narrowed.settings for text in setting]
    if not all(storable(text) for text in texts if text):
        return page.where(sa.false())
    if among is not None:
        page = page.where(jobs.c.id.in_(among))
    of = [
        (column, value)
        for column, value in ((jobs.c.submitter, submitter), (jobs.c.style, _style(narrowed)), (jobs.c.engine, engine))
        if value is not None
    ]
    if term:
        page = page.where(jobs.c.prompt_search.contains(term, autoescape=True))
    if term or among is not None:
        # The search index is read, or that of the ids; the others are kept from drawing SQLite to one it must sort.
        page = page.where(*(_plain(column) == value for column, value in of))
        return page if states is None else page.where(_plain(jobs.c.state).in_(_each(states)))
    if states is None and not of:
        return page
    # There is an index of each of these, with state and id behind it; one of them is read.
    page = page.where(
        *(
            (_plain(column) if n or (narrowed.by_score and column is not jobs.c.submitter) else column) == value
            for n, (column, value) in enumerate(of)
        )
    )
    wanted = list(State) if states is None else _each(states)
    if narrowed.by_score or narrowed.skip:
        return page.where(jobs.c.state.in_(wanted))
    return _newest_of_each(page, wanted, limit)


def _narrower(narrowed: Narrowed) -> list[sa.ColumnElement[bool]]:
    parts: list[sa.ColumnElement[bool]] = [jobs.c.score.is_not(None)] if narrowed.by_score else []
    style = _style(narrowed)
    if narrowed.from_id is not None:
        parts.append(jobs.c.id <= narrowed.from_id)
    if narrowed.until is not None:
        parts.append(jobs.c.created_at < narrowed.until)
    if narrowed.board is not None:
        parts.append(jobs.c.id.in_(on_board(*narrowed.board)))
    return parts + [_is_set(name, typed) for name, typed in narrowed.settings if (name, typed) != ("style", style)]


def _style(narrowed: Narrowed) -> str | None:
    """The style that it is narrowed to, where a column has it."""
    return next((typed for name, typed in narrowed.settings if name == "style" and len(typed) <= STYLE), None)


def _is_set(name: str, typed: str) -> sa.ColumnElement[bool]:
    """Whether a setting has this value as people write it; of a list, whether it is in it."""
    text = sa.cast(jobs.c.params[name].as_string(), sa.Text)
    if typed in ("on", "off"):
        return text.in_(("true", "1") if typed == "on" else ("false", "0"))  # as each database has it
    spelt = {typed}
    with suppress(ValueError):
        spelt |= {f"{float(typed):g}", str(float(typed))}
    listed = sa.and_(text.startswith("["), text.contains(json.dumps(typed), autoescape=True))
    return sa.or_(text.in_(sorted(spelt)), listed)


def seen_among(db: sa.Engine, job_ids: Sequence[str], **filters: Any) -> list[str]:
    """Those of these jobs that `list_jobs` finds under such filters, in the order in which they are given."""
    some = [job_id for job_id in job_ids if is_id(job_id)]
    there: set[str] = set()
    with reading(db) as conn:
        for i in range(0, len(some), 500):
            there |= set(conn.scalars(page_query(among=some[i : i + 500], limit=None, **filters)))
    return [job_id for job_id in some if job_id in there]


def _shown(include_hidden: bool, only_hidden: bool) -> list[sa.ColumnElement[bool]]:
    if only_hidden:
        return [jobs.c.hidden == sa.true()]
    # What was deleted is hidden as well.
    return [] if include_hidden else [jobs.c.hidden == sa.false()]


def _each(states: Collection[State | str]) -> list[State]:
    try:
        return sorted({State(state) for state in states})
    except ValueError:
        raise BadValue(
            f"There is a state among {sorted(states)!r} that is none; permitted: {', '.join(State)}."
        ) from None


def _newest_of_each(page: sa.Select[Any], states: Sequence[State], limit: int | None) -> sa.Select[Any]:
    """State stands in front of id in the indexes: a page of each state is taken, then the newest of those."""
    parts = [page.where(jobs.c.state == state) for state in states]
    if not parts:
        return page.where(sa.false())
    if len(parts) == 1:
        return parts[0]
    merged = sa.union_all(*(sa.select(part.subquery().c.id) for part in parts)).subquery("merged")
    return sa.select(merged.c.id).order_by(merged.c.id.desc()).limit(limit)


def _plain(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column's value as an expression that no index is chosen for."""
    return sa.func.coalesce(column, "")


def prompts_of(db: sa.Engine, submitter: str, engines: Collection[str], *, limit: int) -> list[str]:
    """The prompts of a submitter's newest jobs as they were typed, each once, the newest first.

    engines: whose jobs count. limit: how many jobs are looked at; of those nothing else is read.
    """
    with reading(db) as conn:
        found = list(conn.scalars(_page(limit=limit, submitter=submitter)))
        typed = jobs.c.params[("wording", "prompt", "typed")].as_string()
        rows = conn.execute(
            sa.select(jobs.c.id, jobs.c.prompt, typed).where(
                jobs.c.id.in_(found), _plain(jobs.c.engine).in_(sorted(engines))
            )
        ).all()
    by_age = sorted(rows, key=lambda row: str(row[0]), reverse=True)
    return [prompt for prompt in dict.fromkeys(row[2] or row[1] for row in by_age) if prompt]


def children(db: sa.Engine, job_id: str, *, limit: int = 24) -> list[Job]:
    """What was made from a job, the newest first, but for what the host has hidden."""
    if not is_id(job_id):
        return []
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*jobs.c)
            .where(jobs.c.parent_id == job_id, jobs.c.hidden == sa.false())
            .order_by(jobs.c.id.desc())
            .limit(limit)
        ).all()
    return [from_row(row) for row in rows]


def running_jobs(db: sa.Engine) -> list[Job]:
    """All running jobs, the one that started first at the top."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*jobs.c).where(jobs.c.state == State.RUNNING).order_by(jobs.c.turn, jobs.c.id)
        ).all()
    return [from_row(row) for row in rows]


def queued_jobs(db: sa.Engine, *, limit: int = 100) -> list[Job]:
    """The first `limit` waiting jobs in the order in which they will be served: the n-th has position n."""
    with reading(db) as conn:
        return _in_order(conn, list(islice(service_order(conn), limit)))


def to_be_cancelled(db: sa.Engine, job_ids: Sequence[str]) -> set[str]:
    """Those of these jobs that have been asked to stop."""
    with reading(db) as conn:
        return set(conn.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids), jobs.c.cancel_requested)))


def counts(db: sa.Engine) -> dict[State, int]:
    """How many jobs are in each state; states without any are there with 0."""
    with reading(db) as conn:
        rows = conn.execute(sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)).all()
    return {state: 0 for state in State} | {State(state): n for state, n in rows}


def live_of(db: sa.Engine, submitter: str) -> dict[State, int]:
    """How many jobs of a submitter wait and run."""
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(jobs.c.state, sa.func.count())
            .where(jobs.c.submitter == submitter, jobs.c.state.in_(LIVE))
            .group_by(jobs.c.state)
        ).all()
    return {state: 0 for state in LIVE} | {State(state): n for state, n in rows}


def events(db: sa.Engine, job_id: str) -> list[Event]:
    """What happened to a job, oldest first. Raises UnknownJob."""
    get(db, job_id)
    with reading(db) as conn:
        rows = conn.execute(
            sa.select(*events_table.c).where(events_table.c.job_id == job_id).order_by(events_table.c.id)
        ).all()
    return [Event(**row._mapping) for row in rows]


def set_hidden(db: sa.Engine, job_id: str, hidden: bool = True, copies: Collection[str] = ()) -> Job:
    """Take a job out of the public lists and votes, or bring it back. Raises UnknownJob.

    copies: engines that make the same picture again, as upscaling does; what they made from it goes along.
    """
    there = jobs.c.deleted_at.is_(None)
    with writing(db) as conn:
        made = copies_of(conn, {job_id}, copies)
        if made:
            conn.execute(sa.update(jobs).where(jobs.c.id.in_(made), there).values(hidden=hidden))
        row = conn.execute(
            sa.update(jobs).where(jobs.c.id == job_id, there).values(hidden=hidden).returning(*jobs.c)
        ).one_or_none()
    if row is None:
        raise UnknownJob(job_id)
    return from_row(row)


def copies_of(conn: sa.Connection, job_ids: Collection[str], engines: Collection[str]) -> set[str]:
    """The jobs by which these engines made the pictures of `job_ids` again, and again from what they made."""
    found, newest = set(job_ids), set(job_ids)
    while engines and newest:
        some, made = sorted(newest), set[str]()
        for i in range(0, len(some), 500):
            of = sa.select(jobs.c.id).where(jobs.c.parent_id.in_(some[i : i + 500]), jobs.c.engine.in_(sorted(engines)))
            made |= set(conn.scalars(of))
        newest = made - found
        found |= newest
    return found - set(job_ids)


def _in_order(conn: sa.Connection, ids: Sequence[str]) -> list[Job]:
    found = _found(conn, ids)
    return [found[job_id] for job_id in ids]


def _found(conn: sa.Connection, ids: Sequence[str]) -> dict[str, Job]:
    found: dict[str, Job] = {}
    for i in range(0, len(ids), 500):
        rows = conn.execute(sa.select(*jobs.c).where(jobs.c.id.in_(ids[i : i + 500])))
        found.update({row.id: from_row(row) for row in rows})
    return found
