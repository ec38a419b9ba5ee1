"""A receiver of webhooks that keeps what comes, for tests of the fake channels themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.fakes.server import serving


@dataclass(slots=True)
class Receiver:
    """What came, in its order; `status` is what each delivery is answered with."""

    url: str = ""
    status: int = 200
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def receive(self, request: Request) -> Response:
        """Takes one delivery."""
        body = await request.body()
        self.received.append((dict(request.headers), body))
        return Response(status_code=self.status)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver at `url` until the block ends."""
    receiver = Receiver()
    with serving(Starlette(routes=[Route("/hooks", receiver.receive, methods=["POST"])])) as address:
        receiver.url = f"{address}/hooks"
        yield receiver
