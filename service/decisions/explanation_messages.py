"""Explanations of decisions as messages of the API."""

from __future__ import annotations

from policies.decisions.alternatives.decision_explanation import (
    ComparedPlan,
    ComparedShipment,
    DecisionExplanation,
    RankedLocation,
)
from policies.decisions.alternatives.full_locations import FullLocation
from policies.decisions.alternatives.late_locations import LateLocation
from policies.decisions.alternatives.plan_differences import PlanDifference
from service.decisions.date_messages import date_message, step_message
from service.rpc.proto_values import timestamp
from truestock.v1 import decision_explanation_pb2 as explanation_pb


def explanation_message(explanation: DecisionExplanation) -> explanation_pb.DecisionExplanation:
    """An explanation; what is unknown in it is unset or empty."""
    return explanation_pb.DecisionExplanation(
        steps=explanation.steps,
        passed_on_by=explanation.passed_on_by,
        chosen=_plan(explanation.chosen),
        next_best=_plan(explanation.next_best) if explanation.next_best else None,
        refused=_plan(explanation.refused) if explanation.refused else None,
        locations=[_location(location) for location in explanation.locations],
        ranked_count=explanation.ranked_count,
        full_locations=[_full_location(location) for location in explanation.full_locations],
        full_count=explanation.full_count,
        late_locations=[_late_location(location) for location in explanation.late_locations],
        late_count=explanation.late_count,
    )


def _plan(plan: ComparedPlan) -> explanation_pb.ComparedPlan:
    return explanation_pb.ComparedPlan(
        shipments=[_shipment(shipment) for shipment in plan.shipments],
        differences=[_difference(difference) for difference in plan.differences],
        refused_by=plan.refused_by,
        search_truncated=not plan.searched_exhaustively,
    )


def _shipment(shipment: ComparedShipment) -> explanation_pb.ComparedShipment:
    return explanation_pb.ComparedShipment(
        location_id=shipment.location_id,
        units=[explanation_pb.ComparedUnits(sku=sku, unit_count=count) for sku, count in shipment.units.items()],
        distance_km=shipment.distance_km,
        cost=_text(shipment.cost),
        delivery_day=_text(shipment.delivery_day),
        handling_day=_text(shipment.handling_day),
        date_steps=[step_message(step) for step in shipment.date_steps],
    )


def _difference(difference: PlanDifference) -> explanation_pb.PlanDifference:
    return explanation_pb.PlanDifference(
        step=difference.step,
        chosen=difference.chosen,
        other=difference.other,
        text=difference.text,
        decides=difference.decides,
    )


def _location(location: RankedLocation) -> explanation_pb.RankedLocation:
    return explanation_pb.RankedLocation(
        location_id=location.location_id,
        place=location.place,
        unit_count=location.unit_count,
        suppliable_count=location.suppliable_count,
        figures=[explanation_pb.StepFigure(step=x.step, value=x.value, unit=x.unit) for x in location.figures],
        differences=[_difference(difference) for difference in location.differences],
        cost=_text(location.cost),
        delivery_day=_text(location.delivery_day),
    )


def _full_location(location: FullLocation) -> explanation_pb.FullLocation:
    return explanation_pb.FullLocation(
        location_id=location.location_id,
        unit_count=location.unit_count,
        day=_text(location.day),
        hour=location.hour,
        orders_left_count=location.orders_left,
        units_left_count=location.units_left,
    )


def _late_location(location: LateLocation) -> explanation_pb.LateLocation:
    dates = location.dates
    return explanation_pb.LateLocation(
        location_id=location.location_id,
        ship_by_time=timestamp(dates.ship_by),
        deliver_date=None if dates.arrives_on is None else date_message(dates.arrives_on),
        date_steps=[step_message(step) for step in dates.steps],
    )


def _text(figure: object) -> str:
    return "" if figure is None else str(figure)
