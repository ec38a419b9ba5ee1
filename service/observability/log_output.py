"""How the lines of the log are written: for people in a terminal, as JSON for everything that collects logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

from service.observability.error_text import traceback_text

LogFormat = Literal["auto", "json", "logfmt"]


def configure_logs(log_format: LogFormat = "auto") -> None:
    """Logs lines to stderr: JSON unless that is a terminal, or as `log_format` says."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            add_traceback,
            structlog.processors.JSONRenderer()
            if as_json
            else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        # Looked up for each line, because tests and pipes replace stderr and close it.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    # asyncpg logs one traceback per pooled connection for what our own log says in one line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)


def add_traceback(_: object, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Puts the traceback of an error into a line, without the values that it was raised with."""
    error = line.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        line["exception"] = traceback_text(error)
    return line
