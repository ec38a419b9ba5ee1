"""How Shopify signs its webhooks, and the query of the redirect by which a shop is connected."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from urllib.parse import urlencode

from service.channels.message_authentication import code_of, is_code_of

WEBHOOK_HEADER = "x-shopify-hmac-sha256"
"""The header of a webhook that has the signature."""


def webhook_signature(body: bytes, client_secret: str) -> str:
    """The signature of a webhook: base64 of HMAC-SHA256 over the bytes of the body as sent.

    The headers are not signed. Source: shopify.dev, "Verify webhook deliveries".
    """
    return _base64(code_of(body, client_secret))


def is_genuine(signature: str | None, body: bytes, client_secrets: Sequence[str]) -> bool:
    """Whether the signature of a webhook is by one of the app's secrets; False where it is missing.

    Raises ValueError where there is no secret, or an empty one.
    """
    return is_code_of(signature, body, client_secrets, _base64)


def is_genuine_redirect(query: Iterable[tuple[str, str]], client_secrets: Sequence[str]) -> bool:
    """Whether Shopify made the query of a redirect after a merchant has consented, by its parameter `hmac`.

    The parameters are given decoded. Signed are all but `hmac`, sorted by name and form-encoded as browsers do it.
    False where `hmac` is missing or stated twice. Raises ValueError where there is no secret, or an empty one.
    Source: shopify.dev, "Implement authorization code grant manually", and Shopify's own client for the encoding.
    """
    parameters = list(query)
    signatures = [value for name, value in parameters if name == "hmac"]
    signed = urlencode(sorted(pair for pair in parameters if pair[0] != "hmac"), safe="*").replace("~", "%7E")
    given = signatures[0] if len(signatures) == 1 else None
    return is_code_of(given, signed.encode(), client_secrets, bytes.hex)


def _base64(code: bytes) -> str:
    return b64encode(code).decode()
