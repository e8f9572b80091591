"""Old pictures make room for new ones where the host has set so: by age, by bytes; favourites are kept, so many of each
visitor.

A job is removed whole: its row, its files, and what names it. First it is hidden, in one transaction with the last look
at whether it may go, so that nobody votes on it or makes something of it meanwhile; then it is deleted as whoever asked
for it would (db/evening/deleting.py), which leaves that there was one; then that goes too. A call that is broken off is
finished by the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from db import clock_steps
from db.artefacts import Store
from db.engine import clock, reading, writing
from db.evening import deleting
from db.jobs import ENDED, LIVE
from db.rules import host_rules
from db.schema import (
    artefacts,
    boards,
    embeddings,
    events,
    jobs,
    marks,
    members,
    refinements,
    stages,
    submissions,
    trained_models,
    votes,
    webhooks,
)

KEEP_BEST = 100  # pictures that more people preferred than not, the most preferred first
AT_ONCE = 50
SETTLED_S = 600.0  # after a clock was seen to jump ahead nothing is old for so long: it may be mended
_DAY_S = 86400.0


@dataclass(frozen=True)
class Due:
    """What goes at the next sweep: jobs and bytes of their files; kept: old ones that are favourites or in use.
    beyond: of those that go, how many somebody keeps beyond what each visitor may have spared."""

    jobs: int
    size: int
    kept: int
    beyond: int = 0


def due(db: sa.Engine) -> Due:
    """What the rule, as the host has set it, would remove now."""
    with reading(db) as conn:
        old = _too_old_or_large(conn)
        free = _may_go(conn, list(old))
        beyond = set(conn.scalars(sa.select(_chosen().c.job_id))) if free else set[str]()
    return Due(len(free), sum(old[job_id] for job_id in free), len(old) - len(free), len(beyond.intersection(free)))


def remove_due(db: sa.Engine, store: Store) -> int:
    """Remove at most AT_ONCE jobs that are due; how many those were. Raises StoreUnavailable."""
    with reading(db) as conn:
        now = clock(conn)
        rules = host_rules.read(conn)
        if rules.keep_days is None and rules.keep_gb is None:
            return 0
        if clock_steps.since_last(db, now).ahead_s < SETTLED_S:
            return 0
        old = list(_too_old_or_large(conn))
        wanted = _may_go(conn, old)[:AT_ONCE]
    return remove(db, store, wanted)


def remove(db: sa.Engine, store: Store, job_ids: Sequence[str]) -> int:
    """Remove these jobs, but for those that are at work or in use by then; how many were removed."""
    with writing(db) as conn:
        conn.execute(sa.select(jobs.c.id).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id).with_for_update())
        gone = _may_go(conn, job_ids)
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(gone)).values(hidden=True))
    for job_id in gone:
        deleting.delete_job(db, store, job_id)
    with writing(db) as conn:
        remove_rows(conn, gone)
    return len(gone)


def remove_rows(conn: sa.Connection, job_ids: Sequence[str]) -> None:
    """Delete these jobs and what names them; sheets and refinements that are empty then go with them.

    Rows are locked in the order of erasing.LOCKED before anything is deleted.
    """
    rows = sa.select(members.c.submission_id).where(members.c.job_id.in_(job_ids)).distinct()
    sheets = list(conn.scalars(rows))
    whole = sa.select(members.c.submission_id).where(members.c.job_id.not_in(job_ids))
    emptied = [sheet for sheet in sheets if sheet not in set(conn.scalars(whole.where(_among(members, sheets))))]
    of_rows = sa.select(stages.c.refinement_id).where(stages.c.submission_id.in_(emptied)).distinct()
    touched = list(conn.scalars(of_rows))
    for table, ids in ((refinements, touched), (submissions, emptied), (jobs, job_ids)):
        conn.execute(sa.select(table.c.id).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update())
    conn.execute(sa.update(jobs).where(jobs.c.parent_id.in_(job_ids)).values(parent_id=None))
    conn.execute(sa.delete(artefacts).where(artefacts.c.job_id.in_(job_ids)))
    either = sa.or_(votes.c.first_id.in_(job_ids), votes.c.second_id.in_(job_ids))
    conn.execute(sa.delete(votes).where(either))
    for named in (marks, boards, members, events, webhooks, trained_models, embeddings):
        conn.execute(sa.delete(named).where(named.c.job_id.in_(job_ids)))
    conn.execute(sa.delete(jobs).where(jobs.c.id.in_(job_ids)))
    conn.execute(sa.delete(stages).where(stages.c.submission_id.in_(emptied)))
    conn.execute(sa.delete(submissions).where(submissions.c.id.in_(emptied)))
    left = sa.select(stages.c.refinement_id)
    unmarked = sa.select(marks.c.refinement_id)
    empty = refinements.c.id.in_(touched) & refinements.c.id.not_in(left) & refinements.c.id.not_in(unmarked)
    conn.execute(sa.delete(refinements).where(empty))


def _among(table: sa.Table, sheets: Collection[str]) -> sa.ColumnElement[bool]:
    return table.c.submission_id.in_(sheets)


def _too_old_or_large(conn: sa.Connection) -> dict[str, int]:
    """Jobs that have ended and are beyond what is kept, the oldest first, and the bytes of their files."""
    rules = host_rules.read(conn)
    size = sa.func.coalesce(sa.func.sum(artefacts.c.size), 0)
    ended = (
        sa.select(jobs.c.id, jobs.c.finished_at, size)
        .outerjoin(artefacts, artefacts.c.job_id == jobs.c.id)
        .where(jobs.c.state.in_(ENDED))
        .group_by(jobs.c.id, jobs.c.finished_at)
        .order_by(jobs.c.id)
    )
    if rules.keep_gb is None:
        if rules.keep_days is None:
            return {}
        ended = ended.where(jobs.c.finished_at < clock(conn) - rules.keep_days * _DAY_S)
    rows = conn.execute(ended).all()
    before = clock(conn) - rules.keep_days * _DAY_S if rules.keep_days else 0.0
    over = float("-inf")
    if rules.keep_gb is not None:
        over = float(conn.scalar(sa.select(sa.func.coalesce(sa.func.sum(artefacts.c.size), 0))) or 0)
        over -= rules.keep_gb * 1e9
    protected = _favourites(conn) if over > 0 else set[str]()
    found: dict[str, int] = {}
    for job_id, finished_at, bytes_of_it in rows:
        if over > 0 or (finished_at or 0.0) < before:
            found[job_id] = int(bytes_of_it)
            # What is kept all the same makes no room.
            over -= 0 if job_id in protected else int(bytes_of_it)
    return found


def _may_go(conn: sa.Connection, job_ids: Sequence[str]) -> list[str]:
    """Those of them that have ended, are no favourites, and that nothing at work is made from; in the same order."""
    if not job_ids:
        return []
    ended = set[str]()
    live = conn.execute(
        sa.select(jobs.c.parent_id, jobs.c.source_artefact_id, jobs.c.params).where(jobs.c.state.in_(LIVE))
    ).all()
    files = sa.select(artefacts.c.job_id, artefacts.c.id).where(artefacts.c.job_id.is_not(None))
    sources = {row.source_artefact_id for row in live} - {None}
    used = {row.parent_id for row in live} | set(
        conn.scalars(sa.select(artefacts.c.job_id).where(artefacts.c.id.in_(sources)))
    )
    # A setting may name a picture by its key, which has the job's id in it, or by its record's id.
    said = " ".join(str(row.params) for row in live)
    for i in range(0, len(job_ids), 500):
        some = job_ids[i : i + 500]
        ended |= set(conn.scalars(sa.select(jobs.c.id).where(jobs.c.id.in_(some), jobs.c.state.in_(ENDED))))
        if said:
            used |= {job_id for job_id in some if job_id in said}
            used |= {job_id for job_id, one in conn.execute(files.where(artefacts.c.job_id.in_(some))) if one in said}
    kept = used | _favourites(conn)
    return [job_id for job_id in job_ids if job_id in ended and job_id not in kept]


def _chosen() -> sa.Subquery:
    """What each visitor marked in refinements or keeps on boards, and the how manieth it is, from the newest on."""
    marked = sa.select(refinements.c.submitter, marks.c.job_id, marks.c.at).join(refinements)
    every = sa.union_all(marked, sa.select(boards.c.submitter, boards.c.job_id, boards.c.at)).subquery()
    once = sa.select(every.c.submitter, every.c.job_id, sa.func.max(every.c.at).label("at"))
    each = once.group_by(every.c.submitter, every.c.job_id).subquery()
    newest = sa.func.row_number().over(partition_by=each.c.submitter, order_by=[each.c.at.desc(), each.c.job_id.desc()])
    return sa.select(each.c.job_id, newest.label("n")).subquery()


def _favourites(conn: sa.Connection) -> set[str]:
    """What somebody marked in a refinement or keeps on a board, as much of it as the host spares; what did best in
    votes; and runs whose models draw."""
    wins = sa.select(votes.c.winner_id.label("id"), sa.literal(1).label("won")).where(votes.c.winner_id.is_not(None))
    losses = [
        sa.select(mine.label("id"), sa.literal(-1)).where(votes.c.winner_id == other)
        for mine, other in ((votes.c.first_id, votes.c.second_id), (votes.c.second_id, votes.c.first_id))
    ]
    every = sa.union_all(wins, *losses).subquery()
    margin = sa.func.sum(every.c.won)
    best = sa.select(every.c.id).group_by(every.c.id).having(margin > 0).order_by(margin.desc(), every.c.id)
    trained = sa.select(trained_models.c.job_id).where(trained_models.c.job_id.is_not(None))
    most = host_rules.read(conn).keep_favourites or host_rules.KEEP_FAVOURITES
    chosen = _chosen()
    spared = sa.select(chosen.c.job_id).where(chosen.c.n <= most)
    return {*conn.scalars(spared), *conn.scalars(best.limit(KEEP_BEST)), *conn.scalars(trained)}
