"""The metrics port of a connector process: /metrics, /healthz and /readyz."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

MetricsToken = Callable[[], str | None]
"""The token that metrics need now, or None while its file cannot be read."""


def app(registry: CollectorRegistry, is_ready: Callable[[], bool], token: MetricsToken | None = None) -> Starlette:
    """The application of the metrics port. Without `token`, everybody who can connect may read metrics."""

    async def metrics(request: Request) -> Response:
        refusal = _refusal(request, token) if token is not None else None
        if refusal is not None:
            return refusal
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), headers={"content-type": content_type})

    async def alive(_: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def ready(_: Request) -> Response:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("not ready\n", 503)

    return Starlette(routes=[Route("/metrics", metrics), Route("/healthz", alive), Route("/readyz", ready)])


def _refusal(request: Request, token: MetricsToken) -> Response | None:
    wanted = token()
    if wanted is None:
        return PlainTextResponse("the file of the token for metrics cannot be read\n", 503)
    stated = request.headers.get("authorization", "").encode()
    if hmac.compare_digest(stated, f"Bearer {wanted}".encode()):
        return None
    return PlainTextResponse("metrics need their token: Authorization: Bearer TOKEN\n", 401)
