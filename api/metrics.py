"""GET /metrics: what Prometheus reads. The queue is asked at that moment, requests were counted as they came.

docs/operations.md has a table of all of them, which a test compares with what is answered here.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client import Counter as CounterOf
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.answered import Answered
from api.callers import Opened, Reader
from api.opened import THREADS, Api
from db.engine import check
from db.errors import DbError
from db.evening.usage import Usage, usage
from db.jobs import State
from db.queue.figures import Figures, Recent, figures
from generator.version import VERSION
from studio import room
from studio.context import Studio

router = APIRouter(tags=["operations"])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
USAGE_KEPT_S = 60.0  # the sizes of all files are summed up at most so often
QUANTILES = (0.5, 0.95)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(api: Opened, who: Reader, request: Request) -> Response:
    """The studio in figures, in Prometheus' text format."""
    return Response(await api.run(generate_latest, request.app.state.metrics.registry), media_type=CONTENT_TYPE)


class Metrics:
    """The registry of one app, and the counts of its requests."""

    def __init__(self, api: Api) -> None:
        # A second series beside each count, which nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = here = CollectorRegistry()
        ProcessCollector(registry=here)
        here.register(_OfStudio(api))
        Gauge("t2i_info", "1, with the version that runs.", ["version"], registry=here).labels(VERSION).set(1)
        self._requests = CounterOf(
            "t2i_http_requests_total", "Requests answered, by route.", ["method", "route", "status"], registry=here
        )
        self._seconds = Histogram(
            "t2i_http_request_seconds",
            "Time until the answer began, by route; calls that wait for their pictures included.",
            ["method", "route"],
            buckets=SECONDS,
            registry=here,
        )
        self._in_progress = Gauge(
            "t2i_http_requests_in_progress", "Requests being answered, streams included.", registry=here
        )
        self._streams = Gauge("t2i_http_streams", "Streams of events that are open.", registry=here)

    def begin(self) -> None:
        """A request came."""
        self._in_progress.inc()

    def open_stream(self) -> None:
        """Its answer is a stream, which begins."""
        self._streams.inc()

    def end(self, request: Answered) -> None:
        """It was answered, or its caller is gone."""
        self._in_progress.dec()
        if request.is_stream:
            self._streams.dec()
        self._requests.labels(request.method, request.route, str(request.status)).inc()
        if request.began is not None:
            self._seconds.labels(request.method, request.route).observe(request.began)


class _OfStudio(Collector):
    """What is read at the moment of the question: the queue, the store, and what goes on in this process."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._usage: tuple[float, Usage] | None = None
        self._summing = threading.Lock()

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry would ask the database for it at the start."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Those of the process always; those of the studio where the database answers."""
        yield from self._of_process()
        try:
            check(self._api.studio.db)
            now, kept = figures(self._api.studio.db), self._kept()
        except DbError:
            yield _gauge("t2i_database_up", "Whether the database answers; where not, what follows is not there.", 0)
            return
        yield _gauge("t2i_database_up", "Whether the database answers; where not, what follows is not there.", 1)
        yield from _of_queue(now)
        yield from _of_executors(now)
        yield from _of_ended(now)
        yield from _of_store(kept)
        yield from _of_disks(self._api.studio)

    def _kept(self) -> Usage:
        with self._summing:
            if self._usage is None or time.monotonic() - self._usage[0] > USAGE_KEPT_S:
                self._usage = time.monotonic(), usage(self._api.studio.db, self._api.studio.store)
            return self._usage[1]

    def _of_process(self) -> Iterator[Metric]:
        busy, waiting = self._api.threads
        followers = self._api.watch.followers
        yield _gauge("t2i_followers", "Jobs followed by streams and waiting calls of this server.", followers)
        yield _gauge("t2i_threads_busy", f"Threads of the API at work on database and disk, of {THREADS}.", busy)
        yield _gauge("t2i_threads_waiting", "Calls that wait for a thread of the API.", waiting)


def _of_queue(now: Figures) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("t2i_jobs", "Jobs in the database, by engine and state.", labels=["engine", "state"])
    for engine in sorted({engine for engine, _ in now.jobs}):
        for state in State:
            jobs.add_metric([engine, state], now.jobs.get((engine, state), 0))
    yield jobs
    depth = sum(n for (_, state), n in now.jobs.items() if state == State.QUEUED)
    yield _gauge("t2i_queue_depth", "Jobs that wait for an executor.", depth)
    yield _gauge("t2i_queue_oldest_wait_seconds", "Age of the job that has waited longest; 0: none.", now.oldest_wait)
    yield _by("t2i_queue_next_wait_seconds", "The wait that a newcomer would be told now.", "engine", now.next_wait)
    yield _gauge("t2i_queue_paused", "1 while the host has paused the queue.", int(now.paused))


def _of_executors(now: Figures) -> Iterator[Metric]:
    alive, places = Counter[str](), Counter[str]()
    for executor in now.executors:
        alive[executor.device] += 1
        places[executor.device] += executor.places
    yield _by("t2i_executors", "Executors heard of in the last 30 s.", "device", alive)
    yield _by("t2i_executor_places", "Jobs that those can work on at once.", "device", places)
    yield _by("t2i_running_steps_per_second", "Steps a second of all running jobs.", "engine", now.rate)


def _of_ended(now: Figures) -> Iterator[Metric]:
    ended = CounterMetricFamily("t2i_jobs_ended", "Jobs that have ended, by how.", labels=["engine", "state"])
    for (engine, state), count in sorted(now.jobs.items()):
        if state in (State.SUCCEEDED, State.FAILED, State.CANCELLED):
            ended.add_metric([engine, state], count)
    yield ended
    failures = CounterMetricFamily("t2i_job_failures", "Jobs that have failed, by what went wrong.", labels=["kind"])
    for kind, count in sorted(now.failures.items()):
        failures.add_metric([kind], count)
    yield failures
    last = "that succeeded in the last 15 min, 200 an engine at most"
    yield _quantiles("t2i_job_seconds", f"Time from claim to stored picture of jobs {last}.", now, lambda r: r.took)
    yield _quantiles("t2i_job_wait_seconds", f"Time from request to claim of jobs {last}.", now, lambda r: r.waited)
    yield _by(
        "t2i_webhooks",
        "Ends of jobs to be told to programs: waiting, due, told, given_up.",
        "state",
        now.webhooks,
    )


def _of_store(kept: Usage) -> Iterator[Metric]:
    files = {kind: float(count) for kind, (count, _) in kept.kinds.items()}
    yield _by("t2i_store_files", "Files in the store, by kind.", "kind", files)
    sizes = {kind: float(size) for kind, (_, size) in kept.kinds.items()}
    yield _by("t2i_store_bytes", "Bytes of files in the store, by kind; summed up once a minute.", "kind", sizes)
    if kept.free is not None:
        yield _gauge("t2i_store_free_bytes", "Free on the store's disk, where it is one of this machine.", kept.free)
    yield _gauge("t2i_database_bytes", "Size of the database.", kept.database)


def _of_disks(studio: Studio) -> Iterator[Metric]:
    free = {disk.used_for: float(disk.free) for disk in room.disks(studio)}
    yield _by("t2i_disk_free_bytes", "Free on disks of this machine, by what is kept there.", "used_for", free)
    full = int(room.nearly_full(studio) is not None)
    yield _gauge("t2i_disk_nearly_full", "1 while nothing new is taken, since too little of a disk is free.", full)


def _quantiles(name: str, text: str, now: Figures, times: Callable[[Recent], Sequence[float]]) -> Metric:
    found = GaugeMetricFamily(name, text, labels=["engine", "quantile"])
    for engine, recent in sorted(now.recent.items()):
        some = sorted(times(recent))
        for part in QUANTILES:
            found.add_metric([engine, f"{part:g}"], some[min(int(part * len(some)), len(some) - 1)])
    return found


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return GaugeMetricFamily(name, text, value=value or 0)


def _by(name: str, text: str, label: str, values: dict[str, float] | dict[str, int] | Counter[str]) -> Metric:
    found = GaugeMetricFamily(name, text, labels=[label])
    for value, number in sorted(values.items()):
        found.add_metric([value], number)
    return found
