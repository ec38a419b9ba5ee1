"""Where a change comes from: the principal, address and method of the call that is being answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from service.auth import principals
from service.auth.authentication import HEADER, SCHEME
from service.auth.principals import LOCAL, Principal
from service.auth.tokens import PREFIX
from service.observability.calls import current_call

TOKEN, JSON_WEB_TOKEN, CERTIFICATE, NONE, SERVICE = "token", "json_web_token", "certificate", "none", "service"
"""How a caller showed who it is. A service itself changes something when it loads rules, for example."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who called what from where. `actor` is the person that a principal named, if it did."""

    principal: str
    credential: str
    actor: str | None = None
    peer: str | None = None
    rpc: str | None = None
    request_id: str | None = None


OF_SERVICE = Origin("truestock", SERVICE)
"""Of a change that no call made."""


def current_principal() -> str | None:
    """Whose call is being answered; None in background work and in work for several calls."""
    call = current_call.get()
    return None if call is None or call.rpc is None else principals.current.get().name


def current_origin() -> Origin:
    """The origin of what the running code does."""
    call = current_call.get()
    if call is None or call.rpc is None:
        return OF_SERVICE
    method, request, context = call.rpc
    principal = principals.current.get()
    actor = getattr(request, "actor", "")
    return Origin(
        principal.name,
        _credential(principal, context),
        actor if actor and actor != principal.name else None,
        peer_address(context.peer()),
        method.rpartition("/")[2],
        getattr(request, "request_id", "") or None,
    )


def peer_address(peer: str) -> str:
    """The address and port of what gRPC calls a peer, such as `ipv4:127.0.0.1:40422` or `ipv6:%5B::1%5D:40422`."""
    kind, _, address = peer.partition(":")
    return unquote(address) if kind in ("ipv4", "ipv6") else peer


def _credential(principal: Principal, context: Any) -> str:
    if principal is LOCAL:
        return NONE
    for key, value in context.invocation_metadata() or ():
        if key == HEADER:
            return TOKEN if value[len(SCHEME) :].strip().startswith(PREFIX) else JSON_WEB_TOKEN
    return CERTIFICATE
