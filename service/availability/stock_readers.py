"""What reads the stock for answers of CheckAvailability, from the database or from its replica."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from policies.policy_set import PolicySet
from service.availability import availability_reader
from service.availability.availability_reader import AvailabilityReader, AvailabilityRequest, Snapshot
from service.metrics import Metrics
from service.replica.reads import NotReplicated, Reads
from service.replica.replica import Source
from truestock.v1 import availability_service_pb2 as availability_pb


@dataclass(frozen=True, slots=True)
class _Readers:
    """Those of one source: one for small answers, and one for large ones, behind which small ones need not wait."""

    source: Source
    small: AvailabilityReader
    large: AvailabilityReader


class StockReaders:
    """Reads for each source of their own: calls share a read only with those that read from the same one."""

    def __init__(self, reads: Reads, metrics: Metrics, policies: Callable[[], PolicySet]) -> None:
        self._reads = reads
        self._metrics = metrics
        self._policies = policies
        self._readers: dict[bool, _Readers] = {}

    async def answer(
        self, policy_set: PolicySet, question: AvailabilityRequest
    ) -> tuple[Snapshot, availability_pb.CheckAvailabilityResponse]:
        """The answer by these rules, with the stock that it rests on. Raises NotFound and NotReady."""
        return await self._reads.answer(lambda source: self._answer(source, policy_set, question))

    async def _answer(
        self, source: Source, policy_set: PolicySet, question: AvailabilityRequest
    ) -> tuple[Snapshot, availability_pb.CheckAvailabilityResponse]:
        """The answer from one source. Raises NotReplicated if that is a replica which may lack what is asked for."""
        readers = self._of(source)
        if question.item_ids:
            question = replace(question, listings=await readers.small.listings(question.channel_id, question.item_ids))
        reader = readers.large if readers.small.is_large(question.all_skus) else readers.small
        snapshot = (
            await reader.read_with_promises(question.all_skus, question.channel_id)
            if question.include_outlets
            else await reader.read(question.all_skus)
        )
        answer = await availability_reader.answer(policy_set, snapshot, question)
        if source.is_replica and (answer.unknown_skus or answer.unknown_item_ids):
            # The catalog may have had them for a moment.
            raise NotReplicated
        return snapshot, answer

    def _of(self, source: Source) -> _Readers:
        readers = self._readers.get(source.is_replica)
        if readers is None or readers.source is not source:
            parts = (source.database, source.catalog_cache, self._metrics, self._policies)
            large = AvailabilityReader(*parts, waits_for_answers=True)
            readers = self._readers[source.is_replica] = _Readers(source, AvailabilityReader(*parts), large)
        return readers
