"""Commands on decisions and lists of orders: replay-decision, orders."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import add_row, count, enum_word, format_time, new_table, print_json, say, stdout_console
from truestock.v1.allocation_service_pb2 import Allocation, ListAllocationsRequest
from truestock.v1.order_pb2 import Outcome
from truestock.v1.policy_service_pb2 import ReplayDecisionRequest, ReplayDecisionResponse

_STATES = {enum_word(name, "STATE_"): number for name, number in Allocation.State.items() if number}


def replay_decision(
    decision: Annotated[
        str, typer.Argument(metavar="DECISION", help="The decision's id; `truestock explain` lists it.")
    ],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Re-runs a stored decision with its original inputs and rules and reports whether the result is identical.

    The exit code is 1 if the result differs.

    \b
    Examples:
      truestock replay-decision 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
      truestock replay-decision 0190a6a2-7a3c-7c1e-9d7e-0242ac120002 --json
    """
    request = ReplayDecisionRequest(decision_id=options.decision_id(decision))

    async def ask(client: Client) -> ReplayDecisionResponse:
        return await client.ask(client.policies.ReplayDecision, request)

    response = call(server, ask)
    if as_json:
        print_json(response)
    else:
        stdout_console().print(_replay_result(response))
    raise typer.Exit(0 if response.identical else 1)


def _replay_result(response: ReplayDecisionResponse) -> str:
    stored, current = response.stored_software_version, response.software_version
    versions = f"Truestock {current}" if stored == current else f"decided by Truestock {stored}, replayed by {current}"
    rules = f"rules {response.decision.policy_revision}, {versions}"
    if response.identical:
        return f"Identical to the stored decision, byte for byte ({rules})."
    return f"Different: {response.differing_field} differs ({rules}). `--json` shows the new result."


def orders(
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeatable.")] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help=f"Only this state; repeatable: {', '.join(_STATES)}.")
    ] = None,
    needs_person: Annotated[
        bool, typer.Option("--needs-person", help="Only orders that need manual intervention.")
    ] = False,
    on_hold: Annotated[bool, typer.Option("--on-hold", help="Only sold orders that are on hold.")] = False,
    location: Annotated[str, typer.Option("--location", help="Only with units promised at or shipped from it.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Maximum number of orders.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists orders, oldest first.

    \b
    Examples:
      truestock orders
      truestock orders --channel tiktok_shop --state held --state confirmed
      truestock orders --needs-person --location store-austin --json
      truestock orders --on-hold
    """
    request = ListAllocationsRequest(
        channel_ids=channel or [],
        states=[_state(word) for word in state or []],
        needs_person_only=needs_person,
        on_hold_only=on_hold,
        location_id=location,
    )

    async def ask(client: Client) -> tuple[list[Allocation], bool]:
        return await client.list_entries(
            client.allocations.ListAllocations, request, lambda page: page.allocations, limit
        )

    listed, more = call(server, ask)
    if as_json:
        print_json(listed)
        return
    _print_orders(listed)
    if more:
        say(f"Only the first {count(limit, 'order')}; raise --limit for more.")


def _state(word: str) -> Allocation.State.ValueType:
    number = _STATES.get(word.replace("_", " ").lower())
    if number is None:
        raise typer.BadParameter(f"--state {word!r} is none of: {', '.join(_STATES)}")
    return number


def _print_orders(listed: list[Allocation]) -> None:
    if not listed:
        stdout_console().print("No matching orders. `truestock allocate` sends one.")
        return
    table = new_table("order", "state", "outcome", "units", "locations", "created", "allocation", numbers=("units",))
    for order in listed:
        locations = ", ".join(dict.fromkeys(shipment.location_id for shipment in order.shipments)) or "-"
        outcome = enum_word(Outcome.Name(order.outcome), "OUTCOME_") + (" (!)" if order.needs_person else "")
        state = enum_word(Allocation.State.Name(order.state), "STATE_") + (
            ", on hold" if order.HasField("hold") else ""
        )
        units = sum(line.unit_count - line.cancelled_count for line in order.lines)
        order_key = f"{order.channel_id}/{order.order_id}"
        add_row(table, order_key, state, outcome, units, locations, format_time(order.create_time), order.allocation_id)
    stdout_console().print(table)
    if any(order.needs_person for order in listed):
        stdout_console().print("(!) needs or needed manual intervention.")
