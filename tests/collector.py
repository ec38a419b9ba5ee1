"""A collector of traces that speaks OTLP over gRPC, as services of tests send to it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp, trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector(otlp_grpc.TraceServiceServicer):
    """Keeps the spans that services send."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Span] = []
        self.names: dict[str, str] = {}
        """Of the service that sent the last spans."""

    def Export(self, request: Any, _: Any) -> Any:
        """Takes the spans of one request."""
        for sent in request.resource_spans:
            self.names = {entry.key: entry.value.string_value for entry in sent.resource.attributes}
            for scope in sent.scope_spans:
                self.spans += scope.spans
        return otlp.ExportTraceServiceResponse()

    def of(self, name: str) -> list[Span]:
        """The spans of one name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def running_collector() -> Iterator[Collector]:
    """A collector in a thread of its own: a service sends its last spans while it stops."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(1))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)
