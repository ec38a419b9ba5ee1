"""Who makes a call: found by its token or certificate, held against the role that the method needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message

from service.auth import principals
from service.auth.authentication import Authentication
from service.auth.principals import LOCAL, Principal
from service.auth.usage import Usage
from service.errors import MissingRole
from service.rpc.bindings import FindPlaces, hold_to
from service.rpc.method_roles import required_role

_BY_CERTIFICATE = Principal("", frozenset())
"""Stands for the owner of a connection's certificate, which only the handler of a call can see."""


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """Who calls, and how to find the channel and locations of the records that requests point to."""

    authentication: Authentication
    find_places: FindPlaces
    usage: Usage = field(default_factory=Usage)

    def admit(self, path: str, metadata: Iterable[tuple[str, str | bytes]] | None) -> None:
        """Sets the principal of a call before its request is read. Raises Unauthenticated or MissingRole."""
        if required_role(path) is None:
            return
        principal = self.authentication.by_metadata(metadata)
        if principal is None:
            principals.current.set(_BY_CERTIFICATE)
            return
        _check_role(principal, path)
        principals.current.set(principal)

    def identify(self, path: str, context: Any) -> Principal:
        """The principal of the call that is handled. Raises Unauthenticated or MissingRole."""
        principal = principals.current.get()
        if principal is _BY_CERTIFICATE:
            principal = self.authentication.by_certificate(context.auth_context())
            _check_role(principal, path)
            principals.current.set(principal)
        return principal

    async def check(self, principal: Principal, path: str, request: Message) -> None:
        """Names who acts in the request, and holds it to what the principal is bound to. Raises NotBound."""
        _state_actor(request, principal)
        if principal.is_bound:
            await hold_to(principal, path.rpartition("/")[2], request, self.find_places)


def _state_actor(request: Message, principal: Principal) -> None:
    """Makes `actor` of a request who calls, instead of whatever it states.

    A principal that calls on behalf of others may name the person: `anna via store-tablet`.
    """
    if principal is LOCAL or "actor" not in request.DESCRIPTOR.fields_by_name:
        return
    stated: str = getattr(request, "actor", "")
    name = f"{stated} via {principal.name}" if principal.on_behalf_of and stated else principal.name
    setattr(request, "actor", name)  # noqa: B010 - not every message has the field


def _check_role(principal: Principal, path: str) -> None:
    role = required_role(path)
    if role is not None and not principal.may(role):
        raise MissingRole(principal.name, path.rpartition("/")[2], role, principal.roles)
