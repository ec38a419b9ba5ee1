"""What one service is made of: its servicers and their operations."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import grpc
import uuid_utils
from asyncpg.pgproto.pgproto import UUID as DatabaseUUID

from service.allocation.allocation_batch import AllocationBatch
from service.allocation.allocation_queue import AllocationQueue
from service.allocation.cancellations.cancellation import CancellationOperations
from service.allocation.cancellations.cancellation_requests import CancellationRequests
from service.allocation.hold_release import HoldRelease
from service.allocation.intake.mapped_items import MappedItems
from service.allocation.lifecycle import Lifecycle
from service.allocation.order_preview import OrderPreview
from service.allocation.pickup_search import PickupSearch
from service.app.path_exercise import PathExercise
from service.availability.channel_figures import ChannelFigureOperations
from service.availability.stock_readers import StockReaders
from service.candidates.candidate_processes import CandidateProcesses
from service.candidates.kept_rules import KeptRules
from service.catalog.fact_values import FactValueReader
from service.catalog.product_check import ProductCheck
from service.demand.demand_operations import DemandOperations
from service.dependencies import Dependencies
from service.feeds.quarantine_retry import QuarantineRetry
from service.fulfillment.fulfillment_operations import FulfillmentOperations
from service.policy.catalog_warnings import CatalogWarnings
from service.policy.rule_tests import RuleTests
from service.privacy.forget_operations import ForgetOperations
from service.privacy.personal_data_drop import PersonalDataDrop
from service.readiness.connection_operations import ConnectionOperations
from service.readiness.readiness_operations import ReadinessOperations
from service.reports.headroom_monitor import HeadroomMonitor
from service.reports.report_operations import ReportOperations
from service.resolution.exception_operations import ExceptionOperations
from service.servicers.allocation_servicer import AllocationServicer, OrderOperations
from service.servicers.audit_servicer import AuditServicer
from service.servicers.availability_servicer import AnswerLogs, AvailabilityServicer, ChannelReports
from service.servicers.catalog_servicer import CatalogServicer
from service.servicers.exception_servicer import ExceptionServicer
from service.servicers.fulfillment_servicer import FulfillmentServicer
from service.servicers.policy_servicer import PolicyServicer
from service.servicers.readiness_servicer import ReadinessServicer
from service.servicers.report_servicer import ReportServicer
from service.servicers.stock_servicer import StockServicer
from service.stock.ledger_monitor import LedgerMonitor
from service.transfers.transfer_operations import TransferOperations
from service.watch.availability_watch import AvailabilityWatch
from service.watch.order_watch import OrderWatch
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    audit_service_pb2 as audit_pb,
    audit_service_pb2_grpc as audit_grpc,
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
    catalog_service_pb2 as catalog_pb,
    catalog_service_pb2_grpc as catalog_grpc,
    exception_service_pb2 as exception_pb,
    exception_service_pb2_grpc as exception_grpc,
    fulfillment_service_pb2 as fulfillment_pb,
    fulfillment_service_pb2_grpc as fulfillment_grpc,
    policy_service_pb2 as policy_pb,
    policy_service_pb2_grpc as policy_grpc,
    readiness_service_pb2 as readiness_pb,
    readiness_service_pb2_grpc as readiness_grpc,
    report_service_pb2 as report_pb,
    report_service_pb2_grpc as report_grpc,
    stock_service_pb2 as stock_pb,
    stock_service_pb2_grpc as stock_grpc,
)

SERVICE_NAMES = tuple(
    service.full_name
    for module in (
        *(availability_pb, allocation_pb, fulfillment_pb, stock_pb, catalog_pb, policy_pb, exception_pb, report_pb),
        readiness_pb,
        audit_pb,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
)


def new_id() -> UUID:
    """A UUIDv7: unique without coordination, and rising with time, which keeps index inserts cheap."""
    # The kind of UUID that the driver reads, written in C: making, comparing, printing and storing one costs half.
    id: UUID = DatabaseUUID(uuid_utils.uuid7().bytes)
    return id


def add_services(
    deps: Dependencies, server: grpc.aio.Server, queue: AllocationQueue | None = None
) -> tuple[AllocationQueue, Lifecycle]:
    """Registers the gRPC services; `queue` is a new one unless given. Returns the queue and the lifecycle of holds."""
    previews, lifecycle = OrderPreview(deps), Lifecycle(deps)
    queue = queue or _allocation_queue(deps)
    kept_rules = KeptRules(deps.database, timedelta(days=deps.settings.decision_retention_days))
    candidates = CandidateProcesses(kept_rules, deps.settings)
    deps.background.append(candidates.run)
    _add_orders(deps, server, queue=queue, previews=previews, lifecycle=lifecycle, candidates=candidates)
    _add_availability(deps, server, previews, candidates)
    _add_stock(deps, server)
    _add_catalog(deps, server)
    rule_tests = _add_policies(deps, server, kept_rules)
    exceptions = ExceptionServicer(deps.reads, ExceptionOperations(deps), deps.new_id)
    exception_grpc.add_ExceptionServiceServicer_to_server(exceptions, server)
    report_grpc.add_ReportServiceServicer_to_server(ReportServicer(ReportOperations(deps)), server)
    _add_readiness(deps, server, rule_tests)
    audit_grpc.add_AuditServiceServicer_to_server(AuditServicer(deps.database), server)
    return queue, lifecycle


def _allocation_queue(deps: Dependencies) -> AllocationQueue:
    return AllocationQueue(
        AllocationBatch(deps).decide,
        deps.metrics,
        # Two connections stay free of allocation: one for reads, one to confirm, release and ship.
        max_in_flight=max(1, deps.settings.database_pool_size - 2),
        location_count=lambda: deps.catalog_cache.location_count,
        components_of=deps.catalog_cache.components_of,
    )


def _add_orders(
    deps: Dependencies,
    server: grpc.aio.Server,
    *,
    queue: AllocationQueue,
    previews: OrderPreview,
    lifecycle: Lifecycle,
    candidates: CandidateProcesses,
) -> None:
    """Orders and their shipments."""
    fulfillment, watch = FulfillmentOperations(deps), OrderWatch(deps)
    personal_data = PersonalDataDrop(deps.database, timedelta(days=deps.settings.destination_retention_days))
    deps.background.append(watch.poller.run)
    deps.upkeep.append(personal_data.run)
    orders = AllocationServicer(
        allocator=queue,
        operations=OrderOperations(
            previews,
            CancellationOperations(deps),
            HoldRelease(deps),
            ForgetOperations(deps, personal_data),
            CancellationRequests(deps),
            candidates,
            deps.destination_points,
            deps.reads,
        ),
        lifecycle=lifecycle,
        fulfillment=fulfillment,
        database=deps.database,
        active_policies=deps.active_policies,
        new_id=deps.new_id,
        watch=watch,
    )
    allocation_grpc.add_AllocationServiceServicer_to_server(orders, server)
    shipments = FulfillmentServicer(deps.reads, fulfillment, deps.new_id)
    fulfillment_grpc.add_FulfillmentServiceServicer_to_server(shipments, server)


def _add_availability(
    deps: Dependencies, server: grpc.aio.Server, previews: OrderPreview, candidates: CandidateProcesses
) -> None:
    """What channels may sell, and what they say of it."""
    watch = AvailabilityWatch(deps)
    deps.background.append(watch.poller.run)
    demand = DemandOperations(
        deps.database,
        deps.catalog_cache,
        deps.metrics,
        reads=deps.reads,
        retention=timedelta(days=deps.settings.demand_retention_days),
        new_id=deps.new_id,
    )
    availability = AvailabilityServicer(
        readers=StockReaders(deps.reads, deps.metrics, deps.policies),
        active_policies=deps.active_policies,
        watch=watch,
        logs=AnswerLogs(deps.publication_log, deps.shortfall_log),
        candidates=candidates,
        reports=ChannelReports(demand, ChannelFigureOperations(deps)),
        pickup_search=PickupSearch(deps, previews),
        destination_points=deps.destination_points,
    )
    availability_grpc.add_AvailabilityServiceServicer_to_server(availability, server)


def _add_stock(deps: Dependencies, server: grpc.aio.Server) -> None:
    deps.background.append(HeadroomMonitor(deps).run)
    stock_grpc.add_StockServiceServicer_to_server(StockServicer(deps, TransferOperations(deps)), server)


def _add_catalog(deps: Dependencies, server: grpc.aio.Server) -> None:
    """The catalog, and what waits for a product or a channel's item that it does not know yet."""
    quarantine_retry, mapped_items = QuarantineRetry(deps), MappedItems(deps)
    deps.upkeep.extend((quarantine_retry.run, mapped_items.run))
    catalog = CatalogServicer(
        *(deps.database, deps.metrics, quarantine_retry, mapped_items),
        history_retention=timedelta(days=deps.settings.catalog_history_retention_days),
        product_check=ProductCheck(deps.policies),
        reads=deps.reads,
    )
    catalog_grpc.add_CatalogServiceServicer_to_server(catalog, server)


def _add_policies(deps: Dependencies, server: grpc.aio.Server, kept_rules: KeptRules) -> RuleTests:
    """The rules in force; returns what runs their tests."""
    fact_values = FactValueReader(deps.database, deps.catalog_cache)
    warnings = CatalogWarnings(deps.active_policies, fact_values, deps.metrics)
    rule_tests = RuleTests(deps.active_policies, deps.metrics)
    deps.background.extend((warnings.run, rule_tests.run))
    policies = PolicyServicer(
        active_policies=deps.active_policies,
        database=deps.database,
        fact_values=fact_values,
        warnings=warnings,
        rule_tests=rule_tests,
        kept_rules=kept_rules,
        shutdown=deps.shutdown,
        reads=deps.reads,
    )
    policy_grpc.add_PolicyServiceServicer_to_server(policies, server)
    return rule_tests


def _add_readiness(deps: Dependencies, server: grpc.aio.Server, rule_tests: RuleTests) -> None:
    """Whether operations are ready, with the checks of the ledger and of the order path that it reports."""
    ledger_monitor = LedgerMonitor(deps.database, deps.metrics, deps.settings.verify_ledger_seconds)
    path_exercise = PathExercise(deps, add_services)
    deps.upkeep.extend((ledger_monitor.run, path_exercise.run))
    checks = ReadinessOperations(deps, rule_tests, ledger_monitor, path_exercise.exercise)
    readiness = ReadinessServicer(checks, ConnectionOperations(deps))
    readiness_grpc.add_ReadinessServiceServicer_to_server(readiness, server)
