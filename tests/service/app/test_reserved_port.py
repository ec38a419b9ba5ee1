"""The port of a service is its own, although several of its servers listen at it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from service.app.drain import Drain
from service.app.listening import StartError
from service.app.reserved_port import ReservedPort, reserve
from service.settings import Address

FREE = Address("127.0.0.1", 0)


@pytest.fixture
def reserved() -> Iterator[ReservedPort]:
    port = ReservedPort.take(FREE)
    yield port
    port.close()


def listener(port: int, *options: int) -> socket.socket:
    """A server at the port. Raises OSError."""
    server = socket.socket()
    try:
        for option in options:
            server.setsockopt(socket.SOL_SOCKET, option, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
    except OSError:
        server.close()
        raise
    return server


SHARING = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
"""The options of the servers of gRPC."""


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,)])
def test_no_program_that_does_not_share_ports_listens_at_it(reserved: ReservedPort, options: tuple[int, ...]) -> None:
    with pytest.raises(OSError, match="in use"):
        listener(reserved.port, *options)


def test_several_servers_of_the_service_listen_at_it(reserved: ReservedPort) -> None:
    with ExitStack() as servers:
        for _ in range(3):
            servers.enter_context(listener(reserved.port, *SHARING))


@pytest.mark.parametrize("listening", [0, 1, 3])
def test_a_second_service_does_not_get_it(reserved: ReservedPort, listening: int) -> None:
    with ExitStack() as servers:
        for _ in range(listening):
            servers.enter_context(listener(reserved.port, *SHARING))

        with pytest.raises(StartError, match=f"127.0.0.1:{reserved.port}: .* choose another --address"):
            ReservedPort.take(Address("127.0.0.1", reserved.port))


def test_connections_that_an_ended_service_leaves_do_not_keep_the_next_from_starting() -> None:
    first = ReservedPort.take(FREE)
    port = first.port
    server = listener(port, *SHARING)
    with socket.create_connection(("127.0.0.1", port)):
        accepted, _ = server.accept()
        # Whoever closes first keeps the port of the connection for a minute.
        accepted.close()
    server.close()
    first.close()

    second = ReservedPort.take(Address("127.0.0.1", port))
    listener(port, *SHARING).close()
    second.close()


async def test_the_next_service_may_take_the_address_while_this_one_finishes_its_calls() -> None:
    taken = []

    async with Drain(1.0) as drain:
        address = reserve(FREE, drain)

        async def finish_calls(_: float) -> None:
            taken.append(ReservedPort.take(address))

        drain.add("calls in flight", finish_calls)
        with pytest.raises(StartError, match="choose another --address"):
            ReservedPort.take(address)

    (next_service,) = taken
    next_service.close()


async def test_a_service_that_cannot_start_leaves_its_address_to_others() -> None:
    reserved = []

    async def start() -> None:
        async with Drain(1.0) as drain:
            reserved.append(reserve(FREE, drain))
            raise StartError("the database cannot be reached")

    with pytest.raises(StartError, match="database"):
        await start()

    ReservedPort.take(reserved[0]).close()
