"""All metrics of one service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from service.metrics.audit_metrics import AuditMetrics
from service.metrics.capacity_metrics import CapacityMetrics
from service.metrics.exception_metrics import ExceptionMetrics
from service.metrics.kinds import MetricMaker
from service.metrics.order_metrics import OrderMetrics
from service.metrics.policy_metrics import PolicyMetrics
from service.metrics.readiness_metrics import ReadinessMetrics
from service.metrics.replica_metrics import ReplicaMetrics
from service.metrics.service_metrics import ServiceMetrics
from service.metrics.shipment_metrics import ShipmentMetrics
from service.metrics.stock_metrics import StockMetrics
from service.metrics.watch_metrics import WatchMetrics


class Metrics:
    """All metrics of one service, in the given registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        make = MetricMaker(registry)
        self.orders = OrderMetrics(make)
        self.stock = StockMetrics(make)
        self.exceptions = ExceptionMetrics(make)
        self.shipments = ShipmentMetrics(make)
        self.capacity = CapacityMetrics(make)
        self.policies = PolicyMetrics(make)
        self.readiness = ReadinessMetrics(make)
        self.watches = WatchMetrics(make)
        self.service = ServiceMetrics(make)
        self.replica = ReplicaMetrics(make)
        self.audit = AuditMetrics(make)
        self.across, self.bounds = make.across, make.bounds
        self._is_database_reported = True

    def start_channels(self, channel_ids: Iterable[str], location_ids: Iterable[str] = ()) -> None:
        """Starts the counters of these channels and locations at 0, so that Prometheus sees their first increase."""
        locations = list(location_ids)
        self.start_locations(locations)
        for channel in channel_ids:
            self.orders.start(channel, locations)
            self.stock.start_channel(channel)
            self.exceptions.start(channel)
            self.shipments.start_channel(channel)
            self.watches.start(channel)

    def start_locations(self, location_ids: Iterable[str]) -> None:
        """Starts the counters of locations, whatever the channel, at 0."""
        for location in location_ids:
            self.stock.start_location(location)
            self.shipments.start_location(location)
            self.capacity.start_location(location)

    def report_database(self, *, is_reported: bool) -> None:
        """Adds the gauges of the database's figures to the registry, or removes them.

        All services on a database have the same figures, so only one of them may report them.
        """
        if is_reported is self._is_database_reported:
            return
        self._is_database_reported = is_reported
        for gauge in (
            self.exceptions.open,
            self.exceptions.overdue,
            self.orders.backordered_units,
            self.capacity.used,
            self.capacity.limit,
            self.orders.cancellation_headroom,
            self.stock.ledger_differences,
            self.stock.ledger_verified,
            self.audit.unsealed_seconds,
            self.audit.sealed_events,
            self.audit.broken,
            self.audit.verified,
        ):
            if is_reported:
                self.registry.register(gauge)
            else:
                self.registry.unregister(gauge)
