"""Calls of Square's API: bounded, without redirects, and with tokens that are renewed once where they are refused."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from datetime import datetime
from typing import Any

import httpx2

from service.channels.accounts import Account, SecretMissing
from service.channels.adapter import Tokens
from service.channels.errors import AuthorizationLost, Away, ChannelError, Unreadable
from service.channels.platform_calls import StaleToken, new_http_client, sent, with_fresh_token, with_retries

API_URL = "https://connect.squareup.com"
API_VERSION = "2026-09-16"

Json = Mapping[str, Any]


class Client:
    """One merchant's API. Every call raises Away, AuthorizationLost or Unreadable."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account, self._tokens = account, tokens
        self._http = new_http_client()

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def call(
        self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None
    ) -> Json:
        """The answer to a call for the merchant. A stale token is renewed once; an unreachable API is tried again."""

        def call(tokens: Mapping[str, str]) -> Awaitable[Json]:
            return self._call(method, path, body, query or {}, tokens["access_token"])

        return await with_retries(lambda: with_fresh_token(self._tokens, "Square", call))

    async def call_as_owner(
        self, method: str, path: str, body: Json | None = None, query: Mapping[str, str] | None = None
    ) -> Json:
        """The answer to a call by the application's own token, which webhook subscriptions ask for."""
        try:
            token = self._account.secret("personal_access_token")
        except SecretMissing as error:
            raise Away(str(error)) from error
        try:
            return await with_retries(lambda: self._call(method, path, body, query or {}, token))
        except StaleToken as error:
            raise Unreadable(f"Square refuses the personal access token: {error}") from error

    async def _call(self, method: str, path: str, body: Json | None, query: Mapping[str, str], token: str) -> Json:
        request = self._http.build_request(
            method,
            f"{self._account.api_url or API_URL}{path}",
            params=query,
            json=body,
            headers={"authorization": f"Bearer {token}", "square-version": API_VERSION},
        )
        return await _sent(self._http, request)


async def grant(account: Account, asked: Mapping[str, str]) -> dict[str, str]:
    """Tokens for a code or a refresh token. Raises Away, or AuthorizationLost where Square refuses."""
    try:
        credentials = {
            "client_id": account.secret("application_id"),
            "client_secret": account.secret("application_secret"),
        }
    except SecretMissing as error:
        raise Away(str(error)) from error
    url = f"{account.api_url or API_URL}/oauth2/token"
    headers = {"square-version": API_VERSION}
    async with new_http_client() as http:
        try:
            answer = await with_retries(
                lambda: _sent(http, http.build_request("POST", url, json={**credentials, **asked}, headers=headers))
            )
            return {
                "access_token": str(answer["access_token"]),
                "refresh_token": str(answer["refresh_token"]),
                "access_expires": str(int(datetime.fromisoformat(str(answer["expires_at"])).timestamp())),
                "merchant_id": str(answer["merchant_id"]),
            }
        except (Unreadable, StaleToken, KeyError, ValueError) as error:
            said = f": {error}" if isinstance(error, ChannelError) else ""
            raise AuthorizationLost(f"Square gives no tokens{said}") from error


async def refresh(account: Account, tokens: Mapping[str, str]) -> Mapping[str, str]:
    """Tokens for the refresh token of older ones. Raises Away and AuthorizationLost."""
    return await grant(account, {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]})


async def _sent(http: httpx2.AsyncClient, request: httpx2.Request) -> Json:
    response, content = await sent(http, request, "Square")
    answer = _json(content)
    if response.status_code < 300:
        return answer
    code, detail = _first_error(answer)
    said = f"{detail or response.status_code}{f' ({code})' if code else ''}"
    if code == "ACCESS_TOKEN_REVOKED":
        raise AuthorizationLost(f"Square says that the merchant has withdrawn the permission: {said}")
    if response.status_code == 401:
        raise StaleToken(said)
    raise Unreadable(f"Square refuses {request.url.path}: {said}")


def _first_error(answer: Json) -> tuple[str, str]:
    errors = answer.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    return str(first.get("code") or "")[:64], str(first.get("detail") or "")[:200]


def _json(content: bytes) -> Json:
    try:
        answer = json.loads(content) if content else {}
    except (ValueError, RecursionError) as error:
        raise Away("Square answers with no JSON") from error
    return answer if isinstance(answer, dict) else {}
