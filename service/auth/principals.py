"""Who calls, and what it may do."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a principal may do, as access files name it; `truestock.v1.Role` says what each covers."""

    READ = "read"
    ALLOCATE = "allocate"
    FULFIL = "fulfil"
    STOCK = "stock"
    CATALOG = "catalog"
    EXCEPTIONS = "exceptions"
    POLICY = "policy"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """A program or a person that calls, with its roles.

    With `on_behalf_of` it may name the person for whom it calls, in the field `actor` of requests. It sees and changes
    only what concerns its channels and its locations; None means all of them.
    """

    name: str
    roles: frozenset[Role]
    on_behalf_of: bool = False
    channel_ids: frozenset[str] | None = None
    location_ids: frozenset[str] | None = None
    calls_per_second: int | None = None
    """Calls that a service answers it in a second; None without a limit."""
    calls_in_progress: int | None = None
    """Calls of it, watches included, that a service answers at a time; None without a limit."""

    @property
    def is_bound(self) -> bool:
        """Whether it is bound to channels or locations."""
        return self.channel_ids is not None or self.location_ids is not None

    @property
    def has_limits(self) -> bool:
        """Whether its calls are counted."""
        return self.calls_per_second is not None or self.calls_in_progress is not None

    def may(self, role: Role) -> bool:
        """Whether it may call methods that need the role."""
        return role in self.roles or Role.ADMIN in self.roles


LOCAL = Principal("local", frozenset({Role.ADMIN}), on_behalf_of=True)
"""Who calls a service without an access file: whoever is on its machine."""

current: ContextVar[Principal] = ContextVar("principal", default=LOCAL)
"""The principal of the call that is being answered."""
