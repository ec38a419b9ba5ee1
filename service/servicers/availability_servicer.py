"""AvailabilityService: what a channel may sell."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from policies.domain.model import Destination
from service.allocation.pickup_requests import pickup_search_request
from service.allocation.pickup_search import PickupSearch
from service.availability import availability_reader
from service.availability.availability_requests import availability_request, wanted_counts
from service.availability.channel_figure_requests import figures_page, figures_request
from service.availability.channel_figures import ChannelFigureOperations
from service.availability.stock_readers import StockReaders
from service.candidates.candidate_processes import CandidateProcesses
from service.decisions.located_destination import destination_point, set_located
from service.demand.demand_operations import DemandOperations
from service.demand.shortfall_log import ShortfallLog
from service.geocoding.destination_points import DestinationPoints
from service.policy.active_policies import ActivePolicies
from service.stock.publication_log import PublicationLog
from service.watch import watch_requests
from service.watch.availability_watch import AvailabilityWatch
from truestock.v1 import (
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
    channel_figure_pb2 as figure_pb,
    demand_pb2 as demand_pb,
    pickup_pb2 as pickup_pb,
)

Context = Any


@dataclass(frozen=True, slots=True)
class ChannelReports:
    """The operations by which channels report what they know: what they show, and demand that they could not meet."""

    demand: DemandOperations
    channel_figures: ChannelFigureOperations


@dataclass(frozen=True, slots=True)
class AnswerLogs:
    """What is kept of answers: the figures that channels were told, and how much shoppers wanted beyond them."""

    published: PublicationLog
    shortfalls: ShortfallLog


class AvailabilityServicer(availability_grpc.AvailabilityServiceServicer):
    """Answers from a fresh stock read and the rules in force at the start of the call."""

    def __init__(
        self,
        *,
        readers: StockReaders,
        active_policies: ActivePolicies,
        watch: AvailabilityWatch,
        logs: AnswerLogs,
        candidates: CandidateProcesses,
        reports: ChannelReports,
        pickup_search: PickupSearch,
        destination_points: DestinationPoints,
    ) -> None:
        self._destination_points = destination_points
        self._pickup_search = pickup_search
        self._publication_log, self._shortfall_log = logs.published, logs.shortfalls
        self._demand = reports.demand
        self._candidates = candidates
        self._readers = readers
        self._active_policies = active_policies
        self._watch = watch
        self._channel_figures = reports.channel_figures

    async def CheckAvailability(
        self, request: availability_pb.CheckAvailabilityRequest, context: Context
    ) -> availability_pb.CheckAvailabilityResponse:
        question = availability_request(request)
        destination = await self._destination_points.located(question.destination)
        if destination is not question.destination:
            question = replace(question, destination=destination)
        wanted = wanted_counts(request) if request.wanted_counts else {}
        policy_set = self._active_policies.current.policy_set
        if request.candidate_revision not in ("", policy_set.revision):
            return await self._by_candidate(request, destination)
        snapshot, answer = await self._readers.answer(policy_set, question)
        if not request.internal and not request.candidate_revision:
            availability_reader.record(self._publication_log, snapshot, question.channel_id, answer)
            if wanted:
                lacking = availability_reader.shortfalls(answer, wanted)
                asked = (question.channel_id, question.method, answer.policy_revision, snapshot.now)
                self._shortfall_log.record(*asked, lacking)
        return answer

    async def _by_candidate(
        self, request: availability_pb.CheckAvailabilityRequest, destination: Destination | None
    ) -> availability_pb.CheckAvailabilityResponse:
        """The answer by rules that are not in force, which no channel is told."""
        question = availability_pb.CheckAvailabilityRequest()
        question.CopyFrom(request)
        question.ClearField("candidate_revision")
        set_located(question.destination, destination)
        question.internal = True
        method, response = (
            "truestock.v1.AvailabilityService/CheckAvailability",
            availability_pb.CheckAvailabilityResponse,
        )
        answer = await self._candidates.answer(request.candidate_revision, method, question, response)
        if (point := destination_point(destination)) is not None:
            answer.destination_point.CopyFrom(point)
        return answer

    async def SearchPickupLocations(
        self, request: pickup_pb.SearchPickupLocationsRequest, context: Context
    ) -> pickup_pb.SearchPickupLocationsResponse:
        return await self._pickup_search.search(pickup_search_request(request), request)

    async def RecordUnmetDemand(
        self, request: demand_pb.RecordUnmetDemandRequest, context: Context
    ) -> demand_pb.RecordUnmetDemandResponse:
        return await self._demand.record(request)

    async def ListUnmetDemand(
        self, request: demand_pb.ListUnmetDemandRequest, context: Context
    ) -> demand_pb.ListUnmetDemandResponse:
        return await self._demand.listed(request)

    async def SumUnmetDemand(
        self, request: demand_pb.SumUnmetDemandRequest, context: Context
    ) -> demand_pb.SumUnmetDemandResponse:
        return await self._demand.sums(request)

    def WatchAvailability(
        self, request: availability_pb.WatchAvailabilityRequest, context: Context
    ) -> AsyncIterator[availability_pb.WatchAvailabilityResponse]:
        return self._watch.watch(watch_requests.availability_subscription(request))

    async def RecordChannelFigures(
        self, request: figure_pb.RecordChannelFiguresRequest, context: Context
    ) -> figure_pb.RecordChannelFiguresResponse:
        return await self._channel_figures.record(figures_request(request), request)

    async def ListChannelFigures(
        self, request: figure_pb.ListChannelFiguresRequest, context: Context
    ) -> figure_pb.ListChannelFiguresResponse:
        return await self._channel_figures.page(figures_page(request))
