"""How fast pictures are found by their meaning among 100,000: ms a search, beside a loop over rows and the text search.

    python scripts/benchmark_search.py
    python scripts/benchmark_search.py --pictures 20000 --width 512 --searches 50
    python scripts/benchmark_search.py --database postgresql://user@host/an-empty-one

A studio full of finished pictures in a real SQLite file, with a vector of `width` numbers for each; or the same copied
to a server. Searches are as pages and API make them: `studio.search.search`, from the kept vector of what is searched
for to a page of jobs, by other vectors each time. They and the two baselines take turns in one run. "cold" is the first
call of each; the first search of a process reads all vectors. CPU time is the median of the process's own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from db.artefacts import Store
from db.backup.snapshot import copy_rows
from db.engine import connect, reading, writing
from db.queue import Narrowed, list_jobs
from db.schema import embeddings, jobs
from db.search import searches
from generator.checkpoints.clip_space import clip_space
from scripts.full_studio import fill
from settings import Settings
from studio import search
from studio.context import Studio, Submitter
from studio.search import Query

PAGE = 24
RARE = "rare-rare-rare-rare-1"  # a visitor with 20 pictures
AT_ONCE = 5000
SLOW = 5  # measurements of what takes seconds


def vectors(count: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors (count, width) float16 in some hundred heaps, as pictures of the same things are."""
    rng = np.random.default_rng(seed)
    heaps = np.random.default_rng(0).standard_normal((300, width), np.float32)
    made = heaps[rng.integers(0, 300, count)] + 0.7 * rng.standard_normal((count, width), np.float32)
    unit: np.ndarray = made / np.linalg.norm(made, axis=1, keepdims=True)
    return unit.astype(np.float16)


def look(db: sa.Engine, space: str, width: int) -> None:
    """Give every job a vector, one visitor few pictures, and a few a style of their own."""
    with writing(db) as conn:
        ids = conn.scalars(sa.select(jobs.c.id).order_by(jobs.c.id)).all()
        seen = vectors(len(ids), width, 1)
        for i in range(0, len(ids), AT_ONCE):
            some = zip(ids[i : i + AT_ONCE], seen[i : i + AT_ONCE], strict=True)
            rows = [{"job_id": job_id, "space": space, "vector": one.tobytes()} for job_id, one in some]
            conn.execute(sa.insert(embeddings), rows)
        conn.execute(sa.update(jobs).where(jobs.c.id.in_(ids[:: max(1, len(ids) // 20)])).values(submitter=RARE))
        for job_id, params in conn.execute(sa.select(jobs.c.id, jobs.c.params).where(jobs.c.id.in_(ids[::997]))).all():
            conn.execute(
                sa.update(jobs).where(jobs.c.id == job_id).values(style="blob", params={**params, "style": "blob"})
            )


def row_by_row(db: sa.Engine, wanted: np.ndarray) -> list[int]:
    """The baseline: every row is read and compared by itself."""
    with reading(db) as conn:
        rows = conn.execute(sa.select(embeddings.c.id, embeddings.c.vector)).all()
    scores = [(float(np.dot(np.frombuffer(vector, np.float16).astype(np.float32), wanted)), n) for n, vector in rows]
    return [n for _, n in sorted(scores, reverse=True)[:PAGE]]


def ms(call: Callable[[int], object], n: int) -> tuple[float, float]:
    """How long the call takes, by the clock on the wall and of the process's CPU time."""
    began, used = time.perf_counter(), time.process_time()
    call(n)
    return 1e3 * (time.perf_counter() - began), 1e3 * (time.process_time() - used)


def main() -> int:
    """Print a table: median, 95th percentile and the first of each."""
    parser = argparse.ArgumentParser(description="Time to search finished pictures by their meaning.")
    parser.add_argument("--pictures", type=int, default=100_000, help="default 100000")
    parser.add_argument(
        "--width", type=int, default=512, help="numbers in a vector (default 512; the mini CLIP has 384)"
    )
    parser.add_argument("--searches", type=int, default=100, help="of each kind (default 100)")
    parser.add_argument("--database", help="an empty database on a PostgreSQL server, to which all is copied")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, args.pictures, 0)
        db, settings = connect(f"sqlite:///{folder}/jobs.db"), Settings()
        space = clip_space(settings.search_clip)
        look(db, space, args.width)
        if args.database:
            there = connect(args.database)
            with reading(db) as source, writing(there) as target:
                copy_rows(source, target)
            db = there
            with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.execute(sa.text("ANALYZE"))
        studio = Studio(settings, db, Store(f"file://{folder}/artefacts"))
        wanted = vectors(args.searches + 1, args.width, 2)
        queries = [Query(words=f"number {n}") for n in range(len(wanted))]
        for query, vector in zip(queries, wanted, strict=True):
            digest = search.digest_of_words(query.words or "", settings.search_clip)
            searches.ask(db, space, digest, words=query.words)
            searches.answer(db, space, digest, vector=vector.tobytes())

        def nearest(submitter: str = "anybody", **filters: Any) -> Callable[[int], object]:
            who = Submitter(submitter)
            return lambda n: search.search(studio, who, queries[n], limit=PAGE, **filters)

        plain: dict[str, Callable[[int], object]] = {
            "nearest": nearest(),
            "nearest, finished ones": nearest(states=["succeeded"]),
            "nearest, one engine": nearest(engine="biggan-clip"),
            "nearest, own: 20": nearest(RARE, mine=True),
            "nearest, a style: 0.1 %": nearest(narrowed=Narrowed(settings=(("style", "blob"),))),
            "text search": lambda n: list_jobs(db, search=f"no prompt says this {n}", limit=PAGE),
        }
        slow: dict[str, Callable[[int], object]] = {
            "row by row": lambda n: row_by_row(db, wanted[n].astype(np.float32)),
        }
        times: dict[str, list[tuple[float, float]]] = defaultdict(list)
        cold = {name: ms(call, 0)[0] for name, call in {**plain, **slow}.items()}
        for n in range(1, args.searches + 1):
            for name, call in plain.items() if n > SLOW else {**plain, **slow}.items():
                times[name].append(ms(call, n))
        print(f"{args.pictures} pictures, {args.width} numbers each, {db.dialect.name}; ms")
        print(f"{'':26s} {'median':>8s} {'p95':>8s} {'cold':>8s} {'CPU time':>8s}")
        for name, some in times.items():
            wall, used = sorted(one[0] for one in some), statistics.median(one[1] for one in some)
            p95 = wall[min(len(wall) - 1, int(0.95 * len(wall)))]
            print(f"{name:26s} {statistics.median(wall):8.1f} {p95:8.1f} {cold[name]:8.1f} {used:8.1f}", flush=True)
        db.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
