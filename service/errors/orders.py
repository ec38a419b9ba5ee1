"""Steps that the state of an order, a shipment, a transfer or an exception forbids."""

from __future__ import annotations

from collections.abc import Mapping

import grpc

from policies.explanation import unit_count_text
from service.errors.error_details import Violation
from service.errors.truestock_error import TruestockError


class WrongState(TruestockError):
    """The state of an allocation, shipment, exception or transfer does not allow this step."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, kind: str, id: str, state: str, requested_state: str, advice: str) -> None:
        """`kind` names the type of record, such as 'allocation'."""
        super().__init__(
            f"{kind} {id} is {state}, so it cannot become {requested_state}; {advice}",
            metadata={f"{kind}_id": id, "state": state, "requested_state": requested_state},
        )


class OrderOnHold(WrongState):
    """The order is on hold, so its locations may not work on it."""

    def __init__(self, shipment_id: str, requested_state: str, hold: str) -> None:
        """`hold` says until when and why: "on hold until 2026-11-27 10:30 UTC because of: remorse period"."""
        TruestockError.__init__(
            self,
            f"shipment {shipment_id} cannot become {requested_state}: the order is {hold}; once it may be worked on, "
            "release it with ReleaseOrderHold or `truestock release-hold`",
            metadata={"shipment_id": shipment_id, "state": "on_hold", "requested_state": requested_state},
        )


class TooManyRequests(TruestockError):
    """An order that has as many requests to cancel as it can have; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_CANCELLATION_REQUESTS"

    def __init__(self, channel_id: str, order_id: str, limit: int) -> None:
        super().__init__(
            f"order {channel_id}/{order_id} has {limit} requests to cancel already, so this one was not recorded; "
            "answer the shopper yourself: cancel the units with CancelOrderLines, or let the order go on",
            metadata={"channel_id": channel_id, "order_id": order_id, "limit": str(limit)},
        )


class CannotReassign(TruestockError):
    """A shipment that cannot move to another location; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, shipment_id: str, location_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"shipment {shipment_id} stays at {location_id}: {problem}; {advice}",
            metadata={"shipment_id": shipment_id, "state": state, "requested_state": "reassigned"},
        )


class CannotUndo(TruestockError):
    """A shipment of which the shipping cannot be taken back any more; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, shipment_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"the shipping of shipment {shipment_id} cannot be undone: {problem}" + (f"; {advice}" if advice else ""),
            metadata={"shipment_id": shipment_id, "state": state, "requested_state": "accepted"},
        )


class CannotResolve(TruestockError):
    """The exception is resolved already, or its order does not allow this resolution; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, exception_id: str, state: str, problem: str, advice: str) -> None:
        super().__init__(
            f"exception {exception_id} {problem}; {advice}", metadata={"exception_id": exception_id, "state": state}
        )


class TooManyUnits(TruestockError):
    """More units than remain of an order line; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(
        self,
        line_id: str,
        unit_count: int,
        remaining_count: int,
        done: str,
        shipped_count: int = 0,
        *,
        counted: str = "remaining",
    ) -> None:
        """`done` is the step that was refused, such as 'cancelled'; `shipped_count` units are out of its reach.

        `counted` says which units of the line there are `remaining_count` of.
        """
        advice = "so correct the count"
        if shipped_count:
            advice += f": {unit_count_text(shipped_count)} shipped already; stop the parcel, or record the return"
        super().__init__(
            f"line {line_id} has {unit_count_text(remaining_count)} {counted}, so {unit_count} cannot be {done}; "
            f"nothing was changed, {advice}",
            metadata={"line_id": line_id, "unit_count": str(unit_count), "remaining_count": str(remaining_count)},
        )


class InsufficientStock(TruestockError):
    """More units than are available at a location; nothing was changed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "TOO_MANY_UNITS"

    def __init__(self, location_id: str, shortfalls: Mapping[str, tuple[str, int, int]]) -> None:
        """`shortfalls` maps each field that requests too many units to its SKU, the units requested and available."""
        shown = [
            f"{unit_count_text(available)} of '{sku}' available, {requested} requested"
            for sku, requested, available in list(shortfalls.values())[:3]
        ]
        hidden_count = len(shortfalls) - len(shown)
        more = f"; and {hidden_count} more {'product' if hidden_count == 1 else 'products'}" if hidden_count else ""
        super().__init__(
            f"location '{location_id}' has {'; '.join(shown)}{more}; nothing was changed: transfer only units that are "
            "not held or allocated for orders",
            metadata={"location_id": location_id},
            violations=[
                Violation(field, f"requests {unit_count_text(requested)}; {available} available")
                for field, (_, requested, available) in list(shortfalls.items())[:100]
            ],
        )


class NotReplayable(TruestockError):
    """Only a summary of the decision is stored, so it cannot be replayed."""

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "WRONG_STATE"

    def __init__(self, decision_id: str, cause: str) -> None:
        super().__init__(
            f"decision {decision_id} cannot be replayed: {cause}; GetDecision returns what is stored of it",
            metadata={"decision_id": decision_id, "state": "summary_only", "requested_state": "replayed"},
        )
