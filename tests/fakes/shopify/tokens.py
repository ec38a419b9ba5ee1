"""Tokens of a Shopify app at one shop: for a day, by client credentials, or for an hour and refreshed."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from hashlib import sha256
from typing import Any

DAY, HOUR, REFRESH_SECONDS = 86_400, 3_600, 90 * 86_400


class Tokens:
    """Times are those of the real clock, because callers plan by them."""

    def __init__(self, client_id: str, client_secret: str, scopes: list[str]) -> None:
        self.client_id, self.client_secret, self._scopes = client_id, client_secret, scopes
        self.code = secrets.token_hex(16)
        """What a merchant's consent gives; it can be exchanged once."""
        self.own_shop = True
        """Whether app and shop belong to one organization, which client credentials need."""
        self.refreshes = 0
        self.authorized = True
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}
        self._spent: dict[str, str] = {}
        self._lock = threading.Lock()

    def grant(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """The status and body of the answer to a request for tokens."""
        with self._lock:
            if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
                return 401, {"error": "invalid_client"}
            if not self.authorized:
                return 400, {"error": "app_not_installed"}
            kind = form.get("grant_type", "authorization_code")
            if kind == "client_credentials":
                return (200, self._issue(DAY)) if self.own_shop else (400, {"error": "shop_not_permitted"})
            if kind == "refresh_token":
                return self._refreshed(form.get("refresh_token", ""))
            return self._exchanged(form)

    def is_good(self, access_token: str) -> bool:
        """Whether a call may be made by this token."""
        with self._lock:
            good = self.authorized and self._access.get(access_token, 0) > time.time()
            if good:
                self._spent = {spent: new for spent, new in self._spent.items() if new != access_token}
            return good

    def expire_access(self) -> None:
        """Every token for calls is dead from now on; refresh tokens are not."""
        with self._lock:
            self._access.clear()

    def _exchanged(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if not hmac.compare_digest(form.get("code", "").encode(), self.code.encode()):
            return 400, {"error": "invalid_request", "error_description": "The authorization code was not found"}
        self.code = secrets.token_hex(16)
        return 200, self._issue_refreshable()

    def _refreshed(self, token: str) -> tuple[int, dict[str, Any]]:
        # The used refresh token stays good until its replacement is used, so that a lost answer can be asked for again.
        if self._refresh.get(token, 0) <= time.time() and token not in self._spent:
            return 400, {"error": "invalid_grant"}
        self._refresh.pop(token, None)
        self.refreshes += 1
        issued = self._issue_refreshable()
        self._spent[token] = issued["access_token"]
        return 200, issued

    def _issue_refreshable(self) -> dict[str, Any]:
        refresh = f"shprt_{secrets.token_hex(16)}"
        self._refresh[refresh] = time.time() + REFRESH_SECONDS
        return {**self._issue(HOUR), "refresh_token": refresh, "refresh_token_expires_in": REFRESH_SECONDS}

    def _issue(self, seconds: int) -> dict[str, Any]:
        token = f"shpat_{secrets.token_hex(16)}"
        self._access[token] = time.time() + seconds
        return {"access_token": token, "scope": ",".join(self._scopes), "expires_in": seconds}


def webhook_signature(secret: str, body: bytes) -> str:
    """What Shopify signs a body with, worked out here and not by our own code."""
    return base64.b64encode(hmac.new(secret.encode(), body, sha256).digest()).decode()
