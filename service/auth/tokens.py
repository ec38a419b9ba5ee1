"""Static tokens: random, shown once to whoever makes one, and kept as a digest only."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import sha256

from service.auth.principals import Principal

PREFIX = "tst_"
"""How tokens begin, so that programs which look for leaked secrets find them."""
RANDOM_BYTES = 32
"""A token's random part. Guessing 256 bits is hopeless, so one round of SHA-256 is a safe digest of it."""
_NOBODY = bytes(32)
"""What a token is compared with whose digest begins like no known one."""


@dataclass(frozen=True, slots=True)
class Token:
    """The digest of a principal's token, and the last day on which it may be used (UTC); None without an end."""

    sha256: bytes
    principal: Principal
    expires: date | None = None


class Tokens:
    """The tokens of all principals."""

    def __init__(self, tokens: Iterable[Token] = ()) -> None:
        self._by_beginning = {token.sha256[:8]: token for token in tokens}

    def all(self) -> list[Token]:
        """Each token."""
        return list(self._by_beginning.values())

    def principal(self, token: str) -> Principal | None:
        """Whose token it is; None if it is nobody's or has expired.

        Known and unknown tokens take the same path, so that the time of a refusal tells nothing of known ones.
        """
        digest = digest_of(token)
        found = self._by_beginning.get(digest[:8])
        is_same = hmac.compare_digest(digest, found.sha256 if found else _NOBODY)
        if found is None or not is_same:
            return None
        return found.principal if found.expires is None or datetime.now(UTC).date() <= found.expires else None


def new_token() -> str:
    """A new random token."""
    return PREFIX + secrets.token_urlsafe(RANDOM_BYTES)


def digest_of(token: str) -> bytes:
    """The SHA-256 digest of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
