"""The pictures nearest to a vector, best first: an exact search over all vectors of one space, held in memory.

One product of a matrix with a vector, no index of neighbours: at 100,000 pictures it takes some 20 ms, every picture is
found, and what was added or deleted since counts at once. Filters are the queue's own (db.queue.listing.page_query).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from db import identity
from db.engine import reading
from db.errors import BadValue
from db.queue.listing import page_query
from db.schema import embeddings
from db.search.embeddings import counts

BLOCK = 16384  # pictures in one piece of the matrix, so that growing copies nothing
AT_ONCE = 2000
COUNT_S = 10.0
FEW, SOME = 200, 3000  # of the nearest, how many are looked through the filters before all that pass are compared

Scores = NDArray[np.float32]


class Pictures:
    """All vectors of a space in float32, within `max_bytes` (one BLOCK at least): of more, those of the newest jobs.

    Safe from any thread; one search at a time.
    """

    def __init__(self, space: str, max_bytes: int) -> None:
        self.space, self._max_bytes = space, max_bytes
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._blocks: list[Scores] = []
        self._ids: list[str] = []  # by row
        self._row_of: dict[str, int] = {}
        self._dead: set[int] = set()  # rows of what was deleted
        self._blank: set[str] = set()  # jobs with nothing to be seen
        self._last = self._count = self._left_out = self._unseen = 0
        self._count_at = -math.inf

    @property
    def looked_through(self) -> int:
        """In how many pictures it searches, as of the last look."""
        return len(self._row_of)

    @property
    def not_found(self) -> int:
        """How many finished pictures it does not find: not looked at by an executor yet, or without room here."""
        return self._unseen + self._left_out

    def look(self, db: sa.Engine) -> None:
        """Read what was added since."""
        with self._lock:
            self._refresh(db)

    def nearest(
        self,
        db: sa.Engine,
        vector: bytes,
        *,
        limit: int,
        after: str | None = None,
        besides: str | None = None,
        **filters: Any,
    ) -> list[tuple[str, float]]:
        """Up to `limit` ids of jobs with their cosine similarities, best first, of those that pass the filters.

        after: the last id of the page before. besides: one that is left out. filters: as page_query takes them. Raises
        BadValue where `after` is not there any more, or the vector is of another space.
        """
        with self._lock:
            self._refresh(db)
            scores = self._scores(np.frombuffer(vector, np.float16).astype(np.float32))
            ids, row_of = self._ids, self._row_of
            if after is not None:
                if after not in row_of:
                    raise BadValue("The last picture of the page before is gone; search again from the start.")
                last = row_of[after]
                behind = (scores < scores[last]) | ((scores == scores[last]) & (np.arange(len(scores)) > last))
                scores[~behind] = -np.inf
            if besides is not None and besides in row_of:
                scores[row_of[besides]] = -np.inf
            with reading(db) as conn:
                rows = _passing(conn, scores, ids, row_of, limit, filters)
            return [(ids[row], float(scores[row])) for row in rows]

    def _scores(self, vector: Scores) -> Scores:
        """The cosine similarity of each row; -infinity where nothing is there any more."""
        scores = np.empty(len(self._ids), np.float32)
        if not self._ids:
            return scores
        length = float(np.linalg.norm(vector))
        if vector.shape != self._blocks[0].shape[1:] or not 0 < length < np.inf:
            raise BadValue("What was searched for was read by another CLIP; search again.")
        for n, block in enumerate(self._blocks):
            rows = scores[n * BLOCK : (n + 1) * BLOCK]
            np.matmul(block[: len(rows)], vector / length, out=rows)
        scores[list(self._dead)] = -np.inf
        return scores

    def _refresh(self, db: sa.Engine) -> None:
        """Read what was added since; everything where rows were taken away, or there is no room left.

        Rows are counted now and then, which takes longer than to see that none was added: until then what was taken
        away takes memory, and no filter lets it pass.
        """
        mine = embeddings.c.space == self.space
        rows = sa.select(embeddings.c.id, embeddings.c.job_id, embeddings.c.vector).where(mine)
        with reading(db, at_one_moment=True) as conn:
            last = conn.scalar(sa.select(sa.func.max(embeddings.c.id)).where(mine)) or 0
            if last == self._last and time.monotonic() < self._count_at:
                return
            count, unseen = counts(conn, self.space)
            added = rows.where(embeddings.c.id > self._last).order_by(embeddings.c.id)
            whole = bool(self._count) and self._read(conn, added, self._max_bytes)
            if not whole or (count, last) != (self._count, self._last):
                self._forget()
                # With room for those to come, so that not every one of them has all read again.
                self._read(conn, rows.order_by(embeddings.c.job_id.desc()), self._max_bytes * 7 // 8)
                self._count, self._last = count, last
            self._unseen, self._count_at = unseen, time.monotonic() + COUNT_S

    def _read(self, conn: sa.Connection, rows: sa.Select[Any], max_bytes: int) -> bool:
        """Take rows in; whether there was room for all of them."""
        before = self._left_out
        for some in conn.execution_options(yield_per=AT_ONCE).execute(rows).partitions():
            new: dict[str, bytes] = {}
            for number, job_id, vector in some:
                self._last = max(self._last, number)
                if job_id in self._row_of:
                    self._dead.add(self._row_of.pop(job_id))
                elif job_id not in self._blank:
                    self._count += 1
                self._blank.discard(job_id)
                if vector is None:
                    self._blank.add(job_id)
                else:
                    new[job_id] = vector
            self._add(new, max_bytes)
        return self._left_out == before

    def _add(self, new: dict[str, bytes], max_bytes: int) -> None:
        if not new:
            return
        values = np.frombuffer(b"".join(new.values()), np.float16).reshape(len(new), -1).astype(np.float32)
        most = max(max_bytes // (values.shape[1] * 4), BLOCK)
        ids = list(new)[: max(0, most - len(self._ids))]
        self._left_out += len(new) - len(ids)
        taken = 0
        while taken < len(ids):
            row = len(self._ids)
            if row == len(self._blocks) * BLOCK:
                self._blocks.append(np.zeros((BLOCK, values.shape[1]), np.float32))
            some = ids[taken : taken + BLOCK - row % BLOCK]
            self._blocks[-1][row % BLOCK : row % BLOCK + len(some)] = values[taken : taken + len(some)]
            self._row_of.update(zip(some, range(row, row + len(some)), strict=True))
            self._ids += some
            taken += len(some)


def _passing(
    conn: sa.Connection,
    scores: Scores,
    ids: Sequence[str],
    row_of: dict[str, int],
    limit: int,
    filters: dict[str, Any],
) -> list[int]:
    """The best rows that pass. First the nearest are looked at; where too few of these pass, all that pass are found by
    the queue's indexes and compared: a page is right however few they are."""
    for most in (FEW + limit, SOME + limit):
        rows = _best(scores, most)
        if len(rows) > 2 * most:
            break  # as many alike as that
        passing = set(conn.scalars(page_query(among=[ids[row] for row in rows], limit=None, **filters)))
        found = [row for row in rows if ids[row] in passing]
        if len(found) >= limit or len(rows) < most:
            return found[:limit]
        if len(found) * SOME < limit * len(rows):
            break  # nor would enough of some more pass
    passing_rows = [row_of[one] for one in conn.scalars(page_query(limit=None, **filters)) if one in row_of]
    return _in_order(scores, np.array(passing_rows, np.int64))[:limit]


def _best(scores: Scores, most: int) -> list[int]:
    """The rows of the greatest scores, best first: `most`, and those that score as the last of these."""
    if len(scores) <= most:
        return _in_order(scores, np.arange(len(scores)))
    least = np.partition(scores, -most)[-most]
    return _in_order(scores, np.flatnonzero(scores >= least))


def _in_order(scores: Scores, rows: NDArray[np.int64]) -> list[int]:
    """These rows, best first, without those that are nothing."""
    rows = rows[scores[rows] > -np.inf]
    return [int(row) for row in rows[np.lexsort((rows, -scores[rows]))]]


_held: dict[str, Pictures] = {}
_holding = threading.Lock()


def pictures_in(db: sa.Engine, space: str, max_bytes: int) -> Pictures:
    """The one of this process for this database, however often that is open; of one database and space at a time."""
    name = f"{identity.of(db)} {space} {max_bytes}"
    with _holding:
        if name not in _held:
            _held.clear()
            _held[name] = Pictures(space, max_bytes)
        return _held[name]
