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
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Only signatures that nobody can make with what the service knows: no `none`, and no HMAC with a public key."""


class JsonWebTokens:
    """Verifies the tokens of one issuer by its public keys."""

    def __init__(self, issuer: Issuer, keys: Mapping[str, jwt.PyJWK]) -> None:
        self._issuer, self._keys = issuer, keys

    @classmethod
    def read(cls, issuer: Issuer, folder: Path) -> JsonWebTokens:
        """With the keys of the issuer's file, which is relative to `folder`. Raises KeysError."""
        path = folder / issuer.keys_file
        try:
            entries = json.loads(file_content(path))["keys"]
            keys = [jwt.PyJWK(entry) for entry in entries if entry.get("use", "sig") == "sig"]
        except OSError as error:
            raise KeysError(f"{path} cannot be read: {error.strerror or error}") from error
        except (ValueError, LookupError, TypeError, AttributeError, jwt.PyJWTError) as error:
            raise KeysError(f"{path} is no JSON Web Key Set of public keys: {error}") from error
        if symmetric := [key for key in keys if key.key_type == "oct"]:
            raise KeysError(f"{path} holds {len(symmetric)} symmetric keys; name the public keys of the issuer")
        return cls(issuer, {key.key_id or "": key for key in keys})

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
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name) if isinstance(name, str) else None
