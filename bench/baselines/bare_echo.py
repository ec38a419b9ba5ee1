"""A server of gRPC with one method that answers what it receives: the least that a call can cost in Python.

It runs in a process of its own on the event loop of Truestock, without an interceptor, and stores nothing. Its cost is
the denominator of every ratio "to an empty call".
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty

from bench.bench_calls import ECHO_SERVICE
from bench.server_process import ServerProcess, running_module


def running_bare_echo() -> AbstractAsyncContextManager[ServerProcess]:
    """The server, whose process ends with the block."""
    return running_module("bench.baselines.bare_echo")


async def _serve() -> None:
    server = grpc.aio.server()
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(
            _echo, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(ECHO_SERVICE, handlers),))
    server.add_registered_method_handlers(ECHO_SERVICE, handlers)  # type: ignore[attr-defined]  # Newer than the stubs.
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)  # noqa: T201 - `running_module` reads it
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def _echo(request: Empty, context: Any) -> Empty:
    return request


if __name__ == "__main__":
    uvloop.run(_serve())
