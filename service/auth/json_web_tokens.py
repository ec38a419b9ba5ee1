"""JSON Web Tokens (RFC 7519) of an identity provider: signature, issuer, audience and times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt

from service.auth.file_content import file_content
from service.auth.issuer import Issuer, KeysError

CLOCK_SKEW_SECONDS = 30
"""By how much the clocks of issuers may differ from ours."""
MOST_KEYS = 100
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Only signatures that nobody can make with what the service knows: no `none`, and no HMAC with a public key."""


class JsonWebTokens:
    """Verifies the tokens of one issuer by its public keys."""

    def __init__(self, issuer: Issuer, keys: Mapping[str, jwt.PyJWK]) -> None:
        self._issuer, self.keys = issuer, keys
        self.lacks_key = False
        """Whether a token named a key that is not known, so that the issuer may have a new one."""

    @classmethod
    def read(cls, issuer: Issuer, folder: Path) -> JsonWebTokens:
        """With the keys of the issuer's file, which is relative to `folder`. Raises KeysError."""
        path = folder / issuer.keys
        try:
            content = file_content(path)
        except OSError as error:
            raise KeysError(f"{path} cannot be read: {error.strerror or error}") from error
        return cls(issuer, keys_in(content, str(path)))

    def subject(self, token: str) -> str | None:
        """The subject of a token that is valid now; None for every other."""
        try:
            key = self._key(jwt.get_unverified_header(token))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
                audience=self._issuer.audience,
                issuer=self._issuer.issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        subject: str = claims["sub"]
        return subject

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK | None:
        """The key that a token's header names; the only one there is if it names none."""
        name = header.get("kid")
        if name is None and len(self.keys) == 1:
            return next(iter(self.keys.values()))
        if not isinstance(name, str):
            return None
        self.lacks_key = self.lacks_key or name not in self.keys
        return self.keys.get(name)


def keys_in(content: bytes, source: str) -> dict[str, jwt.PyJWK]:
    """The keys for signatures in a JSON Web Key Set, by their ids. `source` is for errors. Raises KeysError."""
    try:
        entries = json.loads(content)["keys"]
        if len(entries) > MOST_KEYS:
            raise KeysError(f"{source} has {len(entries):,} keys; {MOST_KEYS} are accepted")
        keys = [jwt.PyJWK(entry) for entry in entries if entry.get("use", "sig") == "sig"]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, jwt.PyJWTError) as error:
        raise KeysError(f"{source} is no JSON Web Key Set of public keys: {error}") from error
    if symmetric := [key for key in keys if key.key_type == "oct"]:
        raise KeysError(f"{source} holds {len(symmetric)} symmetric keys; name the public keys of the issuer")
    return {key.key_id or "": key for key in keys}
