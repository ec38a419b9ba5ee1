"""The identity provider whose JSON Web Tokens are accepted, and what can be wrong with its public keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues the tokens, for whom, and the file with its public keys as a JSON Web Key Set (RFC 7517)."""

    issuer: str
    audience: str
    keys_file: str


class KeysError(Exception):
    """The file of public keys cannot be used. The message says why."""
