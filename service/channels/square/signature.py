"""How Square signs its webhooks."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from service.channels.message_authentication import code_of, is_code_of

WEBHOOK_HEADER = "x-square-hmacsha256-signature"
"""The header of a webhook that has the signature."""


def webhook_signature(notification_url: str, body: bytes, signature_key: str) -> str:
    """The signature of a webhook: base64 of HMAC-SHA256 over the subscription's URL and the bytes of the body as sent.

    The URL is the one that the subscription has at Square, byte for byte; what a proxy or the Host header says of it
    does not count. Source: developer.squareup.com, "Verify and validate an event notification".
    """
    return _base64(code_of(notification_url.encode() + body, signature_key))


def is_genuine(signature: str | None, notification_url: str, body: bytes, signature_keys: Sequence[str]) -> bool:
    """Whether the signature of a webhook is by one of the subscription's keys; False where it is missing.

    Raises ValueError where there is no key, or an empty one.
    """
    return is_code_of(signature, notification_url.encode() + body, signature_keys, _base64)


def _base64(code: bytes) -> str:
    return b64encode(code).decode()
