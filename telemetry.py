"""OpenTelemetry traces, where they are set up: a span for each request and each job, one trace from call to picture.

On where the packages of requirements-telemetry.txt are installed and the environment names where spans go, as
OpenTelemetry's own variables do (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_EXPORTER, ...); else nothing of it is
imported. Beside settings.py at the root, since executors and the API use it and neither may import the other.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from masking import masked

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

NAME = "text-to-image-studio"
_NAMED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER")
_PLUGINS = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def set_up(service: str, log: logging.Logger) -> Traces | None:
    """Where spans go, as the environment says; None where it says nothing, or, with a warning, what cannot be done.

    service: the process's name in traces, unless OTEL_SERVICE_NAME gives another.
    """
    environment = os.environ
    chosen = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or chosen == "none"
    asked = [name for name in _NAMED_BY if environment.get(name)]
    if off or not asked:
        return None
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporters = [_exporter(name.strip(), environment) for name in chosen.split(",")]
    except (ImportError, LookupError, ValueError) as error:
        install = "pip install -r requirements-telemetry.txt"
        log.warning("no_traces", extra={"fields": {"asked_by": asked, "error": masked(f"{error} ({install})")}})
        return None
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": service}))
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    # Not made the provider of all packages: FastAPI would make its own spans of each request beside ours.
    return Traces(provider)


def _exporter(name: str, environment: Mapping[str, str]) -> Any:
    """Raises LookupError where it is not installed."""
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    plugin = _PLUGINS.get(protocol or "http/protobuf", str(protocol)) if name == "otlp" else name
    found = list(entry_points(group="opentelemetry_traces_exporter", name=plugin))
    if not found:
        raise LookupError(f"There is no exporter {plugin!r} for traces.")
    return found[0].load()()


class Answering:
    """The span of a request that is being answered."""

    def __init__(self, span: Span, method: str, traceparent: str | None) -> None:
        """traceparent: by which its trace goes on elsewhere."""
        self._span, self._method, self.traceparent = span, method, traceparent

    def tell(self, route: str, status: int, **fields: Any) -> None:
        """What it turned out to be; fields that are None are left out."""
        from opentelemetry.trace import StatusCode

        span = self._span
        span.update_name(f"{self._method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        span.set_attributes({f"t2i.{name}": value for name, value in fields.items() if value is not None})
        if status >= 500:
            span.set_status(StatusCode.ERROR)


class Traces:
    """Makes spans. A trace goes on in another process by its `traceparent` (https://www.w3.org/TR/trace-context/)."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = provider.get_tracer(NAME)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def answering(self, headers: Iterable[tuple[bytes, bytes]], method: str) -> Iterator[Answering]:
        """The span of a request, in the trace of whoever calls; spans that are made meanwhile are its children."""
        from opentelemetry.trace import SpanKind

        carried = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name[:5] == b"trace"}
        with self._tracer.start_as_current_span(
            method,
            context=self._propagator.extract(carried),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,
        ) as span:
            carried = {}
            self._propagator.inject(carried)
            yield Answering(span, method, carried.get("traceparent"))

    def past(
        self,
        name: str,
        begin: float,
        end: float,
        *,
        within: str | Context | None = None,
        consumes: bool = False,
        failed: str | None = None,
        links: Sequence[Any] = (),
        **fields: Any,
    ) -> Context:
        """A span of what is over, from and to these UTC s; the context in which those inside of it are made.

        within: a traceparent of another process, or what this method gave before; None: a trace of its own.
        consumes: it is the work on a message of a queue. failed: why, where it failed.
        """
        from opentelemetry import context, trace

        if within is None:
            around = context.Context()
        elif isinstance(within, str):
            around = self._propagator.extract({"traceparent": within}, context.Context())
        else:
            around = within
        kind = trace.SpanKind.CONSUMER if consumes else trace.SpanKind.INTERNAL
        told = {f"t2i.{field}": value for field, value in fields.items() if value is not None}
        span = self._tracer.start_span(name, around, kind, told, links, start_time=_ns(begin))
        if failed is not None:
            span.set_status(trace.StatusCode.ERROR, failed)
        span.end(_ns(max(begin, end)))
        return trace.set_span_in_context(span, around)


def _ns(at: float) -> int:
    return int(at * 1e9)
