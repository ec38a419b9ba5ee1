"""StockService: stock changes from sources, transfers, stock levels and movements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg

from service.database.database import Connection
from service.dependencies import Dependencies
from service.feeds import hand_changes, stock_intake, stock_requests
from service.feeds.change_processing import RecordedChange
from service.feeds.stock_intake import Intake
from service.feeds.stock_requests import RecordRequest
from service.rpc import proto_values
from service.rpc.idempotency import IdempotentRequest, once
from service.stock import level_details, levels, stock_messages, stock_movements
from service.stock.level_details import LevelDetails
from service.transfers import transfer_requests, transfer_store
from service.transfers.transfer_operations import TransferOperations
from service.transfers.transfer_store import TransferRecord
from truestock.v1 import stock_service_pb2 as stock_pb, stock_service_pb2_grpc as stock_grpc

Context = Any

_RESULTS = {
    "accepted": stock_pb.StockChangeResult.CHANGE_RESULT_ACCEPTED,
    "duplicate": stock_pb.StockChangeResult.CHANGE_RESULT_DUPLICATE,
    "stale": stock_pb.StockChangeResult.CHANGE_RESULT_STALE,
    "absorbed": stock_pb.StockChangeResult.CHANGE_RESULT_ABSORBED,
    "quarantined": stock_pb.StockChangeResult.CHANGE_RESULT_QUARANTINED,
    "refused": stock_pb.StockChangeResult.CHANGE_RESULT_REFUSED,
    "observed": stock_pb.StockChangeResult.CHANGE_RESULT_OBSERVED,
}


class StockServicer(stock_grpc.StockServiceServicer):
    """Each stock change gets its own result; all changes of a call are recorded in one transaction."""

    def __init__(self, deps: Dependencies, transfers: TransferOperations) -> None:
        self._deps = deps
        self._transfers = transfers
        self._shutdown = deps.shutdown

    async def RecordStockChanges(
        self, request: stock_pb.RecordStockChangesRequest, context: Context
    ) -> stock_pb.RecordStockChangesResponse:
        report = stock_requests.record_request(request)
        idempotent = IdempotentRequest.of("RecordStockChanges", request, report.request_id, self._deps.new_id)
        return await self._record(idempotent, report)

    async def StreamStockChanges(
        self, requests: AsyncIterator[stock_pb.StreamStockChangesRequest], context: Context
    ) -> AsyncIterator[stock_pb.StreamStockChangesResponse]:
        source = ""
        # The next message is read after this one is acknowledged, so a feed faster than the database has to wait.
        async for message in self._shutdown.while_running(requests):
            report = stock_requests.streamed_request(message, source)
            source = report.source
            answer = await self._record(
                IdempotentRequest.of("StreamStockChanges", message, None, self._deps.new_id), report
            )
            yield stock_pb.StreamStockChangesResponse(results=answer.results, dropped_count=answer.dropped_count)

    async def _record(
        self, idempotent: IdempotentRequest, report: RecordRequest
    ) -> stock_pb.RecordStockChangesResponse:
        """Records the changes of one report in one transaction, once, and counts them."""
        policy_set = self._deps.policies()

        async def work(
            connection: Connection,
        ) -> tuple[stock_pb.RecordStockChangesResponse, Intake]:
            intake = await stock_intake.record(
                connection, report.changes, self._deps.new_id, cache=self._deps.catalog_cache, policy_set=policy_set
            )
            # A stream is a program's.
            if idempotent.key.method == "RecordStockChanges":
                await hand_changes.record(connection, intake.results)
            answer = stock_pb.RecordStockChangesResponse(
                results=[_message(result) for result in intake.results], dropped_count=intake.loss.dropped_count
            )
            return answer, intake

        def count(intake: Intake) -> None:
            intake.count(self._deps.metrics)

        answer_type = stock_pb.RecordStockChangesResponse
        return await once(self._deps.database, "record_stock", idempotent, answer_type, work, count=count)

    async def ListStockLevels(
        self, request: stock_pb.ListStockLevelsRequest, context: Context
    ) -> stock_pb.ListStockLevelsResponse:
        page = stock_requests.levels_page(request)

        async def work(connection: Connection) -> stock_pb.ListStockLevelsResponse:
            now, rows = await levels.page(connection, page.after, page.count + 1, page.skus, page.location_ids)
            shown = rows[: page.count]
            details = await level_details.read(connection, [(row["sku"], row["location_id"]) for row in shown])
            more = len(rows) > page.count
            return stock_pb.ListStockLevelsResponse(
                stock_levels=[_level(row, details[row["sku"], row["location_id"]]) for row in shown],
                next_page_token=page.tokens.after(shown[-1]["sku"], shown[-1]["location_id"]) if more else "",
                read_time=proto_values.timestamp(now),
            )

        return await self._deps.reads.answer(lambda source: source.database.snapshot("list", work))

    async def ListStockMovements(
        self, request: stock_pb.ListStockMovementsRequest, context: Context
    ) -> stock_pb.ListStockMovementsResponse:
        page = stock_movements.movements_page(request)
        rows, end = await self._deps.reads.answer(
            lambda source: source.database.unlocked("list", lambda connection: stock_movements.rows(connection, page))
        )
        return stock_pb.ListStockMovementsResponse(
            stock_movements=[stock_movements.message(row) for row in rows],
            next_page_token=page.tokens.after_time(*end) if end else "",
        )

    async def TransferStock(
        self, request: stock_pb.TransferStockRequest, context: Context
    ) -> stock_pb.TransferStockResponse:
        step, request_id = transfer_requests.transfer_request(request)
        idempotent = IdempotentRequest.of("TransferStock", request, request_id, self._deps.new_id)
        return await self._transfers.execute(step, idempotent, self._deps.policies())

    async def CancelTransfer(
        self, request: stock_pb.CancelTransferRequest, context: Context
    ) -> stock_pb.CancelTransferResponse:
        cancellation, request_id = transfer_requests.cancellation_request(request)
        idempotent = IdempotentRequest.of("CancelTransfer", request, request_id, self._deps.new_id)
        return await self._transfers.cancel(cancellation, idempotent, self._deps.policies())

    async def ListTransfers(
        self, request: stock_pb.ListTransfersRequest, context: Context
    ) -> stock_pb.ListTransfersResponse:
        page = transfer_requests.transfers_page(request)

        async def work(connection: Connection) -> list[TransferRecord]:
            return await transfer_store.page(
                connection, page.location_id, page.before, page.count + 1, in_transit_only=page.in_transit_only
            )

        records = await self._deps.reads.answer(lambda source: source.database.snapshot("list", work))
        shown = records[: page.count]
        more = len(records) > page.count
        return stock_pb.ListTransfersResponse(
            transfers=[transfer_store.message(record) for record in shown],
            next_page_token=page.tokens.after_time(shown[-1].dispatch_time, shown[-1].id) if more else "",
        )


def _level(row: asyncpg.Record, details: LevelDetails) -> stock_pb.StockLevel:
    return stock_messages.stock_level(
        row,
        levels.level_of(row, row["expired_units"]),
        level_details.unavailable_message(details.unavailable),
        level_details.incoming_message(details.incoming),
    )


def _message(result: RecordedChange) -> stock_pb.StockChangeResult:
    return stock_pb.StockChangeResult(
        change_id=result.change.change_id,
        result=_RESULTS[result.result],
        reason=result.reason,
        on_hand_count=result.on_hand,
    )
