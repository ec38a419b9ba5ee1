"""Tokens of a Square application at one merchant. A refresh token stays the same; an access token lasts 30 days."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from hashlib import sha256
from typing import Any

from tests.fakes.square.words import moment

ACCESS_SECONDS = 30 * 86_400
MERCHANT_ID = "MADEUPMERCHANT"
SCOPES = ["INVENTORY_READ", "ITEMS_READ", "MERCHANT_PROFILE_READ", "ORDERS_READ", "PAYMENTS_READ"]
"""What the merchant has consented to."""


class Tokens:
    """Times are those of the real clock, because callers plan by them."""

    def __init__(self, client_id: str, client_secret: str) -> None:
        self.client_id, self.client_secret = client_id, client_secret
        self.code = secrets.token_hex(16)
        """What a merchant's consent gives; it can be exchanged once."""
        self.personal_token = f"EAAA{secrets.token_hex(16)}"
        """Of the application's owner; the only one that may ask for past events."""
        self.refreshes = 0
        self.lost_grants = 0
        """So many grants are made, and then the caller gets no answer."""
        self.authorized = True
        self.scopes = list(SCOPES)
        self._refresh_token = f"EQAA{secrets.token_hex(16)}"
        self._access: dict[str, float] = {}
        self._lock = threading.Lock()

    def grant(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and body of the answer to a request for tokens."""
        with self._lock:
            if (asked.get("client_id"), asked.get("client_secret")) != (self.client_id, self.client_secret):
                return 401, _error("UNAUTHORIZED", "client_id or client_secret is wrong")
            if not self.authorized:
                return 401, _error("ACCESS_TOKEN_REVOKED", "the merchant has revoked the application")
            if asked.get("grant_type") == "refresh_token":
                if asked.get("refresh_token") != self._refresh_token:
                    return 401, _error("UNAUTHORIZED", "refresh_token is not known")
                self.refreshes += 1
            elif asked.get("code") != self.code:
                return 401, _error("UNAUTHORIZED", "code is not known or was used")
            else:
                self.code = secrets.token_hex(16)
            return 200, self._issue()

    def is_good(self, access_token: str) -> bool:
        """Whether a call may be made by this token."""
        with self._lock:
            return self.authorized and self._access.get(access_token, 0) > time.time()

    def expire_access(self) -> None:
        """Every token for calls is dead from now on; the refresh token is not."""
        with self._lock:
            self._access.clear()

    def _issue(self) -> dict[str, Any]:
        token, expires = f"EAAA{secrets.token_hex(16)}", time.time() + ACCESS_SECONDS
        self._access[token] = expires
        bearer = {"access_token": token, "token_type": "bearer", "expires_at": moment(expires)}
        return {**bearer, "merchant_id": MERCHANT_ID, "refresh_token": self._refresh_token, "short_lived": False}


def webhook_signature(key: str, url: str, body: bytes) -> str:
    """What Square signs a URL and a body with, worked out here and not by our own code."""
    return base64.b64encode(hmac.new(key.encode(), url.encode() + body, sha256).digest()).decode()


def _error(code: str, detail: str) -> dict[str, Any]:
    return {"errors": [{"category": "AUTHENTICATION_ERROR", "code": code, "detail": detail}]}
