"""Signs and checks seals and anchors with Ed25519: who has the public key can check them, and cannot make them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from service.auth.file_content import file_content


class AuditKeyError(Exception):
    """A key cannot be used. The message says why, and how to make one."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The private key of one service, or of all on a database."""

    key: Ed25519PrivateKey

    @classmethod
    def read(cls, path: Path) -> SigningKey:
        """Raises AuditKeyError."""
        help = f"write one with `openssl genpkey -algorithm ed25519 -out {path}`, readable for the service's user only"
        try:
            key = load_pem_private_key(_content(path), password=None)
        except (TypeError, ValueError) as error:
            raise AuditKeyError(f"the audit key {path} holds no private key without a password; {help}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise AuditKeyError(f"the audit key {path} is no Ed25519 key; {help}")
        return cls(key)

    def sign(self, content: bytes) -> bytes:
        """The signature of content."""
        return self.key.sign(content)


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The public keys of services, past ones too; without any, no signature is checked."""

    keys: Sequence[Ed25519PublicKey] = ()

    @classmethod
    def read(cls, paths: Sequence[Path]) -> PublicKeys:
        """Raises AuditKeyError."""
        return cls([_public_key(path) for path in paths])

    def have_signed(self, content: bytes, signature: bytes) -> bool:
        """Whether the signature is of one of the keys."""
        return any(_is_signed(key, content, signature) for key in self.keys)


def _public_key(path: Path) -> Ed25519PublicKey:
    help = f"write it with `openssl pkey -in audit.key -pubout -out {path}`"
    try:
        key = load_pem_public_key(_content(path))
    except ValueError as error:
        raise AuditKeyError(f"{path} holds no public key in PEM format; {help}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise AuditKeyError(f"{path} is no Ed25519 key; {help}")
    return key


def _content(path: Path) -> bytes:
    try:
        return file_content(path)
    except OSError as error:
        raise AuditKeyError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_signed(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
