"""Addresses to listen on, as people write them."""

from __future__ import annotations

from dataclasses import dataclass

HIGHEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `127.0.0.1:50051`, `[::1]:50051` or `localhost:50051`. Raises ValueError with what to write."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or int(port) > HIGHEST_PORT:
            raise ValueError(f"'{text}' is no address to listen on; write HOST:PORT, such as 127.0.0.1:50051")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
