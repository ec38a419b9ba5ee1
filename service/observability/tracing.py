"""Traces of calls by OpenTelemetry. Imported only where traces are on: see `trace_export`.

A call is a span; in it are its wait in the queue, its statements and its decision. A transaction or a read for several
calls is in the trace of the first of them that is traced, and linked both ways with the others. Spans hold no text that
a caller sent: methods, codes, statements without their values, and ids that are UUIDs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.observability.call_ids import call_ids
from service.observability.calls import Call
from service.version import VERSION

TEXT_LENGTH = 2_000
"""Characters of a statement in a span."""
SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are errors of the span, by the semantic conventions of OpenTelemetry for gRPC servers."""
_NAMED = re.compile(r"\b(INSERT INTO|UPDATE|DELETE FROM|FROM)\s+(\w+)\b(?!\()")
"""What a statement does to a table; functions such as unnest() are none."""
_PROPAGATOR = TraceContextTextMapPropagator()


class Tracing:
    """Begins the traces of one service and exports them."""

    def __init__(self, exporter: SpanExporter, *, instance: str, sample_ratio: float) -> None:
        """A caller's trace is sampled as the caller says; of the others, the ratio is."""
        names = {"service.name": "truestock", "service.version": VERSION, "service.instance.id": instance}
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample_ratio)),
            # OTEL_RESOURCE_ATTRIBUTES adds to these.
            resource=Resource.create(names),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("truestock", VERSION)

    def begin(self, method: str, metadata: Iterable[tuple[str, str | bytes]], call: Call) -> None:
        """Begins the trace of a call, as part of the caller's if its metadata name one; none if it is not sampled."""
        span = self._tracer.start_span(
            method,
            _caller(metadata),
            SpanKind.SERVER,
            {"rpc.system.name": "grpc", "rpc.method": f"truestock.v1.{method}"},
        )
        if span.is_recording():
            call.trace = Trace(self._tracer, span)

    def close(self) -> None:
        """Exports what is left; may take as long as the exporter does."""
        self._provider.shutdown()


class Trace:
    """The span of a call, or of work for several calls, and what is added to it."""

    __slots__ = ("_context", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._context = set_span_in_context(span, Context())

    @property
    def trace_id(self) -> str:
        """The id of the trace, as hexadecimal digits."""
        return f"{self._span.get_span_context().trace_id:032x}"

    def shared(self, name: str, others: Sequence[Trace]) -> Trace:
        """Work for this call and others, in the trace of this one."""
        links = [Link(other._span.get_span_context()) for other in others]
        count = {"truestock.calls": 1 + len(others)}
        span = self._tracer.start_span(name, self._context, attributes=count, links=links)
        for other in others:
            other._span.add_link(span.get_span_context())
        return Trace(self._tracer, span)

    def add(
        self,
        name: str,
        since: float,
        until: float,
        attributes: Mapping[str, str | int] | None = None,
        *,
        of: Trace | None = None,
    ) -> None:
        """Adds a part that has ended, by the clock of `time.perf_counter`; `of` is the call that it was done for."""
        ended = time.time_ns() - int((time.perf_counter() - until) * 1e9)
        links = [] if of is None else [Link(of._span.get_span_context())]
        started = ended - int((until - since) * 1e9)
        span = self._tracer.start_span(name, self._context, attributes=attributes, links=links, start_time=started)
        span.end(ended)

    def add_statement(self, sql: str, seconds: float, error: BaseException | None) -> None:
        """Adds a statement that has just ended."""
        ended = time.time_ns()
        span = self._tracer.start_span(
            _summary(sql),
            self._context,
            SpanKind.CLIENT,
            {"db.system.name": "postgresql", "db.query.text": sql[:TEXT_LENGTH]},
            start_time=ended - int(seconds * 1e9),
        )
        if error is not None:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def end_call(self, code: str, messages: tuple[Any, Any]) -> None:
        """Ends the span of a call with its gRPC code. `messages` are its request and its response."""
        self._span.set_attribute("rpc.response.status_code", code)
        for name, value in call_ids(*messages).items():
            self._span.set_attribute(f"truestock.{name}", value)
        if code in SERVER_FAULTS:
            self._span.set_attribute("error.type", code)
            self._span.set_status(Status(StatusCode.ERROR))
        self.end()

    def end(self) -> None:
        """Ends the span."""
        self._span.end()


def _caller(metadata: Iterable[tuple[str, str | bytes]]) -> Context:
    """The caller's span by W3C Trace Context. Its `tracestate` is left out: we call nobody, and it is free text."""
    traceparent = next((value for key, value in metadata if key == "traceparent"), None)
    if not isinstance(traceparent, str):
        return Context()
    return _PROPAGATOR.extract({"traceparent": traceparent}, Context())


@lru_cache(maxsize=1_000)
def _summary(sql: str) -> str:
    """What a statement does to which table, such as "UPDATE stock_level": that which it names first."""
    found = _NAMED.search(sql)
    if found is None:
        return sql.split(None, 1)[0].upper() if sql.strip() else "statement"
    verb = {"FROM": "SELECT", "INSERT INTO": "INSERT", "DELETE FROM": "DELETE"}.get(found[1], found[1])
    return f"{verb} {found[2]}"
