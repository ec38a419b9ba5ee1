"""The ways to resolve an exception, and which of them each kind of exception allows."""

from __future__ import annotations

from collections.abc import Mapping

REROUTED = "rerouted"
BACKORDERED = "backordered"
CANCELLED = "cancelled"
APPROVED = "approved"
STOCK_CORRECTED = "stock_corrected"
TRANSFERRED = "transferred"
MAPPED = "mapped"
COMPLETED = "completed"
NO_ACTION = "no_action"
OTHER = "other"

RESOLUTIONS = (
    *(REROUTED, BACKORDERED, CANCELLED, APPROVED, STOCK_CORRECTED, TRANSFERRED, MAPPED, COMPLETED, NO_ACTION, OTHER),
)

_FOR_SHORTAGES = (REROUTED, BACKORDERED, CANCELLED, TRANSFERRED, STOCK_CORRECTED, OTHER)
_FOR_UNMAPPED = (MAPPED, NO_ACTION, OTHER)

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "oversell": _FOR_SHORTAGES,
    "unfillable": _FOR_SHORTAGES,
    "held_by_buffer": _FOR_SHORTAGES,
    "blocked_by_rule": _FOR_SHORTAGES,
    "rejected": (REROUTED, BACKORDERED, CANCELLED, TRANSFERRED, STOCK_CORRECTED, NO_ACTION, OTHER),
    "review": (APPROVED, CANCELLED, OTHER),
    "unmapped_product": _FOR_UNMAPPED,
    "unmapped_location": _FOR_UNMAPPED,
    "mismatch": (STOCK_CORRECTED, NO_ACTION, OTHER),
    "stale_feed": (COMPLETED, MAPPED, NO_ACTION, OTHER),
    "late_shipment": (COMPLETED, REROUTED, CANCELLED, NO_ACTION, OTHER),
    "location_unavailable": (REROUTED, CANCELLED, COMPLETED, NO_ACTION, OTHER),
    "stuck_order": (COMPLETED, REROUTED, BACKORDERED, CANCELLED, APPROVED, NO_ACTION, OTHER),
    "sync_failed": (COMPLETED, MAPPED, NO_ACTION, OTHER),
    "cancelled_after_shipping": (COMPLETED, NO_ACTION, OTHER),
    "paid_after_cancellation": (COMPLETED, NO_ACTION, OTHER),
    "hold_overdue": (COMPLETED, CANCELLED, NO_ACTION, OTHER),
}
"""The resolutions that each kind of exception allows, in the order in which they are offered to a person."""


def is_allowed(kind: str, resolution: str) -> bool:
    """Whether an exception of this kind may be resolved this way."""
    return resolution in ALLOWED[kind]
