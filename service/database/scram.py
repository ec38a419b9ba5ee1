"""Verifiers of passwords, as PostgreSQL stores them: a password itself is then never in a statement or a log."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64encode

SALT_BYTES = 16
ITERATIONS = 4_096
"""PostgreSQL's own default, `scram_iterations`."""


def verifier(password: str, iterations: int = ITERATIONS) -> str:
    """What PostgreSQL keeps of a password, which must be of printable ASCII.

    Raises ValueError otherwise: other characters would have to be normalized first.
    Source: RFC 5802, and the form `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` of pg_authid.rolpassword.
    """
    if not password or not (password.isascii() and password.isprintable()):
        raise ValueError("a password must be of printable ASCII characters")
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(_keyed(salted, b"Client Key")).digest()
    server_key = _keyed(salted, b"Server Key")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored_key)}:{_text(server_key)}"


def _keyed(key: bytes, text: bytes) -> bytes:
    return hmac.digest(key, text, "sha256")


def _text(value: bytes) -> str:
    return b64encode(value).decode()
