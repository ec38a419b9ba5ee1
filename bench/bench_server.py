"""A gRPC server in this process with all services of Truestock, and an empty call for comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import _async as health_aio, health, health_pb2_grpc
from grpc_reflection.v1alpha import _async as reflection_async, reflection, reflection_pb2_grpc

from bench.allocators import CONNECTIONS, Allocator
from bench.bench_calls import EMPTY_SERVICE
from bench.bench_retailer import BenchRetailer
from service.app.grpc_server import GRPC_OPTIONS, SERVERS
from service.app.restarted_servers import RestartedServers
from service.app.wiring import SERVICE_NAMES, add_services, new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.rpc.call_interceptor import CallInterceptor
from service.settings import Settings


@asynccontextmanager
async def running_server(retailer: BenchRetailer, allocator: Allocator) -> AsyncIterator[str]:
    """Serves what `service.app.application` serves, with this allocator; yields the address."""
    database = await Database.open(retailer.url, retailer.metrics, connections=CONNECTIONS)
    interceptor = CallInterceptor(retailer.metrics)
    restarted = RestartedServers(lambda: grpc.aio.server(interceptors=[interceptor], options=GRPC_OPTIONS), SERVERS)
    server = cast(grpc.aio.Server, restarted)
    _add_services(server, retailer, database, allocator)
    _add_empty_call(server)
    port = restarted.listen("127.0.0.1:0", lambda server, address: server.add_insecure_port(address))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(1)
        await database.close()


def _add_services(server: grpc.aio.Server, retailer: BenchRetailer, database: Database, allocator: Allocator) -> None:
    """Adds all services, because the cost of a call depends on how many methods are registered."""
    deps = Dependencies(Settings(), database, retailer.policies, retailer.metrics, new_id)
    add_services(deps, server, allocator)  # type: ignore[arg-type]  # The baseline stands in for the queue.
    health_pb2_grpc.add_HealthServicer_to_server(health_aio.HealthServicer(), server)
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_async.ReflectionServicer(names), server)


def _add_empty_call(server: grpc.aio.Server) -> None:
    """Registers the empty call as generated code registers a method, so that it takes the same path."""
    handlers = {
        "DoNothing": grpc.unary_unary_rpc_method_handler(
            _do_nothing, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
        )
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(EMPTY_SERVICE, handlers),))
    server.add_registered_method_handlers(EMPTY_SERVICE, handlers)  # type: ignore[attr-defined]  # Newer than the stubs.


async def _do_nothing(request: Empty, context: Any) -> Empty:
    return request
