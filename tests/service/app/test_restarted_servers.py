"""Several servers of grpcio at one address, and the request that ends one of them but not the service."""

from __future__ import annotations

import asyncio
import socket

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from service.app.restarted_servers import RestartedServers
from tests.http2_frames import END_HEADERS, HEADERS, frame, header_block, opening
from tests.retailer import eventually

REQUEST = header_block(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/\xab\xff"),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)

COUNT = 3


def add_port(server: grpc.aio.Server, address: str) -> int:
    port: int = server.add_insecure_port(address)
    return port


async def test_a_path_that_is_no_text_ends_no_service_and_no_call_in_progress() -> None:
    servers: list[grpc.aio.Server] = []

    def new_server() -> grpc.aio.Server:
        servers.append(grpc.aio.server())
        return servers[-1]

    server = RestartedServers(new_server, COUNT)
    health_pb2_grpc.add_HealthServicer_to_server(HealthServicer(), server)
    port = server.listen("127.0.0.1:0", add_port)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        before = await watch.read()
        for count in (COUNT + 1, COUNT + 2):
            with socket.create_connection(("127.0.0.1", port)) as stranger:
                stranger.sendall(opening() + frame(HEADERS, END_HEADERS, 1, REQUEST))

                async def is_restarted(count: int = count) -> bool:
                    return len(servers) == count and server.is_serving

                await eventually(is_restarted)
            # The operating system gives each connection to any of the servers.
            for _ in range(4 * COUNT):
                assert await check(port) == health_pb2.HealthCheckResponse.SERVING
        assert before.status == health_pb2.HealthCheckResponse.SERVING
        assert not watch.done()
    await asyncio.wait_for(server.stop(0.1), 20)


async def check(port: int) -> int:
    """What a new connection is told of the health of the service."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20, wait_for_ready=True)
        return int(response.status)
