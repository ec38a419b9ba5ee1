"""The metrics that Prometheus scrapes.

Each ratio has its numerator and denominator as separate counters. Counters with known label values start at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import product
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from policies.decisions.cancellations import FAULTS, UNKNOWN
from policies.decisions.unmet_demand import HOLD_CAUSES
from policies.domain.model import EXCEPTION_KINDS, LOCATED_BY, WITHHELD_KINDS, Outcome
from policies.domain.resolutions import ALLOWED
from policies.stock.counting import ChangeResult
from policies.stock.oversell import CAUSES

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
SOURCE_LABELS = 1_000
"""Values of the label `source`; callers may invent any number of sources."""
_KIND_AND_CHANNEL = ("kind", "channel")
SHIP_BY, DELIVERY_DAY = SHIPMENT_DEADLINES = ("ship_by", "delivery_day")
IN_TIME, LATE = DEADLINE_RESULTS = ("in_time", "late")
LONG_SECONDS = (900, 3_600, 14_400, 43_200, 86_400, 172_800, 432_000)
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# Every counter would have a second series with the time of its creation, which nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

_Metric = TypeVar("_Metric", Counter, Histogram)


def _with_kept_children(metric: _Metric) -> _Metric:
    """A metric, of which no child is ever removed, that finds its children at once.

    The client library checks the labels and takes a lock each time, which costs three times what counting does.
    """
    metric.labels = cache(metric.labels)  # type: ignore[method-assign]
    return metric


class Metrics:
    """All metrics of one service, in the given registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._sources: set[str] = set()
        self._is_database_reported = True
        self._orders(registry)
        self._service(registry)
        self._exceptions(registry)
        self._shipments(registry)
        self._decisions(registry)

    def _orders(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return _with_kept_children(Counter(f"truestock_{name}", text, labels, registry=registry))

        self.sold_units = counter("sold_units", "Units of SOLD orders, before cancellations.", "channel")
        self.sold_orders = counter("sold_orders", "SOLD orders, confirmed holds included.", "channel")
        self.allocated_units = counter("allocated_units", "Units of SOLD orders allocated.", "channel", "location")
        self.oversold_units = counter(
            "oversold_units", "Units of SOLD orders that were not in stock.", "channel", "cause"
        )
        self.oversold_orders = counter(
            "oversold_orders", "SOLD orders with units that were not in stock.", "channel", "cause"
        )
        self.withheld_units = counter(
            "withheld_units",
            "Units of SOLD orders in stock that a buffer or a block kept from them.",
            "channel",
            "cause",
        )
        self.unmet_demand_units = counter(
            "unmet_demand_units",
            "Units that shoppers wanted and did not get, of orders that are not sold; channel is none if unknown.",
            "channel",
            "cause",
        )
        self.unfillable_units = counter(
            "unfillable_units", "Units of SOLD orders in stock that limits on splitting left out.", "channel"
        )
        self.buffer_saved_units = counter(
            "buffer_saved_units", "Units of SOLD orders that only a buffer had kept in stock.", "channel"
        )
        self.rerouted_units = counter(
            "rerouted_units", "Units of SOLD orders rerouted to other locations.", "channel", "cause"
        )
        self.split_orders = counter("split_orders", "SOLD orders split into more than one shipment.", "channel")
        self.manual_interventions = counter(
            "manual_interventions", "Orders that needed manual intervention, each once.", "channel", "reason"
        )
        self.allocations = counter(
            "allocations",
            "Orders answered and holds confirmed, by outcome; retries by request_id excluded.",
            "channel",
            "outcome",
        )
        self.cancelled_units = counter("cancelled_units", "Units of SOLD orders cancelled.", "channel", "fault")
        self.cancelled_orders = counter(
            "cancelled_orders",
            "SOLD orders with cancelled units, each once, by the fault of the first.",
            "channel",
            "fault",
        )
        self.cancellation_requests = counter(
            "cancellation_requests",
            "Answers to shoppers' requests to cancel, by what answered.",
            "channel",
            "answer",
            "by",
        )
        self.located_destinations = counter(
            "located_destinations",
            "Look-ups of destinations without coordinates, by what their coordinates are the middle of, or unknown.",
            "located_by",
        )
        for located_by in (*LOCATED_BY, UNKNOWN_PLACE):
            self.located_destinations.labels(located_by)
        self.expired_holds = counter("expired_holds", "Holds expired.", "channel")
        self.backordered_units = Gauge("truestock_backordered_units", "Units on backorder.", registry=registry)
        self.stock_changes = counter("stock_changes", "Counts and movements processed, by result.", "result")
        self.dropped_stock_changes = counter(
            "dropped_stock_changes",
            "Stock changes dropped from a full quarantine; source is other where it had no room for a new source.",
            "source",
        )
        self.inventory_mismatches = counter(
            "inventory_mismatches",
            "Counts that were only compared and differed from on hand by more than the tolerance.",
            "location",
        )
        self.inventory_mismatch_units = counter(
            "inventory_mismatch_units", "Units by which these counts differed from on hand, without sign.", "location"
        )
        self.inventory_comparisons = counter(
            "inventory_comparisons",
            "Counts that were only compared with on hand, those that differed included.",
            "location",
        )
        self.channel_mismatches = counter(
            "channel_mismatches", "New figures of a channel that differed from what was published to it.", "channel"
        )
        self.channel_mismatch_units = counter(
            "channel_mismatch_units", "Units or items by which these figures differed, without sign.", "channel"
        )
        self.dropped_stock_changes.labels(OTHER_SOURCES)
        for result in ChangeResult:
            self.stock_changes.labels(result.value)

    def _service(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return _with_kept_children(Histogram(f"truestock_{name}", text, labels, buckets=buckets, registry=registry))

        self.rpc_seconds = histogram(
            "rpc_duration_seconds", "Duration of gRPC calls; of a stream, until it ends.", "method", "code"
        )
        self.database_seconds = histogram(
            "database_seconds", "Time that an operation used a database connection.", "operation"
        )
        self.event_loop_delay = histogram(
            "event_loop_delay_seconds", "How much later than due a timer of the service ran, ten times a second."
        )
        self.batch_orders = histogram(
            "allocator_batch_orders", "Orders allocated in one transaction.", buckets=BATCH_SIZES
        )
        self.read_calls = histogram(
            "availability_batch_calls", "CheckAvailability calls answered from one stock read.", buckets=BATCH_SIZES
        )
        self.database_retries = Counter(
            "truestock_database_retries", "Database transactions retried.", ["operation"], registry=registry
        )
        self.queued_orders = Gauge(
            "truestock_allocator_queued_orders", "Orders queued or being allocated.", registry=registry
        )
        self.shed_orders = Counter(
            "truestock_allocator_shed_orders",
            "Orders rejected because the queue was full or their deadline too near.",
            registry=registry,
        )
        self.shed_calls = Counter(
            "truestock_shed_calls",
            "Calls that only read or bring new orders, refused because the service had more than it could answer.",
            ["method"],
            registry=registry,
        )
        self.policy_reloads = Counter(
            "truestock_policy_reloads", "Loads of the rules folder, by result.", ["result"], registry=registry
        )
        self.policy_info = Gauge(
            "truestock_policy_info",
            "Always 1; the label names the revision of the rules in force.",
            ["revision"],
            registry=registry,
        )
        self.policy_problems = Gauge(
            "truestock_policy_problems",
            "Problems in the rules folder if it was refused; 0 if it was accepted.",
            registry=registry,
        )
        self.policy_failed_tests = Gauge(
            "truestock_policy_failed_tests",
            "Failing tests beside the rules in force, as of their last run.",
            registry=registry,
        )
        self.policy_untested_rules = Gauge(
            "truestock_policy_untested_rules", "Rules in force that no test makes fire.", registry=registry
        )
        self.policy_test_runs = Counter(
            "truestock_policy_test_runs",
            "Runs of the tests beside the rules in force, by result.",
            ["result"],
            registry=registry,
        )
        self.policy_warnings = Gauge(
            "truestock_policy_warnings",
            "Values that the rules in force name and the catalog does not have.",
            registry=registry,
        )
        self.ledger_differences = Gauge(
            "truestock_ledger_differences", "Differences that the last ledger check found.", registry=registry
        )
        self.ledger_verified = Gauge(
            "truestock_ledger_verified_timestamp_seconds",
            "Unix time of the last ledger check by this service; 0 if none yet.",
            registry=registry,
        )
        for result in TEST_RUN_RESULTS:
            self.policy_test_runs.labels(result)
        for result in RELOAD_RESULTS:
            self.policy_reloads.labels(result)
        self._watches(registry)

    def _watches(self, registry: CollectorRegistry) -> None:
        self.availability_watchers = Gauge(
            "truestock_availability_watchers", "Open WatchAvailability calls.", registry=registry
        )
        self.order_watchers = Gauge("truestock_order_watchers", "Open WatchOrders calls.", registry=registry)
        self.availability_changes_published = Counter(
            "truestock_availability_changes_published",
            "Availability changes published by WatchAvailability.",
            ["channel"],
            registry=registry,
        )
        self.availability_delay = Histogram(
            "truestock_availability_delay_seconds",
            "Time from receiving a stock change to publishing the availability after it.",
            buckets=SECONDS,
            registry=registry,
        )
        self.availability_refresh = Gauge(
            "truestock_availability_refresh_seconds",
            "Duration of the last full refresh of watched availability; above 15 s, changes by time are late.",
            registry=registry,
        )

    def _decisions(self, registry: CollectorRegistry) -> None:
        self.decisions_stored_bytes = Counter(
            "truestock_decisions_stored_bytes", "Bytes of decisions stored, with their inputs.", registry=registry
        )
        self.decisions_purged = Counter(
            "truestock_decisions_purged",
            "Decisions purged after retention, in full or their inputs only.",
            registry=registry,
        )

    def _exceptions(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return _with_kept_children(Counter(f"truestock_{name}", text, labels, registry=registry))

        self.exceptions = counter(
            "exceptions", "Exceptions raised; channel is none if no channel is concerned.", *_KIND_AND_CHANNEL
        )
        self.exceptions_resolved = counter("exceptions_resolved", "Exceptions resolved.", "kind", "resolution")
        self.exceptions_escalated = counter(
            "exceptions_escalated", "Exceptions escalated when overdue, by new owner.", "owner"
        )
        self.exceptions_open = Gauge(
            "truestock_exceptions_open", "Exceptions open.", ["kind", "owner"], registry=registry
        )
        for kind, allowed in ALLOWED.items():
            self.exceptions.labels(kind, NO_CHANNEL)
            for resolution in allowed:
                self.exceptions_resolved.labels(kind, resolution)

    def _shipments(self, registry: CollectorRegistry) -> None:
        def due(name: str, place: str) -> Counter:
            text = "Shipments whose time to ship or arrive was kept or has passed, each once, by whether it was kept."
            labels = [place, "deadline", "result"]
            return _with_kept_children(Counter(f"truestock_{name}", text, labels, registry=registry))

        self.shipments_due = due("shipments_due", "location")
        self.channel_shipments_due = due("channel_shipments_due", "channel")
        self.shipment_accept_seconds, self.shipment_ship_seconds = (
            _with_kept_children(Histogram(name, text, ["location"], buckets=LONG_SECONDS, registry=registry))
            for name, text in (
                ("truestock_shipment_accept_seconds", "Time from assigning shipments until they were accepted."),
                ("truestock_shipment_ship_seconds", "Time from assigning shipments until shipped or ready."),
            )
        )

    def start_channels(self, channel_ids: Iterable[str], location_ids: Iterable[str] = ()) -> None:
        """Starts the counters of these channels and locations at 0, so that Prometheus sees their first increase."""
        locations = list(location_ids)
        self.start_locations(locations)
        for channel in channel_ids:
            for counter in (
                self.sold_units,
                self.sold_orders,
                self.unfillable_units,
                self.buffer_saved_units,
                self.split_orders,
                self.expired_holds,
                self.channel_mismatches,
                self.channel_mismatch_units,
                self.availability_changes_published,
            ):
                counter.labels(channel)
            for by_value, values in (
                (self.cancelled_units, (*FAULTS, UNKNOWN)),
                (self.cancelled_orders, (*FAULTS, UNKNOWN)),
                (self.oversold_units, CAUSES),
                (self.oversold_orders, CAUSES),
                (self.withheld_units, WITHHELD_KINDS),
                (self.unmet_demand_units, UNMET_CAUSES),
                (self.rerouted_units, REROUTE_CAUSES),
                (self.manual_interventions, INTERVENTION_REASONS),
                (self.allocations, [outcome.value for outcome in Outcome]),
            ):
                for value in values:
                    by_value.labels(channel, value)
            for deadline, result in product(SHIPMENT_DEADLINES, DEADLINE_RESULTS):
                self.channel_shipments_due.labels(channel, deadline, result)
            for answer, by in REQUEST_ANSWERS:
                self.cancellation_requests.labels(channel, answer, by)
            for location in locations:
                self.allocated_units.labels(channel, location)
            for kind in EXCEPTION_KINDS:
                self.exceptions.labels(kind, channel)

    def start_locations(self, location_ids: Iterable[str]) -> None:
        """Starts the counters that have only the label `location` at 0."""
        for location in location_ids:
            self.inventory_mismatches.labels(location)
            self.inventory_mismatch_units.labels(location)
            self.inventory_comparisons.labels(location)
            self.shipment_accept_seconds.labels(location)
            self.shipment_ship_seconds.labels(location)
            for deadline, result in product(SHIPMENT_DEADLINES, DEADLINE_RESULTS):
                self.shipments_due.labels(location, deadline, result)

    def report_database(self, *, is_reported: bool) -> None:
        """Adds the gauges of the database's figures to the registry, or removes them.

        All services on a database have the same figures, so only one of them may report them.
        """
        if is_reported is self._is_database_reported:
            return
        self._is_database_reported = is_reported
        for gauge in (self.exceptions_open, self.backordered_units, self.ledger_differences, self.ledger_verified):
            if is_reported:
                self.registry.register(gauge)
            else:
                self.registry.unregister(gauge)

    def count_dropped_changes(self, source: str, count: int) -> None:
        """Counts changes that a full quarantine dropped; sources beyond SOURCE_LABELS are counted as one."""
        if source not in self._sources and len(self._sources) >= SOURCE_LABELS:
            source = OTHER_SOURCES
        self._sources.add(source)
        self.dropped_stock_changes.labels(source).inc(count)

    def policy_in_force(self, revision: str) -> None:
        """Sets the revision of the rules in force."""
        self.policy_info.clear()
        self.policy_info.labels(revision).set(1)
