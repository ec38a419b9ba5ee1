"""Turns traces on: sends them to a collector by OTLP, without ever holding up a call or the end of the service."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.observability.tracing import Tracing


CLOSING_SECONDS = 1.0
"""How long a service that ends waits at most for a collector."""


class MissingPackages(Exception):
    """Traces are on, and the packages for them are not installed."""


class ExportFailure(OSError):
    """What OpenTelemetry reports, such as a collector that is away."""


Report = Callable[[ExportFailure], None]


def open_tracing(endpoint: str, *, instance: str, sample_ratio: float, report: Report) -> Tracing:
    """Traces that go to the collector at the endpoint, such as `http://127.0.0.1:4317`. Raises MissingPackages.

    `report` is called, from any thread, with what goes wrong afterwards.
    """
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        from service.observability.tracing import Tracing
    except ImportError as error:
        raise MissingPackages(
            f"TRUESTOCK_OTEL_ENDPOINT needs packages that are not installed ({error.name}); install the extra otel: "
            "pip install 'truestock[otel]'"
        ) from error
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [_Reporter(report)], False
    return Tracing(OTLPSpanExporter(endpoint=endpoint), instance=instance, sample_ratio=sample_ratio)


async def close_tracing(tracing: Tracing, seconds: float) -> None:
    """Exports what is left within the seconds and CLOSING_SECONDS; what is not taken by then is dropped."""
    closing = threading.Thread(target=tracing.close, daemon=True)
    closing.start()
    await asyncio.to_thread(closing.join, min(seconds, CLOSING_SECONDS))


class _Reporter(logging.Handler):
    """Reports what OpenTelemetry logs, which would otherwise go to standard error."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        """Reports one line."""
        self._report(ExportFailure(record.getMessage()))
