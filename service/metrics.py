"""What Prometheus scrapes. Numerators and denominators are separate counters; known label values start at 0."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from policies.domain.model import EXCEPTION_KINDS, Outcome
from policies.domain.resolutions import ALLOWED
from policies.stock.counting import ChangeResult

OVERSELL_CAUSES = ("race", "stale_feed", "over_published", "count_correction", "rejected", "unmapped")
REROUTE_CAUSES = ("count_correction", "rejected", "reassigned", "late_shipment", "exception_resolved")
INTERVENTION_REASONS = ("oversell", "unfillable", "review", "rejected", "late_shipment", "stuck_order", "reassigned")
RELOAD_RESULTS = ("accepted", "refused", "unchanged")
NO_CHANNEL = "none"
"""The channel of what is about no channel."""
_OF_CHANNEL = ("kind", "channel")
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """All metrics of one service, in the registry that it is given."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._orders(registry)
        self._service(registry)
        self._exceptions(registry)
        self._decisions(registry)

    def _orders(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"truestock_{name}", text, labels, registry=registry)

        self.sold_units = counter("sold_units", "Units of SOLD orders.", "channel")
        self.sold_orders = counter("sold_orders", "SOLD orders.", "channel")
        self.allocated_units = counter("allocated_units", "Units promised to SOLD orders.", "channel", "location")
        self.oversold_units = counter("oversold_units", "Units sold that are not there.", "channel", "cause")
        self.oversold_orders = counter(
            "oversold_orders", "SOLD orders with units that are not there.", "channel", "cause"
        )
        self.unfillable_units = counter(
            "unfillable_units", "Units sold that are there but may not be shipped so.", "channel"
        )
        self.buffer_saved_units = counter(
            "buffer_saved_units", "Units of SOLD orders that only a buffer could supply.", "channel"
        )
        self.rerouted_units = counter(
            "rerouted_units", "Units of SOLD orders that found another place.", "channel", "cause"
        )
        self.split_orders = counter("split_orders", "SOLD orders in more than one shipment.", "channel")
        self.manual_interventions = counter("manual_interventions", "Orders that needed a person.", "channel", "reason")
        self.allocations = counter("allocations", "Answers to orders.", "channel", "outcome")
        self.cancelled_units = counter("cancelled_units", "Units taken off orders.", "channel")
        self.expired_holds = counter("expired_holds", "Holds that nobody confirmed in time.", "channel")
        self.backordered_units = Gauge("truestock_backordered_units", "Units that wait for stock.", registry=registry)
        self.stock_changes = counter("stock_changes", "Counts and movements heard.", "result")
        self.inventory_mismatches = counter(
            "inventory_mismatches", "Observations too far from what is known.", "location"
        )
        self.inventory_mismatch_units = counter(
            "inventory_mismatch_units", "Units by which such observations differed.", "location"
        )
        for result in ChangeResult:
            self.stock_changes.labels(result.value)

    def _service(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
            return Histogram(f"truestock_{name}", text, labels, buckets=buckets, registry=registry)

        self.rpc_seconds = histogram("rpc_duration_seconds", "Time to answer a call.", "method", "code")
        self.database_seconds = histogram("database_seconds", "Time with a database connection in hand.", "operation")
        self.batch_orders = histogram("allocator_batch_orders", "Orders of one transaction.", buckets=BATCH_SIZES)
        self.read_calls = histogram("availability_batch_calls", "Calls answered from one read.", buckets=BATCH_SIZES)
        self.database_retries = Counter(
            "truestock_database_retries", "Transactions run again.", ["operation"], registry=registry
        )
        self.queued_orders = Gauge(
            "truestock_allocator_queued_orders", "Orders that wait or are being decided.", registry=registry
        )
        self.shed_orders = Counter(
            "truestock_allocator_shed_orders", "Orders refused because too many waited.", registry=registry
        )
        self.policy_reloads = Counter(
            "truestock_policy_reloads", "Times the rules folder was read.", ["result"], registry=registry
        )
        self.policy_info = Gauge("truestock_policy_info", "1 for the rules in force.", ["revision"], registry=registry)
        self.policy_problems = Gauge(
            "truestock_policy_problems", "Problems of a refused rules folder.", registry=registry
        )
        self.ledger_differences = Gauge(
            "truestock_ledger_differences", "What the last proof of the ledger found wrong.", registry=registry
        )
        self.ledger_verified = Gauge(
            "truestock_ledger_verified_timestamp_seconds",
            "When this service last proved the ledger; 0 is never.",
            registry=registry,
        )
        for result in RELOAD_RESULTS:
            self.policy_reloads.labels(result)
        self._watches(registry)

    def _watches(self, registry: CollectorRegistry) -> None:
        self.availability_watchers = Gauge(
            "truestock_availability_watchers", "Calls that watch availability.", registry=registry
        )
        self.order_watchers = Gauge("truestock_order_watchers", "Calls that watch orders.", registry=registry)
        self.availability_changes_published = Counter(
            "truestock_availability_changes_published",
            "Figures of products sent to those who watch availability.",
            ["channel"],
            registry=registry,
        )
        self.availability_delay = Histogram(
            "truestock_availability_delay_seconds",
            "From hearing of a movement of stock to telling what may be sold after it.",
            buckets=SECONDS,
            registry=registry,
        )
        self.availability_refresh = Gauge(
            "truestock_availability_refresh_seconds",
            "Time to work out all that is watched once; past 15, what the clock changes is told late.",
            registry=registry,
        )

    def _decisions(self, registry: CollectorRegistry) -> None:
        self.decisions_stored_bytes = Counter(
            "truestock_decisions_stored_bytes", "Bytes of decisions and their inputs.", registry=registry
        )
        self.decisions_purged = Counter(
            "truestock_decisions_purged", "Decisions, or their inputs, past their time.", registry=registry
        )

    def _exceptions(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"truestock_{name}", text, labels, registry=registry)

        self.exceptions = counter("exceptions", "Exceptions raised; channel none where it is no order's.", *_OF_CHANNEL)
        self.exceptions_resolved = counter("exceptions_resolved", "Exceptions settled.", "kind", "resolution")
        self.exceptions_escalated = counter("exceptions_escalated", "Overdue exceptions, by who got them.", "owner")
        self.exceptions_open = Gauge(
            "truestock_exceptions_open", "Exceptions that nobody has settled.", ["kind", "owner"], registry=registry
        )
        for kind, allowed in ALLOWED.items():
            self.exceptions.labels(kind, NO_CHANNEL)
            for resolution in allowed:
                self.exceptions_resolved.labels(kind, resolution)

    def start_channels(self, channel_ids: Iterable[str], location_ids: Iterable[str] = ()) -> None:
        """Starts the counters of these channels and locations at 0, so that their first increase is seen as one."""
        locations = list(location_ids)
        self.start_locations(locations)
        for channel in channel_ids:
            for plain in (
                self.sold_units,
                self.sold_orders,
                self.unfillable_units,
                self.buffer_saved_units,
                self.split_orders,
                self.cancelled_units,
                self.expired_holds,
                self.availability_changes_published,
            ):
                plain.labels(channel)
            for cause in OVERSELL_CAUSES:
                self.oversold_units.labels(channel, cause)
                self.oversold_orders.labels(channel, cause)
            for cause in REROUTE_CAUSES:
                self.rerouted_units.labels(channel, cause)
            for reason in INTERVENTION_REASONS:
                self.manual_interventions.labels(channel, reason)
            for outcome in Outcome:
                self.allocations.labels(channel, outcome.value)
            for location in locations:
                self.allocated_units.labels(channel, location)
            for kind in EXCEPTION_KINDS:
                self.exceptions.labels(kind, channel)

    def start_locations(self, location_ids: Iterable[str]) -> None:
        """Starts the counters of these locations alone at 0."""
        for location in location_ids:
            self.inventory_mismatches.labels(location)
            self.inventory_mismatch_units.labels(location)

    def policy_in_force(self, revision: str) -> None:
        """Names the one set of rules that decides from now on."""
        self.policy_info.clear()
        self.policy_info.labels(revision).set(1)
