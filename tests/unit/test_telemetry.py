"""Traces cost nothing where nobody asks for them, and a studio that cannot make them says so and goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from db import queue
from db.jobs import Job
from db.queue import Order
from executor.tracing import JobTraces
from telemetry import Traces
from tests.contract.queue_steps import add, take

ROOT = Path(__file__).resolve().parents[2]
Made = tuple[Traces, InMemorySpanExporter]
CALLER = f"00-{'ab' * 16}-{'cd' * 8}-01"


def set_up(before: str = "pass", **variables: str) -> str:
    """What a process without other variables of OpenTelemetry prints: a warning, and whether it has traces, modules."""
    code = f"import sys, logging; {before}; import telemetry; logging.basicConfig(format='%(message)s %(fields)s'); "
    code += "made = telemetry.set_up('test', logging.getLogger('t')); "
    code += "print(made is not None, any(name.startswith('opentelemetry') for name in sys.modules))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=clean | variables, capture_output=True, text=True, check=True
    )
    return done.stderr + done.stdout


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "studio"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"},
    ],
)
def test_nothing_is_imported_where_nobody_asks_for_traces(variables: dict[str, str]) -> None:
    assert set_up(**variables) == "False False\n"


def test_they_are_made_where_the_environment_says_where_to() -> None:
    assert set_up(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318").endswith("True True\n")


@pytest.mark.parametrize(
    ("before", "variables", "reason"),
    [
        ("sys.modules['opentelemetry.sdk'] = None", {"OTEL_TRACES_EXPORTER": "console"}, "requirements-telemetry.txt"),
        ("pass", {"OTEL_TRACES_EXPORTER": "carrier_pigeon"}, "There is no exporter 'carrier_pigeon'"),
    ],
)
def test_what_cannot_be_done_is_a_warning_and_no_end(before: str, variables: dict[str, str], reason: str) -> None:
    said = set_up(before, **variables)
    assert said.startswith("no_traces") and reason in said and "\nFalse " in said


@pytest.fixture
def made() -> Made:
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Traces(provider), kept


def of_jobs(kept: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in kept.get_finished_spans() if span.name.startswith("job")]


def asked(db: sa.Engine, traceparent: str | None) -> Job:
    new = queue.NewJob(engine="upscale", checkpoint="mini", batch_key="b", prompt="p", params={}, total_steps=5)
    queue.enqueue(db, new, submitter="key:1", order=Order(traceparent=traceparent))
    (job,) = take(db)
    return job


def test_a_job_goes_on_in_the_trace_of_its_request(database: sa.Engine, made: Made) -> None:
    traces, kept = made
    job = asked(database, CALLER)
    queue.fail(database, worker_id="w1", job_id=job.id, kind="nan", message="The picture became NaN.")
    JobTraces(traces, database).ended(job, (job.started_at or 0) + 1e-4)
    (span,) = of_jobs(kept)
    assert span.context and f"{span.context.trace_id:032x}" == "ab" * 16
    assert span.parent and f"{span.parent.span_id:016x}" == "cd" * 8
    assert span.attributes and span.attributes["t2i.outcome"] == "failed" and span.status.description == "nan"
    inside = [one for one in kept.get_finished_spans() if one.parent and one.parent.span_id == span.context.span_id]
    assert [one.name for one in inside] == ["queue", "run", "store"]
    times = [(one.start_time or 0, one.end_time or 0) for one in inside]
    assert all(begin <= end for begin, end in times) and times[0][1] == times[1][0] and times[1][1] == times[2][0]


def test_a_job_of_the_pages_has_a_trace_of_its_own(database: sa.Engine, made: Made) -> None:
    traces, kept = made
    add(database)
    (job,) = take(database)
    queue.succeed(database, worker_id="w1", job_id=job.id)
    JobTraces(traces, database).ended(job, 0.0)
    (span,) = of_jobs(kept)
    assert span.parent is None and span.attributes and span.attributes["t2i.outcome"] == "succeeded"


def test_each_attempt_is_a_span_that_waits_from_the_end_of_the_one_before(database: sa.Engine, made: Made) -> None:
    traces, kept = made
    first = asked(database, CALLER)
    queue.release(database, worker_id="w1", job_id=first.id)
    JobTraces(traces, database).ended(first, first.started_at or 0)
    (second,) = take(database, "w2")
    JobTraces(traces, database).ended(first, first.started_at or 0)  # by w1, which has noticed only now
    queue.succeed(database, worker_id="w2", job_id=second.id)
    JobTraces(traces, database).ended(second, second.started_at or 0)
    spans = of_jobs(kept)
    assert [span.attributes and span.attributes["t2i.outcome"] for span in spans] == ["given back", "lost", "succeeded"]
    assert len({span.context.trace_id for span in spans if span.context}) == 1
    released = next(event.at for event in queue.events(database, first.id) if event.kind == "released")
    assert spans[2].start_time == int(released * 1e9)
