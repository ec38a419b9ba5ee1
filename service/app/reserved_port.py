"""A port that several servers of this service share, and no other service gets."""

from __future__ import annotations

import socket

from service.app.drain import Drain
from service.app.listening import StartError
from service.settings import Address


class ReservedPort:
    """Only servers that share ports (SO_REUSEPORT) can listen at it, of programs of the same user.

    Of two services that start at the same time one gets the port, since each takes it for itself before it shares it.
    Linux has no way to keep out a program of the same user that shares ports without asking for the port alone.
    """

    def __init__(self, reserved: socket.socket) -> None:
        self._reserved = reserved

    @classmethod
    def take(cls, address: Address) -> ReservedPort:
        """The port of the address, a free one for 0. Raises StartError if another program has it."""
        reserved = socket.socket(address.family)
        try:
            # Connections of a service that has just ended do not count ...
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind((address.host, address.port))
            # ... but with this option on both sides, others could take a port at which nobody listens yet.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as error:
            reserved.close()
            # Python may append the address as a tuple, which our sentence has already.
            reason, _, _ = (error.strerror or str(error)).partition(" (while attempting")
            raise StartError(f"gRPC cannot be served on {address}: {reason}; choose another --address") from error
        return cls(reserved)

    @property
    def port(self) -> int:
        """Its number."""
        port: int = self._reserved.getsockname()[1]
        return port

    def close(self) -> None:
        """Gives it up; servers that listen at it go on."""
        self._reserved.close()


def reserve(address: Address, drain: Drain) -> Address:
    """Takes the address for the servers of a service until the drain begins. Raises StartError."""
    reserved = ReservedPort.take(address)

    async def close(_: float) -> None:
        reserved.close()

    drain.add("address", close, at_once=True)
    return Address(address.host, reserved.port)
