"""Tokens of a TikTok shop: short-lived ones for calls, and refresh tokens that are replaced when they are used."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from hashlib import sha256
from typing import Any

ACCESS_SECONDS = 7 * 86_400
REFRESH_SECONDS = 365 * 86_400


class Tokens:
    """Of one app at one shop. Times are those of the real clock, because callers plan by them."""

    def __init__(self, app_key: str, app_secret: str) -> None:
        self.app_key, self.app_secret = app_key, app_secret
        self.auth_code = secrets.token_hex(12)
        """What a merchant's consent gives; it can be exchanged once."""
        self.access_seconds = ACCESS_SECONDS
        self.refreshes = 0
        self.authorized = True
        self.scopes = ["seller.order.info", "seller.product.basic", "seller.return_refund.basic"]
        self.used_token_works_until_replacement_is_used = True
        """Whether a lost answer to a refresh can be asked for again."""
        self._access: dict[str, float] = {}
        self._refresh: dict[str, float] = {}
        self._spent: dict[str, str] = {}
        self._lock = threading.Lock()

    def exchange(self, code: str) -> dict[str, Any] | None:
        """Tokens for the code of a consent; None for another or a used one."""
        with self._lock:
            if not self.authorized or not hmac.compare_digest(code.encode(), self.auth_code.encode()):
                return None
            self.auth_code = secrets.token_hex(12)
            return self._issue()

    def refresh(self, refresh_token: str) -> dict[str, Any] | None:
        """New tokens for a refresh token; None for an unknown, used or expired one, or after the consent has ended."""
        with self._lock:
            if not self.authorized or not self._may_refresh(refresh_token):
                return None
            self._refresh.pop(refresh_token, None)
            self.refreshes += 1
            issued = self._issue()
            self._spent[refresh_token] = issued["access_token"]
            return issued

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

    def _may_refresh(self, token: str) -> bool:
        if self._refresh.get(token, 0) > time.time():
            return True
        return self.used_token_works_until_replacement_is_used and token in self._spent

    def _issue(self) -> dict[str, Any]:
        now = int(time.time())
        access, refresh = f"ROW_{secrets.token_urlsafe(24)}", f"ROW_{secrets.token_urlsafe(24)}"
        self._access[access], self._refresh[refresh] = now + self.access_seconds, now + REFRESH_SECONDS
        return {
            "access_token": access,
            "access_token_expire_in": now + self.access_seconds,
            "refresh_token": refresh,
            "refresh_token_expire_in": now + REFRESH_SECONDS,
            "open_id": "7010736057180325637",
            "seller_name": "A made-up shop",
            "seller_base_region": "US",
            "user_type": 0,
            "granted_scopes": list(self.scopes),
        }


def request_signature(path: str, query: list[tuple[str, str]], body: bytes, secret: str) -> str:
    """What TikTok expects as `sign`, worked out here and not by our own code."""
    text = b"".join(f"{name}{value}".encode() for name, value in sorted(query) if name not in ("sign", "access_token"))
    return hmac.new(
        secret.encode(), secret.encode() + path.encode() + text + body + secret.encode(), sha256
    ).hexdigest()


def webhook_headers(app_key: str, app_secret: str, body: bytes) -> dict[str, str]:
    """The headers of a webhook."""
    return {"authorization": hmac.new(app_secret.encode(), app_key.encode() + body, sha256).hexdigest()}
