"""Metrics of orders: what was sold, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from policies.decisions.cancellations import FAULTS, UNKNOWN
from policies.domain.model import LOCATED_BY, WITHHELD_KINDS, Outcome
from policies.stock.oversell import CAUSES
from service.metrics.kinds import Across, MetricMaker
from service.metrics.labels import (
    INTERVENTION_REASONS,
    REQUEST_ANSWERS,
    REROUTE_CAUSES,
    UNKNOWN_PLACE,
    UNMET_CAUSES,
)


class OrderMetrics:
    """Counters of orders, and the gauge of backordered units."""

    def __init__(self, make: MetricMaker) -> None:
        self.sold_units = make.counter("sold_units", "Units of SOLD orders, before cancellations.", "channel")
        self.sold_orders = make.counter("sold_orders", "SOLD orders, confirmed holds included.", "channel")
        self.allocated_units = make.counter("allocated_units", "Units of SOLD orders allocated.", "channel", "location")
        self.oversold_units = make.counter(
            "oversold_units", "Units of SOLD orders that were not in stock.", "channel", "cause"
        )
        self.oversold_orders = make.counter(
            "oversold_orders", "SOLD orders with units that were not in stock.", "channel", "cause"
        )
        self.withheld_units = make.counter(
            "withheld_units",
            "Units of SOLD orders in stock that a buffer or a block kept from them.",
            "channel",
            "cause",
        )
        self.withheld_orders = make.counter(
            "withheld_orders",
            "SOLD orders with units in stock that a buffer or a block kept from them, each once, by the first.",
            "channel",
            "cause",
        )
        self.unmet_demand_units = make.counter(
            "unmet_demand_units",
            "Units that shoppers wanted and did not get, of orders that are not sold; channel is none if unknown.",
            "channel",
            "cause",
        )
        self.unfillable_units = make.counter(
            "unfillable_units", "Units of SOLD orders in stock that limits on splitting left out.", "channel"
        )
        self.buffer_saved_units = make.counter(
            "buffer_saved_units", "Units of SOLD orders that only a buffer had kept in stock.", "channel"
        )
        self.rerouted_units = make.counter(
            "rerouted_units", "Units of SOLD orders rerouted to other locations.", "channel", "cause"
        )
        self.split_orders = make.counter("split_orders", "SOLD orders split into more than one shipment.", "channel")
        self.manual_interventions = make.counter(
            "manual_interventions", "Orders that needed manual intervention, each once.", "channel", "reason"
        )
        self.allocations = make.counter(
            "allocations",
            "Orders answered and holds confirmed, by outcome; retries by request_id excluded.",
            "channel",
            "outcome",
        )
        self.cancelled_units = make.counter("cancelled_units", "Units of SOLD orders cancelled.", "channel", "fault")
        self.cancelled_orders = make.counter(
            "cancelled_orders",
            "SOLD orders with cancelled units, each once, by the fault of the first.",
            "channel",
            "fault",
        )
        self.cancellation_headroom = make.gauge(
            "cancellation_headroom_ratio",
            "Share of the cancellations that the channel's marketplace allows that is unused.",
            "channel",
            across=Across.DATABASE,
        )
        self.cancellation_requests = make.counter(
            "cancellation_requests",
            "Answers to shoppers' requests to cancel, by what answered.",
            "channel",
            "answer",
            "by",
        )
        self.located_destinations = make.counter(
            "located_destinations",
            "Look-ups of destinations without coordinates, by what their coordinates are the middle of, or unknown.",
            "located_by",
        )
        for located_by in (*LOCATED_BY, UNKNOWN_PLACE):
            self.located_destinations.labels(located_by)
        self.expired_holds = make.counter("expired_holds", "Holds expired.", "channel")
        self.backordered_units = make.gauge("backordered_units", "Units on backorder.", across=Across.DATABASE)

    def set_headrooms(self, headrooms: Mapping[str, float]) -> None:
        """Sets the cancellation headroom by channel; other channels have none."""
        self.cancellation_headroom.clear()
        for channel, share in headrooms.items():
            self.cancellation_headroom.labels(channel).set(share)

    def start(self, channel: str, location_ids: Iterable[str]) -> None:
        """Starts the counters of a channel, and those of what it sells from these locations, at 0."""
        for counter in (
            self.sold_units,
            self.sold_orders,
            self.unfillable_units,
            self.buffer_saved_units,
            self.split_orders,
            self.expired_holds,
        ):
            counter.labels(channel)
        for by_value, values in (
            (self.cancelled_units, (*FAULTS, UNKNOWN)),
            (self.cancelled_orders, (*FAULTS, UNKNOWN)),
            (self.oversold_units, CAUSES),
            (self.oversold_orders, CAUSES),
            (self.withheld_units, WITHHELD_KINDS),
            (self.withheld_orders, WITHHELD_KINDS),
            (self.unmet_demand_units, UNMET_CAUSES),
            (self.rerouted_units, REROUTE_CAUSES),
            (self.manual_interventions, INTERVENTION_REASONS),
            (self.allocations, [outcome.value for outcome in Outcome]),
        ):
            for value in values:
                by_value.labels(channel, value)
        for answer, by in REQUEST_ANSWERS:
            self.cancellation_requests.labels(channel, answer, by)
        for location in location_ids:
            self.allocated_units.labels(channel, location)
