"""AvailabilityService: what a channel may sell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from service.availability import availability_reader
from service.availability.availability_reader import AvailabilityReader
from service.availability.availability_requests import availability_request
from service.policy.active_policies import ActivePolicies
from service.stock.publication_log import PublicationLog
from service.watch import watch_requests
from service.watch.availability_watch import AvailabilityWatch
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
)

Context = Any


class AvailabilityServicer(availability_grpc.AvailabilityServiceServicer):
    """Answers from a fresh stock read and the rules in force at the start of the call."""

    def __init__(
        self,
        reader: AvailabilityReader,
        large_reader: AvailabilityReader,
        active_policies: ActivePolicies,
        watch: AvailabilityWatch,
        publication_log: PublicationLog,
    ) -> None:
        self._reader = reader
        self._large_reader = large_reader
        self._active_policies = active_policies
        self._watch = watch
        self._publication_log = publication_log

    async def CheckAvailability(
        self, request: availability_pb.CheckAvailabilityRequest, context: Context
    ) -> availability_pb.CheckAvailabilityResponse:
        question = availability_request(request)
        policy_set = self._active_policies.current.policy_set
        # Calls with large answers share reads of their own, behind which small ones do not have to wait.
        reader = self._large_reader if self._reader.is_large(question.skus) else self._reader
        snapshot = (
            await reader.read_with_promises(question.skus, question.channel_id)
            if question.include_outlets
            else await reader.read(question.skus)
        )
        answer = await availability_reader.answer(policy_set, snapshot, question)
        if not request.internal:
            availability_reader.record(self._publication_log, snapshot, question.channel_id, answer)
        return answer

    def WatchAvailability(
        self, request: availability_pb.WatchAvailabilityRequest, context: Context
    ) -> AsyncIterator[availability_pb.WatchAvailabilityResponse]:
        return self._watch.watch(watch_requests.availability_subscription(request))
