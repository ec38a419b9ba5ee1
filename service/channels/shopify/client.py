"""Calls of Shopify's Admin API: GraphQL with errors inside HTTP 200 as errors, and tokens."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import httpx2

from service.channels.accounts import Account, SecretMissing
from service.channels.adapter import Tokens
from service.channels.errors import AuthorizationLost, Away, Unreadable
from service.channels.platform_calls import StaleToken, new_http_client, sent, with_fresh_token, with_retries
from service.channels.shopify.operations import API_VERSION

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\.myshopify\.com")
# The shop is frozen because its plan was not paid, or locked because of abuse.
_CLOSED_SHOP = frozenset({402, 423})

# Errors inside HTTP 200. Source: shopify.dev, GraphQL Admin API, "Status and error codes".
_FAILED = frozenset({"INTERNAL_SERVER_ERROR", "TIMEOUT"})
_INTERNAL = "Internal error"
_INACTIVE = "SHOP_INACTIVE"

Json = Mapping[str, Any]


class Client:
    """One shop's API. Every call raises Away, AuthorizationLost or Unreadable."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account, self._tokens = account, tokens
        self._http = new_http_client()

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def ask(self, operation: str, **variables: Any) -> Json:
        """The `data` of an operation. A stale token is renewed once; an unreachable shop is tried again."""

        def call(tokens: Mapping[str, str]) -> Awaitable[Json]:
            return self._ask(operation, variables, tokens)

        return await with_retries(lambda: with_fresh_token(self._tokens, "Shopify", call))

    async def _ask(self, operation: str, variables: Json, tokens: Mapping[str, str]) -> Json:
        request = self._http.build_request(
            "POST",
            f"{shop_url(self._account)}/admin/api/{API_VERSION}/graphql.json",
            json={"query": operation, "variables": variables},
            headers={"x-shopify-access-token": tokens["access_token"]},
        )
        response, content = await sent(self._http, request, "Shopify")
        if response.status_code == 401:
            raise StaleToken("the access token is not accepted")
        if response.status_code in _CLOSED_SHOP:
            raise Away(f"Shopify says that the shop is closed ({response.status_code})", retry_after_seconds=60.0)
        if response.status_code >= 300:
            raise Unreadable(
                f"Shopify answers with {response.status_code}; check the shop's address and the app's scopes"
            )
        return _data(_json(content))


def shop_url(account: Account) -> str:
    """Where the shop's API is. Raises AuthorizationLost unless the shop is one at myshopify.com: tokens go there."""
    if account.api_url:
        return account.api_url
    if not _DOMAIN.fullmatch(account.shop):
        raise AuthorizationLost(f"'{account.shop}' is no shop; write its name at Shopify, such as mugs.myshopify.com")
    return f"https://{account.shop}"


async def grant(account: Account, form: Mapping[str, str]) -> dict[str, str]:
    """Tokens for a code, for a refresh token, or for the app's own credentials. Raises Away and AuthorizationLost."""
    try:
        credentials = {"client_id": account.secret("client_id"), "client_secret": account.secret("client_secret")}
    except SecretMissing as error:
        raise Away(str(error)) from error
    url = f"{shop_url(account)}/admin/oauth/access_token"
    async with new_http_client() as http:
        return await with_retries(lambda: _granted(http, http.build_request("POST", url, data={**credentials, **form})))


async def refresh(account: Account, tokens: Mapping[str, str]) -> Mapping[str, str]:
    """Newer tokens: for the refresh token, or where there is none for the app's own credentials."""
    if tokens.get("refresh_token"):
        return await grant(account, {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})
    return await grant(account, {"grant_type": "client_credentials"})


async def _granted(http: httpx2.AsyncClient, request: httpx2.Request) -> dict[str, str]:
    response, content = await sent(http, request, "Shopify")
    answer = _json(content)
    if response.status_code >= 300:
        said = str(answer.get("error_description") or answer.get("error") or response.status_code)[:200]
        raise AuthorizationLost(f"Shopify gives no tokens: {said}")
    try:
        return {
            "access_token": str(answer["access_token"]),
            "refresh_token": str(answer.get("refresh_token") or ""),
            "access_expires": str(int(time.time()) + int(answer["expires_in"])),
        }
    except (KeyError, TypeError, ValueError) as error:
        problem = "Shopify gives a token that never expires; ask for expiring ones"
        raise AuthorizationLost(problem) from error


def _data(answer: Json) -> Json:
    errors = answer.get("errors")
    if not errors:
        data: Json = answer.get("data") or {}
        return data
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {"message": errors}
    message, code = str(first.get("message", ""))[:200], (first.get("extensions") or {}).get("code")
    if code == "THROTTLED":
        raise Away(f"Shopify throttles: {message}", retry_after_seconds=_refill_seconds(answer))
    if code in _FAILED or (code is None and message.startswith(_INTERNAL)):
        raise Away(f"Shopify has failed: {message}")
    if code == _INACTIVE:
        raise Away(f"Shopify says that the shop is closed: {message}", retry_after_seconds=60.0)
    raise Unreadable(f"Shopify refuses it: {message}{f' ({code})' if code else ''}")


def _refill_seconds(answer: Json) -> float:
    """How long the bucket of points needs until it has as many as the call takes."""
    cost = (answer.get("extensions") or {}).get("cost") or {}
    status = cost.get("throttleStatus") or {}
    missing = float(cost.get("requestedQueryCost") or 0) - float(status.get("currentlyAvailable") or 0)
    return max(0.0, missing) / float(status.get("restoreRate") or 50)


def _json(content: bytes) -> Json:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Away("Shopify answers with no JSON") from error
    return answer if isinstance(answer, dict) else {}
