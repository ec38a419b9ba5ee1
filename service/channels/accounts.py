"""Accounts: one shop on one platform, and where its secrets are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from service.channels.copies import Copies


class Disposition(StrEnum):
    """The condition in which returned units are taken back."""

    SELLABLE = "sellable"
    INSPECT = "inspect"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is: in an environment variable or in a file."""

    kind: Literal["env", "file"]
    name: str

    def read(self) -> str:
        """The secret without white space around it. Raises SecretMissing."""
        if self.kind == "env":
            text = os.environ.get(self.name, "")
        else:
            try:
                text = Path(self.name).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise SecretMissing(f"{self.name} cannot be read: {reason}") from error
        if not text.strip():
            where = f"the environment variable {self.name}" if self.kind == "env" else self.name
            raise SecretMissing(f"{where} is empty or not set; put the secret there")
        return text.strip()


class SecretMissing(Exception):
    """A secret is not where the accounts file says."""


@dataclass(frozen=True, slots=True)
class Account:
    """One shop on one platform. `secrets` are by the names that the platform gives them."""

    name: str
    platform: str
    channel_id: str
    shop: str
    """The platform's own id of the shop."""
    public_url: str
    """The address that the platform reaches this service by, without a path."""
    secrets: Mapping[str, SecretSource]
    returns_location: str | None = None
    returns_disposition: Disposition = Disposition.INSPECT
    copies: tuple[Copies, ...] = ()
    """Orders of the shop that are copies of orders of other channels."""
    api_url: str | None = None
    """Another address of the platform's API, on this machine: a stand-in for tests."""

    @property
    def webhook_url(self) -> str:
        """The address that the platform sends webhooks to."""
        return f"{self.public_url}/webhooks/{self.name}"

    def secret(self, name: str) -> str:
        """Reads a secret. Raises SecretMissing."""
        if name not in self.secrets:
            raise SecretMissing(f"account {self.name} has no secret '{name}' in the accounts file")
        return self.secrets[name].read()

    def secret_versions(self, name: str) -> list[str]:
        """The current secret, and the previous one while it is being replaced. Raises SecretMissing."""
        previous = f"previous_{name}"
        return [self.secret(name), *([self.secret(previous)] if previous in self.secrets else [])]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What an accounts file says."""

    accounts: tuple[Account, ...]
    token_keys: SecretSource
    """Keys that encrypt tokens, separated by commas: the first one encrypts, all of them decrypt."""
    by_name: Mapping[str, Account] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {account.name: account for account in self.accounts})
