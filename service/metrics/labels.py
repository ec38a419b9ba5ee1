"""Values of labels that the metrics know beforehand, so that they start at 0, and the bounds of others."""

from __future__ import annotations

from policies.decisions.unmet_demand import HOLD_CAUSES
from policies.domain.model import WITHHELD_KINDS
from service.metrics.kinds import LabelBound

REROUTE_CAUSES = (
    "count_correction",
    "rejected",
    "reassigned",
    "late_shipment",
    "location_unavailable",
    "exception_resolved",
)
INTERVENTION_REASONS = (
    *("oversell", "unfillable", *WITHHELD_KINDS, "review", "rejected"),
    *("late_shipment", "location_unavailable", "stuck_order", "reassigned", "cancelled_after_shipping"),
    *("paid_after_cancellation", "hold_overdue", "hold_released", "sync_failed"),
)
UNMET_CAUSES = (*HOLD_CAUSES, "availability", "missed_sale", "reported")
"""Why a HOLD did not get units, and how other unmet demand became known."""
REQUEST_ANSWERS = (
    *(("accepted", by) for by in ("rule", "person", "order", "deadline")),
    *(("declined", by) for by in ("person", "order", "deadline")),
    ("withdrawn", "channel"),
)
"""Answers to requests to cancel, and what can give them."""
TEST_RUN_RESULTS = ("passed", "failed", "not_run")
RELOAD_RESULTS = ("accepted", "refused", "unchanged")
NO_CHANNEL = "none"
"""Value of the label `channel` for an exception that concerns no channel."""
UNKNOWN_PLACE = "unknown"
"""Value of the label `located_by` for a destination of which nothing is known."""
OTHER_SOURCES = "other"
"""Value of the label `source` of all sources that have no label of their own."""
SOURCE_LABELS = 200
"""Values of the label `source`; callers may invent any number of sources."""
OBSERVED_PLACES = 5_000
"""Pairs of the labels `source` and `location` of counts that are only compared."""
CAPACITY_LOCATIONS = 500
"""Locations whose capacity today is in gauges: the first by id of those that state one."""
OWNER_LABELS = 200
"""Values of the label `owner`; people may assign exceptions to any number of owners."""
SOURCE_BOUND = LabelBound("source", SOURCE_LABELS)
OBSERVED_BOUND = LabelBound("source", OBSERVED_PLACES, beside=("location",))
OWNER_BOUND = LabelBound("owner", OWNER_LABELS)
ORDER, AVAILABILITY = STOCK_ANSWERS = ("order", "availability")
"""Answers whose stock figures have an age."""
SHIP_BY, DELIVERY_DAY = SHIPMENT_DEADLINES = ("ship_by", "delivery_day")
READINESS_RESULTS = ("pass", "warn", "fail")
IN_TIME, LATE = DEADLINE_RESULTS = ("in_time", "late")
