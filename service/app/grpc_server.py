"""The gRPC server of a service: its services, health and reflection, at the address where it listens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from grpc_health.v1 import _async as health_aio, health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import _async as reflection_async, reflection, reflection_pb2_grpc

from service import limits
from service.allocation.allocation_queue import AllocationQueue
from service.allocation.lifecycle import Lifecycle
from service.app.listening import Listening, StartError
from service.app.restarted_servers import RestartedServers
from service.app.wiring import SERVICE_NAMES, add_services
from service.dependencies import Dependencies
from service.observability.call_log import CallLog
from service.orders import order_places
from service.rpc.bindings import Places
from service.rpc.call_interceptor import CallInterceptor
from service.rpc.caller import AccessCheck
from service.settings import Address

if TYPE_CHECKING:
    from service.observability.tracing import Tracing

GRPC_OPTIONS = (
    ("grpc.max_receive_message_length", limits.RECEIVE_BYTES),
    ("grpc.max_send_message_length", limits.RESPONSE_BYTES),
    # gRPC ends a connection on which pings come more often, every 5 minutes by default; clients look for dead
    # connections more often than that while a watch is silent.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)
SERVERS = 8
"""Servers at the address of a process. On average 4 connections reach 3.3 of 8 servers, which took a sixth off the CPU
time of CheckAvailability; 16 servers took no more off."""
CUT_OFF_SECONDS = 0.2
"""What calls get to answer that the service stops, once their connections to the database are cut off."""


@dataclass(frozen=True, slots=True)
class GrpcServer:
    """A server that accepts calls; `lifecycle` is that of its holds."""

    lifecycle: Lifecycle
    _server: grpc.aio.Server
    _queue: AllocationQueue
    _health: health_aio.HealthServicer
    _deps: Dependencies

    async def set_health(self, *, alive: bool) -> None:
        """What the gRPC health service answers for the server and each of its services."""
        status = health_pb2.HealthCheckResponse.SERVING if alive else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            await self._health.set(name, status)

    async def end_health(self, _: float) -> None:
        """Answers NOT_SERVING from now on, whatever is set later."""
        await self._health.enter_graceful_shutdown()

    async def end_calls(self, hurried: asyncio.Event, seconds: float) -> None:
        """Ends streams, refuses new calls, and answers those in flight, after `drain_seconds` with UNAVAILABLE."""
        deps, server = self._deps, self._server
        deps.shutdown.set()
        grace = min(seconds, deps.settings.drain_seconds)
        answered = asyncio.ensure_future(server.stop(grace + CUT_OFF_SECONDS))
        in_a_hurry = asyncio.ensure_future(hurried.wait())
        await asyncio.wait((answered, in_a_hurry), timeout=grace, return_when=asyncio.FIRST_COMPLETED)
        in_a_hurry.cancel()
        if not answered.done():
            # What waits for the database then answers that the call may be repeated; a call that gRPC cuts off cannot.
            deps.database.cut_off()
            await asyncio.wait([answered], timeout=CUT_OFF_SECONDS)
        if not answered.done():
            answered.cancel()
            await asyncio.wait([answered])
            await server.stop(None)
        await self._queue.close()


async def start_grpc_server(
    deps: Dependencies, tracing: Tracing | None, listens: Listening, address: Address
) -> GrpcServer:
    """Starts the server at an address that has been reserved for the service. Raises StartError."""
    options = (*GRPC_OPTIONS, ("grpc.so_reuseport", 1))
    interceptor = _interceptor(deps, tracing, listens)
    servers = RestartedServers(lambda: grpc.aio.server(interceptors=[interceptor], options=options), SERVERS)
    server = cast(grpc.aio.Server, servers)
    queue, lifecycle = add_services(deps, server)
    health_servicer = health_aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    # `enable_server_reflection` would take a server that stands for another one for one with threads.
    names = (*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection_async.ReflectionServicer(names), server)
    _listen(servers, listens, address)
    await server.start()
    return GrpcServer(lifecycle, server, queue, health_servicer, deps)


def _interceptor(deps: Dependencies, tracing: Tracing | None, listens: Listening) -> CallInterceptor:
    call_log = CallLog(deps.settings.log_calls_per_second, deps.settings.slow_call_seconds)

    async def find_places(field: str, id: str) -> Places | None:
        return await deps.database.unlocked(
            "find places", lambda connection: order_places.places(connection, field, id)
        )

    access = AccessCheck(listens.authentication, find_places)
    return CallInterceptor(deps.metrics, call_log, tracing, access=access)


def _listen(servers: RestartedServers, listens: Listening, address: Address) -> None:
    """Makes the servers listen at the address. Raises StartError if that cannot be used."""

    def add_port(server: grpc.aio.Server, address: str) -> int:
        if listens.certificates is None:
            port: int = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, listens.certificates.grpc_credentials())
        return port

    try:
        servers.listen(str(address), add_port)
    except RuntimeError as error:
        raise StartError(
            f"gRPC cannot be served on {address}; another program may use it; choose another --address"
        ) from error
