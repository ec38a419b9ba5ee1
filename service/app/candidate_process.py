"""Answers calls by rules that are not in force, on standard input: the methods of the service, and nothing around them.

A separate process: see `candidates.candidate_processes`. It only reads the database, whose sessions are read-only.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections.abc import Mapping
from typing import IO, Any, cast

import grpc
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service.app.wiring import add_services, new_id
from service.candidates.process_messages import ProcessStart, ReplyKind, receive, send
from service.database.database import Database
from service.dependencies import Dependencies
from service.errors import NotFound, TruestockError
from service.metrics import Metrics
from service.observability.error_text import traceback_text
from service.observability.log_output import configure_logs
from service.policy.active_policies import ActivePolicies
from service.policy.sandbox_process import confined, renew_seconds
from service.reports.headroom_monitor import HeadroomMonitor
from service.rpc.request_bytes import reader, unless_refused


class Methods:
    """Takes the place of a gRPC server: keeps the methods of our services by their full names."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Called by generated code, which registers the same methods by name too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by generated code with the methods of one service."""
        self.handlers.update({f"{service}/{name}": handler for name, handler in handlers.items()})


async def answer_calls(start: ProcessStart, policy_set: PolicySet, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answers calls until the service ends; the first reply says that it can."""
    settings, metrics = start.settings, Metrics(CollectorRegistry())
    assert settings.database_url is not None
    database = await Database.open(
        settings.database_url,
        metrics,
        connections=1,
        statement_cache_size=settings.statement_cache_size,
        read_only=True,
    )
    methods = Methods()
    policies = ActivePolicies.fixed(policy_set, start.files, metrics)
    deps = Dependencies(settings, database, policies, metrics, new_id)
    add_services(deps, cast(grpc.aio.Server, methods))
    # No background work runs here; rules of this process read the same headroom as those in force.
    headrooms = HeadroomMonitor(deps)
    _reply(replies, ReplyKind.ANSWER, b"")
    while True:
        try:
            message = await asyncio.to_thread(receive, requests)
        except EOFError:
            return
        renew_seconds(start.call_seconds)
        method, request = pickle.loads(message)
        handler = methods.handlers[method]
        try:
            checked = unless_refused(reader(handler.request_deserializer)(request))
            await headrooms.compute_if_due()
            response = handler.response_serializer(await handler.unary_unary(checked, None))
        except TruestockError as error:
            _reply(replies, ReplyKind.STATUS, error.status().SerializeToString())
        except MemoryError:
            raise
        except Exception as error:
            _reply(replies, ReplyKind.DEFECT, traceback_text(error).encode(errors="replace"))
        else:
            _reply(replies, ReplyKind.ANSWER, response)


def main(*arguments: str) -> None:
    """Compiles the rules that standard input begins with, and answers calls by them.

    `arguments` are those of `confined`.
    """
    # Whatever writes to standard output, such as a library, must not end up among the replies.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        configure_logs()
        with confined(*arguments, is_renewed=True):
            # The service wrote the messages, so they can be trusted; the rules in them are data.
            start: ProcessStart = pickle.loads(receive(sys.stdin.buffer))
            policy_set = read(start.files).policy_set
            if policy_set is None:
                advice = "it is kept, but this version of Truestock cannot read its rules"
                error = NotFound("readable revision of the rules", {"candidate_revision": start.revision}, advice)
                _reply(replies, ReplyKind.STATUS, error.status().SerializeToString())
                return
            asyncio.run(answer_calls(start, policy_set, sys.stdin.buffer, replies))


def _reply(replies: IO[bytes], kind: ReplyKind, content: bytes) -> None:
    send(replies, bytes([kind]) + content)


if __name__ == "__main__":
    main(*sys.argv[1:])
