"""Which methods have a queue of their own for calls that have arrived and are not taken yet; the others share one.

A server of grpcio takes one call of each queue at a time, and looks at every queue when it takes one (grpcio 1.85):
queues for all methods of the API took a tenth of the CPU time of a small call. A method in a queue of its own does not
wait behind others, so those that callers send in floods have one, and so has what must be answered meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grpc_health.v1 import health

OWN_QUEUES: Mapping[str, frozenset[str]] = {
    "truestock.v1.AllocationService": frozenset(
        {"AllocateOrder", "BatchAllocateOrders", "ConfirmAllocation", "CancelOrderLines"}
    ),
    "truestock.v1.AvailabilityService": frozenset({"CheckAvailability"}),
    "truestock.v1.StockService": frozenset({"RecordStockChanges"}),
    health.SERVICE_NAME: frozenset({"Check"}),
}
"""Methods by service."""


def with_own_queue(service_name: str, handlers: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the handlers of a service whose calls wait in queues of their own."""
    own = OWN_QUEUES.get(service_name, frozenset())
    return {name: handler for name, handler in handlers.items() if name in own}
