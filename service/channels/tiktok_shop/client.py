"""Calls of TikTok Shop's API: signed, bounded, without redirects, and with its errors inside HTTP 200 as errors."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Mapping
from typing import Any

import httpx2

from service.channels.accounts import Account, SecretMissing
from service.channels.adapter import Tokens
from service.channels.errors import AuthorizationLost, Away, ChannelError, Unreadable
from service.channels.platform_calls import StaleToken, new_http_client, sent, with_fresh_token, with_retries
from service.channels.tiktok_shop.signature import request_signature

API_URL = "https://open-api.tiktokglobalshop.com"
AUTHORIZATION_URL = "https://auth.tiktok-shops.com"

# TikTok Shop Partner Center, "Common errors": the access token is wrong, has expired, or is not for this shop.
_STALE_TOKEN = frozenset({105_000, 105_001, 105_002, 105_003, 36_004_003})
_DEAUTHORIZED = frozenset({105_005, 36_004_004})
_BAD_SIGNATURE = 106_001
_THROTTLED = frozenset({36_009_002, 36_009_003})

Json = Mapping[str, Any]


class Client:
    """One shop's API. Every call raises Away, AuthorizationLost or Unreadable."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account = account
        self._tokens = tokens
        self._http = new_http_client()
        self._url = account.api_url or API_URL

    async def close(self) -> None:
        """Closes connections."""
        await self._http.aclose()

    async def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Json | None = None
    ) -> Json:
        """The `data` of one call to the shop. A stale token is renewed once; an unreachable API is tried again."""

        def call(tokens: Mapping[str, str]) -> Awaitable[Json]:
            return self._call(method, path, query or {}, body, tokens)

        return await with_retries(lambda: with_fresh_token(self._tokens, "TikTok Shop", call))

    async def _call(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, tokens: Mapping[str, str]
    ) -> Json:
        content = b"" if body is None else json.dumps(body).encode()
        parameters = {**query, "app_key": self._secret("app_key"), "timestamp": str(int(time.time()))}
        if tokens.get("shop_cipher"):
            parameters["shop_cipher"] = tokens["shop_cipher"]
        parameters["sign"] = request_signature(path, parameters.items(), content, self._secret("app_secret"))
        request = self._http.build_request(
            method,
            self._url + path,
            params=parameters,
            content=content,
            headers={"x-tts-access-token": tokens["access_token"], "content-type": "application/json"},
        )
        return await send(self._http, request)

    def _secret(self, name: str) -> str:
        try:
            return self._account.secret(name)
        except SecretMissing as error:
            raise Away(str(error)) from error


async def token_call(account: Account, endpoint: str, query: Mapping[str, str]) -> dict[str, str]:
    """New tokens of `get` or `refresh`. Raises Away, or AuthorizationLost where TikTok Shop refuses."""
    try:
        parameters = {"app_key": account.secret("app_key"), "app_secret": account.secret("app_secret"), **query}
    except SecretMissing as error:
        raise Away(str(error)) from error
    url = f"{account.api_url or AUTHORIZATION_URL}/api/v2/token/{endpoint}"
    async with new_http_client() as http:
        try:
            data = await with_retries(lambda: send(http, http.build_request("GET", url, params=parameters)))
            return {
                "access_token": str(data["access_token"]),
                "refresh_token": str(data["refresh_token"]),
                "access_expires": str(int(data["access_token_expire_in"])),
                "refresh_expires": str(int(data["refresh_token_expire_in"])),
                "scopes": " ".join(str(scope) for scope in data.get("granted_scopes") or ()),
            }
        except (Unreadable, StaleToken, KeyError, ValueError, TypeError) as error:
            said = f": {error}" if isinstance(error, ChannelError) else ""
            raise AuthorizationLost(f"TikTok Shop gives no tokens{said}") from error


async def refresh(account: Account, tokens: Mapping[str, str]) -> Mapping[str, str]:
    """Tokens for the refresh token of older ones. Raises Away and AuthorizationLost."""
    query = {"refresh_token": tokens["refresh_token"], "grant_type": "refresh_token"}
    return await token_call(account, "refresh", query)


async def send(http: httpx2.AsyncClient, request: httpx2.Request) -> Json:
    """The `data` of an answer. Raises Away, AuthorizationLost or Unreadable, or an error that the token is stale."""
    response, content = await sent(http, request, "TikTok Shop")
    return _data(request.url.path, response.status_code, content)


def _data(path: str, status: int, content: bytes) -> Json:
    try:
        answer = json.loads(content)
        code, message = int(answer["code"]), str(answer.get("message", ""))[:200]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if status == 401:
            raise StaleToken(f"{path}: {status}") from error
        raise Away(f"TikTok Shop answers {path} with {status} and no JSON that it documents") from error
    if code in _DEAUTHORIZED:
        raise AuthorizationLost(f"TikTok Shop says that the shop has withdrawn its permission: {message} ({code})")
    if code == _BAD_SIGNATURE:
        raise AuthorizationLost(f"TikTok Shop refuses our signature; check the app secret and the clock: {message}")
    if status == 401 or code in _STALE_TOKEN:
        raise StaleToken(f"{message} ({code})")
    if code in _THROTTLED:
        raise Away(f"TikTok Shop throttles {path}: {message} ({code})", retry_after_seconds=1.0)
    if code != 0 or status >= 300:
        raise Unreadable(f"TikTok Shop refuses {path}: {message} ({code or status})")
    data: Json = answer.get("data") or {}
    return data
