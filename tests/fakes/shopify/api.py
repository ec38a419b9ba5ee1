"""The Admin API of a fake Shopify shop over HTTP: tokens, the bucket of points, and GraphQL on Shopify's own schema."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import parse_qsl

from graphql import GraphQLError, GraphQLSchema, execute_sync, parse, validate
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.fakes.conditions import Conditions
from tests.fakes.shopify.books import Books
from tests.fakes.shopify.execution import CostOf, actual_cost
from tests.fakes.shopify.nodes import FIELDS
from tests.fakes.shopify.operations import Operations
from tests.fakes.shopify.tokens import Tokens
from tools.shopify_schema import subset

LARGEST_QUERY = 1_000


class Bucket:
    """Points that an app may spend at a shop: they come back at a rate, up to what the bucket holds."""

    def __init__(self, holds: float = 2_000, restores: float = 100) -> None:
        self.holds, self.restores = holds, restores
        self.points = holds
        self._at = time.monotonic()

    def take(self, points: float) -> bool:
        """Spends points; False where there are not so many."""
        now = time.monotonic()
        self.points = min(self.holds, self.points + (now - self._at) * self.restores)
        self._at = now
        if points > self.points:
            return False
        self.points -= points
        return True

    def status(self) -> dict[str, float]:
        """What every answer tells of the bucket."""
        available = int(self.points)
        return {"maximumAvailable": self.holds, "currentlyAvailable": available, "restoreRate": self.restores}


class Api:
    """Answers calls of one version of the API."""

    def __init__(
        self, books: Books, tokens: Tokens, conditions: Conditions, operations: Operations, version: str
    ) -> None:
        self._books, self._tokens, self._conditions, self._operations = books, tokens, conditions, operations
        self._version = version
        self._schema: GraphQLSchema = subset(version, FIELDS)
        self.bucket = Bucket()

    def routes(self) -> list[Route]:
        """The calls that this shop knows."""
        return [
            Route("/admin/oauth/access_token", self._grant, methods=["POST"]),
            Route("/admin/api/{version}/graphql.json", self._graphql, methods=["POST"]),
        ]

    async def _grant(self, request: Request) -> Response:
        self._conditions.calls["POST /admin/oauth/access_token"] += 1
        if self._conditions.outage:
            return Response(status_code=503)
        if request.headers.get("content-type", "").startswith("application/json"):
            form = await request.json()
        else:
            form = dict(parse_qsl((await request.body()).decode()))
        status, body = self._tokens.grant(form)
        return self._sent(JSONResponse(body, status))

    async def _graphql(self, request: Request) -> Response:
        self._conditions.calls["POST graphql"] += 1
        if (refused := self._refusal(request)) is not None:
            return refused
        if self._conditions.answer_delay_seconds:
            await asyncio.sleep(self._conditions.answer_delay_seconds)
        body = await request.json()
        with self._books.lock:
            answer = self._execute(body["query"], body.get("variables") or {}, body.get("operationName"))
        return self._sent(JSONResponse(answer))

    def _refusal(self, request: Request) -> Response | None:
        if self._conditions.outage:
            return Response(status_code=503)
        if request.path_params["version"] != self._version:
            return JSONResponse({"errors": "Not Found"}, 404)
        if not self._tokens.is_good(request.headers.get("x-shopify-access-token", "")):
            return JSONResponse({"errors": "[API] Invalid API key or access token (unrecognized login)"}, 401)
        if not self._conditions.may_call():
            wait = self._conditions.retry_after_seconds
            return Response(status_code=429, headers={} if wait is None else {"retry-after": str(wait)})
        if self._conditions.failures:
            status, _, message = self._conditions.failures.popleft()
            return JSONResponse({"errors": [{"message": message}]}, status)
        return None

    def _sent(self, response: Response) -> Response:
        if self._conditions.lost_answers > 0:
            self._conditions.lost_answers -= 1
            return Response("Bad Gateway", 502)
        return response

    def _execute(self, query: str, variables: dict[str, Any], operation: str | None) -> dict[str, Any]:
        try:
            document = parse(query)
        except GraphQLError as error:
            return {"errors": [error.formatted]}
        if problems := validate(self._schema, document):
            return {"errors": [problem.formatted for problem in problems]}
        cost = CostOf(self._schema, document, variables).points
        if cost > LARGEST_QUERY:
            return _refused("MAX_COST_EXCEEDED", f"Query cost is {cost}, which exceeds the single query max cost limit")
        if not self.bucket.take(cost):
            self._conditions.throttled += 1
            return {**_refused("THROTTLED", "Throttled"), "extensions": self._extensions(cost)}
        result = execute_sync(
            self._schema, document, self._operations.root, variable_values=variables, operation_name=operation
        )
        spent = min(cost, actual_cost(result.data))
        self.bucket.points += cost - spent
        return {**result.formatted, "extensions": self._extensions(cost, spent)}

    def _extensions(self, cost: int, spent: int | None = None) -> dict[str, Any]:
        status = self.bucket.status()
        return {"cost": {"requestedQueryCost": cost, "actualQueryCost": spent, "throttleStatus": status}}


def _refused(code: str, message: str) -> dict[str, Any]:
    return {"errors": [{"message": message, "extensions": {"code": code}}]}
