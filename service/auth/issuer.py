"""The identity provider whose JSON Web Tokens are accepted, and what can be wrong with its public keys."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from service.settings import Address


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who issues the tokens, for whom, and where its public keys are as a JSON Web Key Set (RFC 7517).

    `keys` is the path of a file, or the URL of the one host that they are fetched from.
    """

    issuer: str
    audience: str
    keys: str

    @property
    def has_host(self) -> bool:
        """Whether the keys are fetched from a host."""
        return "://" in self.keys


def is_safe_url(url: str) -> bool:
    """Whether keys may be fetched from a URL: with HTTPS, or with HTTP from this machine, and without a password."""
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and Address(parts.hostname or "", 0).is_loopback
        return bool(
            (parts.scheme == "https" or plain)
            and parts.hostname
            and parts.port != 0
            and "@" not in parts.netloc
            and not parts.fragment
            and url.isascii()
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return False


class KeysError(Exception):
    """The public keys cannot be used. The message says why."""
