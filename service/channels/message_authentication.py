"""HMAC-SHA256 under several secrets, which is how all three platforms sign what they send.

An app has two secrets while one is being replaced: the current one and the previous one. A signature by either is good.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence


def code_of(message: bytes, secret: str) -> bytes:
    """The HMAC-SHA256 of a message, 32 bytes. Raises ValueError for an empty secret: with it, anybody could sign."""
    if not secret:
        raise ValueError("a secret is empty; state the secret that the platform shows for the app")
    return hmac.digest(secret.encode(), message, hashlib.sha256)


def is_code_of(given: str | None, message: bytes, secrets: Sequence[str], written: Callable[[bytes], str]) -> bool:
    """Whether `given` is the code of the message under one of the secrets, as `written` writes codes.

    Takes the same time whichever secret is right and wherever the first difference is. None or an empty text is no
    code. Raises ValueError where there is no secret, or an empty one.
    """
    if not secrets:
        raise ValueError("no secret to check a signature by; state the secret that the platform shows for the app")
    stated = (given or "").encode(errors="surrogateescape")
    matches = [hmac.compare_digest(stated, written(code_of(message, secret)).encode()) for secret in secrets]
    return any(matches)
