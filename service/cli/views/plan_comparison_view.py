"""Why a decision chose its plan, as tables: the plans compared, and the locations in the order of their ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.cli.console import add_row, count, format_time, new_table
from service.cli.views.shipment_views import steps_text, weekday_text
from truestock.v1.decision_explanation_pb2 import (
    ComparedPlan,
    ComparedShipment,
    DecisionExplanation,
    FullLocation,
    LateLocation,
    PlanDifference,
    RankedLocation,
    StepFigure,
)
from truestock.v1.policy_service_pb2 import ExplainDecisionResponse

_YES_NO = {"true": "yes", "false": "no"}
_ONE = {"units": "unit", "days": "day", "products": "product"}


def compared_plans(response: ExplainDecisionResponse | None, reason: str) -> Iterator[RenderableType]:
    """The tables of an explanation; if there is none, the reason, which may be empty."""
    if response is None:
        if reason:
            yield Text(f"Its plans cannot be compared: {reason}", "dim")
        return
    if not response.identical:
        versions = f"decided by Truestock {response.stored_software_version}, explained by {response.software_version}"
        text = f"Truestock would decide this otherwise now: {response.differing_field} differs ({versions})."
        yield Text(text, "yellow")
    yield from explained_plans(response.explanation)


def explained_plans(explanation: DecisionExplanation) -> Iterator[RenderableType]:
    """The tables of an explanation."""
    if explanation.passed_on_by:
        yield Text(f"Passed on by {', '.join(explanation.passed_on_by)}, which could not fill the order.")
    if explanation.chosen.shipments or explanation.HasField("refused"):
        yield _plans(explanation)
    for shipment in explanation.next_best.shipments:
        if shipment.date_steps:
            yield Text(f"Next best, from {shipment.location_id}: {steps_text(shipment.date_steps)}.", "dim")
    if explanation.locations:
        yield _ranked_locations(explanation)
    for full in explanation.full_locations:
        yield Text(_full(full))
    for late in explanation.late_locations:
        yield Text(_late(late))
    others = explanation.ranked_count - len(explanation.locations)
    if others:
        yield Text(f"… and {count(others, 'location')} ranked behind them", "dim")


def _plans(explanation: DecisionExplanation) -> Table:
    rank = ", ".join(explanation.steps)
    table = new_table("plan", "shipments", "compared with the chosen plan", title=f"Plans compared, by {rank}")
    add_row(table, Text("chosen", "bold"), _shipments(explanation.chosen), "-")
    if explanation.HasField("next_best"):
        next_best = explanation.next_best
        cut_short = " (there may be a better one: too many to compare)" if next_best.search_truncated else ""
        add_row(table, "next best", _shipments(next_best), _differences(next_best.differences) + cut_short)
    if explanation.HasField("refused"):
        refused = explanation.refused
        why = f"Refused: {', '.join(refused.refused_by)}. {_differences(refused.differences)}"
        add_row(table, "refused split", _shipments(refused), why)
    if explanation.chosen.shipments and not explanation.HasField("next_best"):
        add_row(table, "next best", "-", "no other location could supply a unit")
    return table


def _shipments(plan: ComparedPlan) -> str:
    return "\n".join(_shipment(shipment) for shipment in plan.shipments) or "no shipment"


def _shipment(shipment: ComparedShipment) -> str:
    """Such as `store-austin: 2 of MUG, 12.3 km, cost 4.90, by 2026-12-02`."""
    parts = [f"{units.unit_count:,} of {units.sku}" for units in shipment.units]
    parts += [f"{shipment.distance_km:,.1f} km"] if shipment.HasField("distance_km") else []
    parts += [f"cost {shipment.cost}"] if shipment.cost else []
    parts += [f"handled {shipment.handling_day}"] if shipment.handling_day else []
    parts += [f"by {shipment.delivery_day}"] if shipment.delivery_day else []
    return f"{shipment.location_id}: {', '.join(parts)}"


def _differences(differences: Iterable[PlanDifference]) -> str:
    return "; ".join(difference.text for difference in differences)


def _late(location: LateLocation) -> str:
    """Such as `store-austin is too late: it could ship by 2026-12-02 23:00:00Z (Wed 02 Dec after the cut-off).`"""
    parts = [f"ship by {format_time(location.ship_by_time)}"] if location.HasField("ship_by_time") else []
    parts += [f"deliver on {weekday_text(location.deliver_date)}"] if location.HasField("deliver_date") else []
    dates = f"it could {' and '.join(parts)}" if parts else "nobody knows by when it could ship"
    why = f" ({steps_text(location.date_steps)})" if location.date_steps else ""
    return f"{location.location_id} is too late: {dates}{why}."


def _full(location: FullLocation) -> str:
    """Such as `store-austin is full: 0 orders left on 2026-12-02; otherwise it could ship 2 units more.`"""
    left = [count(location.orders_left_count, "order")] if location.HasField("orders_left_count") else []
    left += [count(location.units_left_count, "unit")] if location.HasField("units_left_count") else []
    hour = f" at {location.hour}:00" if location.HasField("hour") else ""
    when = f": {' and '.join(left)} left on {location.day}{hour}" if location.day and left else ""
    return f"{location.location_id} is full{when}; otherwise it could ship {count(location.unit_count, 'unit')} more."


def _ranked_locations(explanation: DecisionExplanation) -> Table:
    """One row for each location, with a column for each location step, and for cost and day where they are known."""
    locations = explanation.locations
    steps = [figure.step for figure in locations[0].figures]
    known = [name for name in ("cost", "delivery_day") if any(getattr(location, name) for location in locations)]
    titles = [name.replace("_", " ") for name in (*steps, *known)]
    numbers = ("#", "ships", "could ship")
    table = new_table(*numbers[:1], "location", *numbers[1:], *titles, "in the plan", numbers=numbers)
    table.title = "Locations in the order of their ranks"
    for location in locations:
        figures = [_figure(figure) for figure in location.figures]
        delivery = [getattr(location, name) or "-" for name in known]
        could_ship = location.suppliable_count
        ranked = (location.place, location.location_id, location.unit_count, could_ship, *figures, *delivery)
        add_row(table, *ranked, _in_the_plan(location))
    return table


def _in_the_plan(location: RankedLocation) -> str:
    if location.unit_count:
        return "yes"
    deciding = [difference.text for difference in location.differences if difference.decides]
    return f"no: {deciding[0]}" if deciding else "no"


def _figure(figure: StepFigure) -> str:
    """Such as `12.3 km`, `1 unit` or `yes`."""
    if figure.value in _YES_NO:
        return _YES_NO[figure.value]
    if not figure.unit or not figure.value[-1].isdigit():
        return figure.value
    return f"{figure.value} {_ONE.get(figure.unit, figure.unit) if figure.value == '1' else figure.unit}"
