"""The queues that benchmark_queue.py compares: ours, huey on SQLite, procrastinate on PostgreSQL.

Not a command. Each takes the address of a database that `prepare` has made, and the number of its process, and returns
its steps by name; a step is called with how many jobs to do it to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

PARAMS = {"seed": 1, "steps": 200, "size": 64, "cutn": 32, "learning_rate": 0.1, "optimiser": "adam"}
PROMPT = "a red heart on a white background"
BATCH = 8

Steps = Mapping[str, Callable[[int], Any]]


@contextmanager
def studio(url: str, n: int, visitor: int) -> Iterator[Steps]:
    """Our steps, asked for by this visitor; "by 8" is an executor that batches eight jobs: it claims them at once."""
    from db import queue
    from db.engine import connect

    db = connect(url, busy_timeout_s=120)
    worker_id = f"w{n}"
    held: list[str] = []

    def enqueue(count: int) -> None:
        for _ in range(count):
            new = queue.NewJob(
                engine="vqgan-clip", checkpoint="mini", batch_key="b", prompt=PROMPT, params=PARAMS, total_steps=200
            )
            queue.enqueue(db, new, submitter=f"visitor-{visitor}", limits=queue.Limits(max_queued=1_000_000))

    def claim(count: int, limit: int = 1) -> None:
        wanted = len(held) + count
        while len(held) < wanted:
            most = min(limit, wanted - len(held))
            held.extend(job.id for job in queue.claim(db, worker_id=worker_id, limit=most, lease_s=3600))

    def finish(count: int) -> None:
        for job_id in held[:count]:
            queue.succeed(db, worker_id=worker_id, job_id=job_id, score=0.5)
        del held[:count]

    yield {
        "enqueue": enqueue,
        "claim": claim,
        "finish": finish,
        "refill": enqueue,
        "claim by 8": lambda count: claim(count, BATCH),
    }
    db.dispose()


@contextmanager
def huey(url: str, n: int, _visitor: int) -> Iterator[Steps]:
    """The same three steps with huey: calling a task, dequeue as its consumer does, execute and store the result."""
    from huey import SqliteHuey

    app = SqliteHuey(filename=url.removeprefix("sqlite:///"), timeout=120)
    app.storage.sql("pragma synchronous=2")

    def half(prompt: str, params: dict[str, Any]) -> float:
        return 0.5

    draw = app.task()(half)
    held: list[Any] = []

    def enqueue(count: int) -> None:
        for _ in range(count):
            draw(PROMPT, PARAMS)

    def claim(count: int) -> None:
        wanted = len(held) + count
        while len(held) < wanted:
            task = app.dequeue()
            if task is not None:
                held.append(task)

    def finish(count: int) -> None:
        for task in held[:count]:
            app.execute(task)
        del held[:count]

    yield {"enqueue": enqueue, "claim": claim, "finish": finish}


@contextmanager
def procrastinate(url: str, n: int, _visitor: int) -> Iterator[Steps]:
    """The same with procrastinate: defer, then fetch and finish as its worker does, jobs and events kept."""
    from procrastinate import App, PsycopgConnector, SyncPsycopgConnector
    from procrastinate.jobs import Status

    app = App(connector=SyncPsycopgConnector(conninfo=url, min_size=1, max_size=1))
    app.open()

    @app.task(name="draw")  # type: ignore[untyped-decorator,unused-ignore]
    def draw(prompt: str, params: dict[str, Any]) -> float:
        return 0.5

    loop = asyncio.new_event_loop()
    jobs = app.with_connector(PsycopgConnector(conninfo=url, min_size=1, max_size=1))
    loop.run_until_complete(jobs.open_async())
    worker_id = loop.run_until_complete(jobs.job_manager.register_worker())
    held: list[Any] = []

    def enqueue(count: int) -> None:
        for _ in range(count):
            draw.defer(prompt=PROMPT, params=PARAMS)

    async def fetch(count: int) -> None:
        wanted = len(held) + count
        while len(held) < wanted:
            job = await jobs.job_manager.fetch_job(queues=None, worker_id=worker_id)
            if job is not None:
                held.append(job)

    async def end(count: int) -> None:
        for job in held[:count]:
            await jobs.job_manager.finish_job(job, status=Status.SUCCEEDED, delete_job=False)
        del held[:count]

    yield {
        "enqueue": enqueue,
        "claim": lambda count: loop.run_until_complete(fetch(count)),
        "finish": lambda count: loop.run_until_complete(end(count)),
    }
    loop.run_until_complete(jobs.close_async())
    loop.close()
    app.close()


SYSTEMS: dict[str, Callable[[str, int, int], AbstractContextManager[Steps]]] = {
    "studio": studio,
    "before": studio,
    "huey": huey,
    "procrastinate": procrastinate,
}


def prepare(system: str, root: str, url: str, finished: int) -> None:
    """Make the tables of a system, with so many finished jobs in them. root: the checkout whose code that is."""
    sys.path.insert(0, root)
    if system == "procrastinate":
        _prepare_procrastinate(url, finished)
    elif system == "huey":
        with huey(url, 0, 0):  # it keeps nothing of what is finished
            pass
    else:
        _prepare_studio(url, finished)


# A stamp in front, so that ids sort in the order of making; long ago, so that none of them counts for an hour's limit.
_STAMPS = {
    "sqlite": ("printf('%014x', 1500000000000000 + 1000 * n)", "printf('%012x', n)"),
    "postgresql": ("lpad(to_hex(1500000000000000 + 1000 * n), 14, '0')", "lpad(to_hex(n), 12, '0')"),
}


def _prepare_studio(url: str, finished: int) -> None:
    """One job is made by the queue itself, the others are like it."""
    import sqlalchemy as sa

    from db.engine import connect
    from db.schema import jobs

    db = connect(url, busy_timeout_s=120)
    if finished:
        with studio(url, 0, 0) as steps:
            for name in ("enqueue", "claim", "finish"):
                steps[name](1)
        stamp, rest = _STAMPS[db.dialect.name]
        made = {
            "id": f"({stamp}) || ({rest})",
            "turn": stamp,
            "submitter": "'visitor-of-old-' || (n % 1000)",
            **dict.fromkeys(("created_at", "started_at", "finished_at"), "1500000000.0 + n / 1000.0"),
        }
        columns = [column.name for column in jobs.c]
        numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :most) "
        copied = ", ".join(made.get(name, f"template.{name}") for name in columns)
        one = "(SELECT * FROM jobs LIMIT 1) AS template"
        happened = "events (job_id, at, kind, worker_id)"
        kinds = "(SELECT 'queued' AS kind UNION ALL SELECT 'claimed' UNION ALL SELECT 'succeeded') AS kinds"
        with db.begin() as conn:
            for statement in (
                f"INSERT INTO jobs ({', '.join(columns)}) {numbers}SELECT {copied} FROM numbers, {one}",
                f"INSERT INTO {happened} {numbers}SELECT {made['id']}, 1500000000.0, kind, 'w0' FROM numbers, {kinds}",
            ):
                conn.execute(sa.text(statement), {"most": finished - 1})
        if db.dialect.name == "postgresql":
            with db.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.execute(sa.text("VACUUM ANALYZE"))
    db.dispose()


def _prepare_procrastinate(url: str, finished: int) -> None:
    import psycopg
    from procrastinate import App, SyncPsycopgConnector

    app = App(connector=SyncPsycopgConnector(conninfo=url))
    with app.open():
        app.schema_manager.apply_schema()
    with psycopg.connect(url, autocommit=True) as conn:
        if finished:
            conn.execute("ALTER TABLE procrastinate_jobs DISABLE TRIGGER USER")
            conn.execute(
                "INSERT INTO procrastinate_jobs (queue_name, task_name, status, args, attempts) "
                "SELECT 'default', 'draw', 'succeeded', '{\"prompt\": \"a red heart\"}', 1 FROM generate_series(1, %s)",
                (finished,),
            )
            conn.execute(
                "INSERT INTO procrastinate_events (job_id, type) SELECT id, kind::procrastinate_job_event_type "
                "FROM procrastinate_jobs, unnest(ARRAY['deferred', 'started', 'succeeded']) AS kind"
            )
            conn.execute("ALTER TABLE procrastinate_jobs ENABLE TRIGGER USER")
            conn.execute("VACUUM ANALYZE")
