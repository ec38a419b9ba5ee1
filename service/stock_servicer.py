"""StockService: what sources say of stock, and what is known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

from policies.policy import PolicySet
from service import answers, levels, stock_changes, stock_requests
from service.catalogue import CatalogueCache
from service.database import Connection, Database
from service.doings import Doings
from service.metrics import Metrics
from service.requests import Asked, once
from service.stock_recording import Result
from service.stock_requests import RecordRequest
from service.streams import Closing
from truestock.v1 import stock_service_pb2 as stock_pb, stock_service_pb2_grpc as stock_grpc

Context = Any

_FATES = {
    "accepted": stock_pb.StockChangeResult.FATE_ACCEPTED,
    "duplicate": stock_pb.StockChangeResult.FATE_DUPLICATE,
    "stale": stock_pb.StockChangeResult.FATE_STALE,
    "absorbed": stock_pb.StockChangeResult.FATE_ABSORBED,
    "quarantined": stock_pb.StockChangeResult.FATE_QUARANTINED,
    "observed": stock_pb.StockChangeResult.FATE_OBSERVED,
}


class StockServicer(stock_grpc.StockServiceServicer):
    """Each change has a fate of its own; all of a call are recorded together."""

    def __init__(
        self,
        *,
        database: Database,
        cache: CatalogueCache,
        metrics: Metrics,
        new_id: Callable[[], UUID],
        policies: Callable[[], PolicySet],
        closing: Closing,
    ) -> None:
        """`policies` gives the rules in force."""
        self._database = database
        self._cache = cache
        self._policies = policies
        self._metrics = metrics
        self._new_id = new_id
        self._closing = closing

    async def RecordStockChanges(
        self, request: stock_pb.RecordStockChangesRequest, context: Context
    ) -> stock_pb.RecordStockChangesResponse:
        said = stock_requests.record_request(request)
        asked = Asked.of("RecordStockChanges", request, said.request_id, self._new_id)
        return await self._record(asked, said)

    async def StreamStockChanges(
        self, requests: AsyncIterator[stock_pb.StreamStockChangesRequest], context: Context
    ) -> AsyncIterator[stock_pb.StreamStockChangesResponse]:
        source = ""
        # The next message is read once this one is answered, so a feed that is faster than the database waits.
        async for message in self._closing.until(requests):
            said = stock_requests.streamed_request(message, source)
            source = said.source
            answer = await self._record(Asked.of("StreamStockChanges", message, None, self._new_id), said)
            yield stock_pb.StreamStockChangesResponse(results=answer.results)

    async def _record(self, asked: Asked, said: RecordRequest) -> stock_pb.RecordStockChangesResponse:
        """Records what a source said in one transaction, once, and counts it."""
        policy_set = self._policies()

        async def work(
            connection: Connection,
        ) -> tuple[stock_pb.RecordStockChangesResponse, tuple[list[Result], Doings]]:
            results, doings = await stock_changes.record(
                connection, said.changes, self._new_id, cache=self._cache, policy_set=policy_set
            )
            answer = stock_pb.RecordStockChangesResponse(results=[_message(result) for result in results])
            return answer, (results, doings)

        answer_type = stock_pb.RecordStockChangesResponse
        answer, done = await once(self._database, "record_stock", asked, answer_type, work)
        if done is not None:
            results, doings = done
            doings.count(self._metrics)
            stock_changes.count_results(self._metrics, results)
        return answer

    async def ListStockLevels(
        self, request: stock_pb.ListStockLevelsRequest, context: Context
    ) -> stock_pb.ListStockLevelsResponse:
        page = stock_requests.levels_page(request)
        now, rows = await self._database.unlocked(
            "list",
            lambda connection: levels.page(connection, page.after, page.count + 1, page.skus, page.location_ids),
        )
        shown = rows[: page.count]
        more = len(rows) > page.count
        return stock_pb.ListStockLevelsResponse(
            stock_levels=[answers.stock_level(row, levels.level_of(row, row["lapsed_units"])) for row in shown],
            next_page_token=stock_requests.levels_token(shown[-1]["sku"], shown[-1]["location_id"]) if more else "",
            read_time=answers.timestamp(now),
        )


def _message(result: Result) -> stock_pb.StockChangeResult:
    return stock_pb.StockChangeResult(
        change_id=result.change.change_id,
        fate=_FATES[result.fate],
        reason=result.reason,
        on_hand_count=result.on_hand,
    )
