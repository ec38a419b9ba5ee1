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
from service.allocation.pickup_search import PickupSearch
from service.app.path_exercise import PathExercise
from service.availability.availability_reader import AvailabilityReader
from service.availability.channel_figures import ChannelFigureOperations
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
from service.readiness.readiness_operations import ReadinessOperations
from service.reports.headroom_monitor import HeadroomMonitor
from service.reports.report_operations import ReportOperations
from service.resolution.exception_operations import ExceptionOperations
from service.servicers.allocation_servicer import AllocationServicer, OrderOperations
from service.servicers.audit_servicer import AuditServicer
from service.servicers.availability_servicer import AnswerLogs, AvailabilityServicer, ChannelReports, StockReaders
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
    database, active_policies, metrics = deps.database, deps.active_policies, deps.metrics
    batch = AllocationBatch(deps)
    # Two connections stay free of allocation: one for reads, one to confirm, release and ship.
    queue = queue or AllocationQueue(
        batch.decide,
        metrics,
        max_in_flight=max(1, deps.settings.database_pool_size - 2),
        location_count=lambda: deps.catalog_cache.location_count,
        components_of=deps.catalog_cache.components_of,
    )
    lifecycle = Lifecycle(deps)
    fulfillment = FulfillmentOperations(deps)
    watch, order_watch = AvailabilityWatch(deps), OrderWatch(deps)
    deps.background.extend((watch.poller.run, order_watch.poller.run))
    kept_rules = KeptRules(database, timedelta(days=deps.settings.decision_retention_days))
    candidates = CandidateProcesses(kept_rules, deps.settings)
    deps.background.append(candidates.run)
    personal_data = PersonalDataDrop(database, timedelta(days=deps.settings.destination_retention_days))
    deps.upkeep.append(personal_data.run)
    orders = AllocationServicer(
        allocator=queue,
        operations=OrderOperations(
            batch,
            CancellationOperations(deps),
            HoldRelease(deps),
            ForgetOperations(deps, personal_data),
            CancellationRequests(deps),
            candidates,
            deps.destination_points,
        ),
        lifecycle=lifecycle,
        fulfillment=fulfillment,
        database=database,
        active_policies=active_policies,
        new_id=deps.new_id,
        watch=order_watch,
    )
    reader = AvailabilityReader(database, deps.catalog_cache, metrics, deps.policies)
    large_reader = AvailabilityReader(database, deps.catalog_cache, metrics, deps.policies, waits_for_answers=True)
    availability_grpc.add_AvailabilityServiceServicer_to_server(
        AvailabilityServicer(
            readers=StockReaders(reader, large_reader),
            active_policies=active_policies,
            watch=watch,
            logs=AnswerLogs(deps.publication_log, deps.shortfall_log),
            candidates=candidates,
            reports=ChannelReports(
                DemandOperations(
                    database,
                    deps.catalog_cache,
                    metrics,
                    retention=timedelta(days=deps.settings.demand_retention_days),
                    new_id=deps.new_id,
                ),
                ChannelFigureOperations(deps),
            ),
            pickup_search=PickupSearch(deps, batch),
            destination_points=deps.destination_points,
        ),
        server,
    )
    allocation_grpc.add_AllocationServiceServicer_to_server(orders, server)
    fulfillment_grpc.add_FulfillmentServiceServicer_to_server(
        FulfillmentServicer(database, fulfillment, deps.new_id), server
    )
    stock_grpc.add_StockServiceServicer_to_server(
        StockServicer(deps, TransferOperations(deps)),
        server,
    )
    quarantine_retry = QuarantineRetry(deps)
    deps.upkeep.append(quarantine_retry.run)
    deps.background.append(HeadroomMonitor(deps).run)
    mapped_items = MappedItems(deps)
    deps.upkeep.append(mapped_items.run)
    history_retention = timedelta(days=deps.settings.catalog_history_retention_days)
    product_check = ProductCheck(database, deps.catalog_cache, deps.policies)
    catalog = CatalogServicer(
        *(database, metrics, quarantine_retry, mapped_items),
        history_retention=history_retention,
        product_check=product_check,
    )
    catalog_grpc.add_CatalogServiceServicer_to_server(catalog, server)
    fact_values = FactValueReader(database, deps.catalog_cache)
    warnings = CatalogWarnings(active_policies, fact_values, metrics)
    deps.background.append(warnings.run)
    rule_tests = RuleTests(active_policies, metrics)
    deps.background.append(rule_tests.run)
    policy_servicer = PolicyServicer(
        active_policies=active_policies,
        database=database,
        fact_values=fact_values,
        warnings=warnings,
        rule_tests=rule_tests,
        kept_rules=kept_rules,
        shutdown=deps.shutdown,
    )
    policy_grpc.add_PolicyServiceServicer_to_server(policy_servicer, server)
    exception_servicer = ExceptionServicer(database, ExceptionOperations(deps), deps.new_id)
    exception_grpc.add_ExceptionServiceServicer_to_server(exception_servicer, server)
    report_grpc.add_ReportServiceServicer_to_server(ReportServicer(ReportOperations(deps)), server)
    ledger_monitor = LedgerMonitor(database, metrics, deps.settings.verify_ledger_seconds)
    deps.upkeep.append(ledger_monitor.run)
    path_exercise = PathExercise(deps, add_services)
    deps.upkeep.append(path_exercise.run)
    readiness = ReadinessServicer(ReadinessOperations(deps, rule_tests, ledger_monitor, path_exercise.exercise))
    readiness_grpc.add_ReadinessServiceServicer_to_server(readiness, server)
    audit_grpc.add_AuditServiceServicer_to_server(AuditServicer(database), server)
    return queue, lifecycle
