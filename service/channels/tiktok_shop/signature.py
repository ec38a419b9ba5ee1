"""How TikTok Shop signs its webhooks, and how calls of its API are signed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import itemgetter

from service.channels.message_authentication import code_of, is_code_of

WEBHOOK_HEADER = "authorization"
"""The header of a webhook that has the signature, without any scheme before it."""
UNSIGNED = frozenset({"sign", "access_token"})
"""Query parameters of a call that are not signed."""


def webhook_signature(app_key: str, body: bytes, app_secret: str) -> str:
    """The signature of a webhook: lowercase hex of HMAC-SHA256 over the app key and the bytes of the body as sent.

    Neither the address nor a time is signed. Source: TikTok Shop Partner Center, "Webhooks overview".
    """
    return code_of(app_key.encode() + body, app_secret).hex()


def is_genuine(signature: str | None, app_key: str, body: bytes, app_secrets: Sequence[str]) -> bool:
    """Whether the signature of a webhook is by one of the app's secrets; False where it is missing.

    Raises ValueError where there is no secret, or an empty one.
    """
    return is_code_of(signature, app_key.encode() + body, app_secrets, bytes.hex)


def request_signature(path: str, query: Iterable[tuple[str, str]], body: bytes, app_secret: str) -> str:
    """The query parameter `sign` of a call: lowercase hex of HMAC-SHA256.

    Signed are the path, the query parameters sorted by name as they are before they are percent-encoded, and the body
    (b"" for a call without one, and for a multipart form), with the app's secret before and after.
    Source: TikTok Shop Partner Center, "Sign your API request".
    """
    signed = sorted((parameter for parameter in query if parameter[0] not in UNSIGNED), key=itemgetter(0))
    parameters = "".join(name + value for name, value in signed)
    secret = app_secret.encode()
    return code_of(secret + (path + parameters).encode() + body + secret, app_secret).hex()
