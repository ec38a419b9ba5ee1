"""Who calls, and what they may not."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import grpc

from service.errors.missing_records import NAMES_SHOWN
from service.errors.truestock_error import TruestockError


class Unauthenticated(TruestockError):
    """The call carries no token, and its connection no certificate, that the access file knows; nothing was done.

    It does not say which: whoever tries tokens learns nothing of known ones.
    """

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__(
            "this service wants to know who calls, and the call has no token or certificate that is valid now: send "
            "`authorization: Bearer TOKEN`, or use the certificate of a principal; `truestock access add` makes tokens"
        )


class MissingRole(TruestockError):
    """The principal may not call the method; nothing was done."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, principal: str, method: str, role: str, roles: Iterable[str]) -> None:
        """`role` is what the method needs, `roles` what the principal has."""
        super().__init__(
            f"{principal} may not call {method}: that needs the role '{role}', and it has "
            f"{', '.join(sorted(roles)) or 'none'}; whoever keeps the access file can add it",
            metadata={"principal": principal, "method": method, "role": role},
        )


class NotBound(TruestockError):
    """A principal asks for what is not of the channels or locations that it is bound to; nothing was done.

    The error is the same whether what it asks for exists or not.
    """

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"

    def __init__(self, principal: str, noun: str, bound: Iterable[str], asked: str) -> None:
        """`noun` is channel or location, `bound` the ids that the principal has, `asked` what it asked for."""
        own = sorted(bound)
        more = f" and {len(own) - NAMES_SHOWN} more" if len(own) > NAMES_SHOWN else ""
        super().__init__(
            f"{principal} may not ask for {asked}: it is bound to the {noun}{'s' if len(own) > 1 else ''} "
            f"{', '.join(own[:NAMES_SHOWN])}{more}; name one of these, or let whoever keeps the access file widen it",
            metadata={"principal": principal, "bound_to": noun},
        )


class TooManyCalls(TruestockError):
    """The principal makes more calls than its access allows; nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"

    def __init__(self, principal: str, limit: str, retry_after: timedelta) -> None:
        """`limit` is what it may, such as "200 calls a second"."""
        super().__init__(
            f"{principal} may make {limit}, and these are used up; retry in a moment, or let whoever keeps the access "
            "file raise the limit",
            metadata={"principal": principal, "limit": limit},
            retry_after=retry_after,
        )
