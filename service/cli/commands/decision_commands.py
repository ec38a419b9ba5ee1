"""Commands on decisions and lists of orders: replay, orders."""

from __future__ import annotations

from typing import Annotated

import typer

from service.cli import options
from service.cli.client import Client, call
from service.cli.console import clock, enum_word, output, print_json, row, say, table
from truestock.v1.allocation_service_pb2 import Allocation, ListAllocationsRequest
from truestock.v1.order_pb2 import Outcome
from truestock.v1.policy_service_pb2 import ReplayDecisionRequest, ReplayDecisionResponse

_STATES = {enum_word(name, "STATE_"): number for name, number in Allocation.State.items() if number}


def replay(
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="A decision's id; `truestock explain` tells it.")],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Decides once more, from what was known then and by the rules of then, and says whether it comes out the same.

    Exit code 1 where it does not.

    \b
    Example:
      truestock replay 0190a6a2-7a3c-7c1e-9d7e-0242ac120002
    """
    request = ReplayDecisionRequest(decision_id=options.decision_id(decision))

    async def ask(client: Client) -> ReplayDecisionResponse:
        return await client.ask(client.policies.ReplayDecision, request)

    answer = call(server, ask)
    if as_json:
        print_json(answer)
    else:
        output().print(_said(answer))
    raise typer.Exit(0 if answer.identical else 1)


def _said(answer: ReplayDecisionResponse) -> str:
    then, now = answer.stored_software_version, answer.software_version
    versions = f"Truestock {now}" if then == now else f"decided by Truestock {then}, replayed by {now}"
    rules = f"rules {answer.decision.policy_revision}, {versions}"
    if answer.identical:
        return f"Identical: it comes out the same to the byte ({rules})."
    return f"Not the same: {answer.differing_field} differs ({rules}). `--json` shows how it comes out now."


def orders(
    channel: Annotated[list[str] | None, typer.Option("--channel", help="Only this channel; repeat for more.")] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help=f"Only in this state; repeat for more: {', '.join(_STATES)}.")
    ] = None,
    needs_person: Annotated[bool, typer.Option("--needs-person", help="Only those that need a person.")] = False,
    location: Annotated[str, typer.Option("--location", help="Only with units promised at, or shipped from, it.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="Most orders to list.")] = 1_000,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Lists orders, the oldest first.

    \b
    Examples:
      truestock orders
      truestock orders --channel tiktok_shop --state held --state confirmed
      truestock orders --needs-person --location store-austin --json
    """
    request = ListAllocationsRequest(
        channel_ids=channel or [],
        states=[_state(word) for word in state or []],
        needs_person_only=needs_person,
        location_id=location,
    )

    async def ask(client: Client) -> tuple[list[Allocation], bool]:
        return await client.listed(client.allocations.ListAllocations, request, lambda page: page.allocations, limit)

    found, more = call(server, ask)
    if as_json:
        print_json(found)
        return
    _print_orders(found)
    if more:
        say(f"There are more orders; --limit lists more than {limit:,}.")


def _state(word: str) -> Allocation.State.ValueType:
    number = _STATES.get(word.replace("_", " ").lower())
    if number is None:
        raise typer.BadParameter(f"--state {word!r} is none of: {', '.join(_STATES)}")
    return number


def _print_orders(found: list[Allocation]) -> None:
    made = table("order", "state", "outcome", "units", "from", "since", "allocation", numbers=("units",))
    for one in found:
        places = ", ".join(dict.fromkeys(shipment.location_id for shipment in one.shipments)) or "-"
        outcome = enum_word(Outcome.Name(one.outcome), "OUTCOME_") + (" (!)" if one.needs_person else "")
        state = enum_word(Allocation.State.Name(one.state), "STATE_")
        units = sum(line.unit_count - line.cancelled_count for line in one.lines)
        named = f"{one.channel_id}/{one.order_id}"
        row(made, named, state, outcome, units, places, clock(one.create_time), one.allocation_id)
    output().print(made)
    if any(one.needs_person for one in found):
        output().print("(!) needs a person, or needed one.")
