"""Which role a caller needs for a method: what its .proto file says."""

from __future__ import annotations

from functools import cache

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from service.auth.principals import Role
from truestock.v1 import access_pb2

HEALTH = "/grpc.health."
"""Whether a service runs is told to everybody: balancers and orchestrators have no token."""
OWN_SERVICES = "/truestock."


@cache
def required_role(path: str) -> Role | None:
    """The role for the method of a path such as `/truestock.v1.StockService/TransferStock`; None if it needs none.

    A method of ours that states no role needs `admin`; those of others, which describe the API, need `read`.
    """
    if path.startswith(HEALTH):
        return None
    if not path.startswith(OWN_SERVICES):
        return Role.READ
    service, _, method = path.removeprefix("/").partition("/")
    found: MethodDescriptor = descriptor_pool.Default().FindServiceByName(service).methods_by_name[method]
    name = access_pb2.Role.Name(found.GetOptions().Extensions[access_pb2.required_role])
    return Role.ADMIN if name == "ROLE_UNSPECIFIED" else Role(name.removeprefix("ROLE_").lower())
