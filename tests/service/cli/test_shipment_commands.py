"""Shipments and returns on the command line: output, exit codes and error messages."""

from __future__ import annotations

import typing
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli.commands import shipment_commands
from tests.service.cli.test_cli import SOME_ID, Result, Run, imported_shop, run
from truestock.v1 import fulfillment_service_pb2 as fulfillment_pb

__all__ = ["run"]

SHOP = {
    "locations": (
        "location_id,type,country,priority,offers_pickup\ndc,warehouse,US,1,no\nstore-a,store,US,2,yes\nstore-b,store,US,3,no\n"
    ),
    "channels": "channel_id,kind\nshopify,web\n",
    "products": "sku,display_name,price,tags\nMUG,Mug,12.50,\nBOWL,Bowl,20,launch\n",
    "stock": "sku,location_id,on_hand_count\nMUG,dc,10\nMUG,store-a,4\nMUG,store-b,4\nBOWL,dc,1\n",
}


@pytest.fixture
def shop(run: Run, server_address: str, tmp_path: Path) -> Callable[..., Result]:
    """Imports a shop of a warehouse and two stores; returns a function that runs commands against it."""
    return imported_shop(SHOP, run, server_address, tmp_path)


def sold(shop: Run, order_id: str, *lines: str, more: tuple[str, ...] = ()) -> str:
    """Sells an order that ships from one location; returns the id of its shipment."""
    line_options = [word for line in lines for word in ("--line", line)]
    order = shop("allocate", "--channel", "shopify", "--order", order_id, *line_options, *more, "--sold", "--json").data
    (shipment,) = order["shipments"]
    shipment_id: str = shipment["shipment_id"]
    return shipment_id


def states(shop: Run, order_id: str) -> dict[str, str]:
    """The states of an order's shipments, by location."""
    shipments = shop("explain", f"shopify/{order_id}", "--json").data["allocation"]["shipments"]
    return {shipment["location_id"]: shipment["state"].removeprefix("STATE_") for shipment in shipments}


@pytest.mark.parametrize(
    "command", ["accept", "ready", "ship", "undo", "deliver", "collect", "uncollected", "reject", "reassign"]
)
def test_every_shipment_command_has_help_with_an_example(run: Run, command: str) -> None:
    result = run("shipment", command, "--help")

    assert result.code == 0
    assert f"truestock shipment {command} {SOME_ID}" in result.out


@pytest.mark.parametrize("command", ["shipments", "return"])
def test_the_other_commands_have_help_with_an_example(run: Run, command: str) -> None:
    result = run(command, "--help")

    assert result.code == 0
    assert f"truestock {command} " in result.out


def test_every_reason_and_disposition_of_the_api_is_an_option() -> None:
    reasons = {word.removeprefix("REJECT_REASON_") for word, number in fulfillment_pb.RejectReason.items() if number}
    returned = {
        word.removeprefix("RETURN_DISPOSITION_") for word, number in fulfillment_pb.ReturnDisposition.items() if number
    }

    assert {word.upper().replace("-", "_") for word in typing.get_args(shipment_commands.Reason)} == reasons
    assert {word.upper().replace("-", "_") for word in typing.get_args(shipment_commands.Disposition)} == returned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shipment", "accept", "12"), "'12' is not a shipment's id or a part of one; `truestock shipments`"),
        (("shipment", "ship", SOME_ID, "1"), "'1' is not LINE:UNITS, such as 1:2"),
        (("shipment", "ship", SOME_ID, "--at", "today"), "--at 'today' is not a time; write ISO 8601"),
        (("shipment", "ship", SOME_ID, "--at", "2026-11-27T09:00:00"), "has no time zone; add Z for UTC"),
        (("shipment", "reject", SOME_ID), "Missing option '--reason'. Choose from: not-found, damaged,"),
        (("shipment", "reject", SOME_ID, "--reason", "lost"), "'lost' is not one of 'not-found', 'damaged'"),
        (("shipment", "reassign", SOME_ID), "Missing option '--by'"),
        (("shipments", "--state", "done"), "--state 'done' is none of: assigned,"),
        (("shipments", "--all", "--state", "assigned"), "--all and --state exclude each other"),
        (("shipments", "--before", "x"), "--before 'x' is not a time"),
        (("shipments", "--sort", "late"), "--sort 'late' is none of: oldest, newest, due"),
        (("orders", "--number", "12"), "--number '12' is too short; give 3 characters"),
        (("orders", "--status", "sent"), "--status 'sent' is none of: placed,"),
        (("exceptions", "--since", "yesterday"), "--since 'yesterday' is not a time"),
        (
            ("return", "shopify/", "1:1", "--disposition", "damaged"),
            "is neither an allocation's id, nor an order's number, nor",
        ),
        (("return", "shopify/1", "1:1", "--disposition", "bad"), "'bad' is not one of 'sellable', 'inspect'"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)

    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.replace("│", " ").split())


def test_a_work_list_has_the_shipments_still_to_ship(shop: Run) -> None:
    shipped, waiting = sold(shop, "1", "MUG:1"), sold(shop, "2", "MUG:2")
    shop("shipment", "ship", shipped)

    to_do = shop("shipments", "--json").data
    everything = shop("shipments", "--all", "--json").data
    printed = shop("shipments").out

    assert [shipment["shipment_id"] for shipment in to_do] == [waiting]
    assert [shipment["state"] for shipment in everything] == ["STATE_SHIPPED", "STATE_ASSIGNED"]
    assert "shopify/2" in printed
    assert waiting in printed


def test_a_work_list_is_filtered_by_location_state_and_time_up_to_a_limit(shop: Run) -> None:
    first, second = sold(shop, "1", "MUG:1"), sold(shop, "2", "MUG:1")
    shop("shipment", "accept", second)
    assigned = shop("shipments", "--json").data[1]["assign_time"]

    assert shop("shipments", "--location", "store-a", "--json").data == []
    assert [x["shipment_id"] for x in shop("shipments", "--state", "accepted", "--json").data] == [second]
    assert [x["shipment_id"] for x in shop("shipments", "--before", assigned, "--json").data] == [first]
    assert len(shop("shipments", "--limit", "1", "--json").data) == 1
    assert "Only the first 1 shipment;" in shop("shipments", "--limit", "1").err


def test_an_empty_work_list_is_one_sentence(shop: Run) -> None:
    assert "`--all` also lists those that are finished" in shop("shipments").out


def test_the_work_list_shows_what_units_left_in(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:3")
    before = shop("shipments").out
    shop("shipment", "ship", shipment, "1:2", "--carrier", "UPS", "--tracking", "1Z999", "--event-id", "parcel-1")

    assert "parcels" not in before
    assert "UPS 1Z999" in shop("shipments").out


def test_units_ship_by_line_and_a_repeated_event_is_applied_once(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:3", "BOWL:1")
    shop("shipment", "accept", shipment)

    for _ in range(2):
        order = shop("shipment", "ship", shipment, "1:2", "--event-id", "parcel-1", "--json").data
    explained = shop("explain", "shopify/1").out

    assert [(x["shipped_count"], x["promised_count"]) for x in order["lines"]] == [(2, 1), (0, 1)]
    assert states(shop, "1") == {"dc": "ACCEPTED"}
    assert "shipped" in explained
    assert "to ship" in explained


def test_shipped_units_are_delivered_and_returned(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:3")
    shop("shipment", "ship", shipment, "--event-id", "p-1")
    shop("shipment", "deliver", shipment, "--event-id", "d-1")

    for _ in range(2):
        result = shop("return", "shopify/1", "1:1", "--disposition", "sellable", "--to", "store-a", "--event-id", "R-1")

    assert "returned" in result.out
    assert states(shop, "1") == {"dc": "DELIVERED"}
    assert [level["on_hand_count"] for level in shop("stock", "MUG", "--json").data] == [7, 5, 4]


def test_a_return_names_the_location_of_the_units_unless_they_were_not_returned(shop: Run) -> None:
    shop("shipment", "ship", sold(shop, "1", "MUG:3"))

    nowhere = shop("return", "shopify/1", "1:1", "--disposition", "damaged")
    refunded = shop("return", "shopify/1", "1:1", "--disposition", "not-returned", "--json")

    assert (nowhere.code, nowhere.err) == (1, "location_id: must name the location that has the units now\n")
    assert refunded.code == 0


def test_a_pickup_order_waits_until_it_is_collected(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:1", more=("--pickup-at", "store-a"))

    ready = shop("shipment", "ready", shipment).out
    collected = shop("shipment", "collect", shipment, "--json").data

    assert "ready for pickup" in ready
    assert collected["lines"][0]["shipped_count"] == 1
    assert states(shop, "1") == {"store-a": "COLLECTED"}


def test_an_uncollected_pickup_order_returns_to_the_stores_stock(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:1", more=("--pickup-at", "store-a"))

    result = shop("shipment", "uncollected", shipment)

    assert "shopify/1: cancelled" in result.out
    assert states(shop, "1") == {"store-a": "UNCOLLECTED"}


def test_a_rejection_shows_where_the_units_are_rerouted_and_who_resolved_it(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:2")

    rejected = shop("shipment", "reject", shipment, "1:1", "--reason", "not-found").out
    explained = " ".join(shop("explain", "shopify/1").out.split())

    assert states(shop, "1") == {"dc": "ASSIGNED", "store-a": "ASSIGNED"}
    assert "store-a" in rejected
    assert "Exceptions" in explained
    assert "rerouted by policy: Rerouted 1 unit to store-a (rejected)." in explained


def test_a_wholly_rejected_shipment_shows_the_reason(shop: Run) -> None:
    result = shop("shipment", "reject", sold(shop, "1", "MUG:2"), "--reason", "no-capacity")

    assert "rejected (no capacity)" in result.out


def test_backordered_units_are_shown_apart_from_other_shortages(shop: Run) -> None:
    order = shop("allocate", "--channel", "shopify", "--order", "1", "--line", "BOWL:3", "--sold")

    explained = shop("explain", "shopify/1").out

    assert "on backorder; oversold: no permitted location has it (not told)" in order.out
    assert "on backorder" in explained
    assert "BOWL: 2 units oversold, not told: no figure was published to the channel." in explained
    assert "backordered by policy" in explained


def test_a_person_reassigns_a_shipment_to_a_location_with_enough_stock(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:2")

    moved = shop("shipment", "reassign", shipment, "--to", "store-b", "--by", "kim")
    explained = shop("explain", "shopify/1").out

    assert "This order needs or needed manual intervention" in moved.out
    assert states(shop, "1") == {"dc": "CANCELLED", "store-b": "ASSIGNED"}
    assert "kim moved 2 units from dc to store-b." in explained
    assert "This order needed manual intervention; it has no open exceptions." in explained


def test_a_location_with_too_little_stock_is_refused_and_nothing_moves(shop: Run) -> None:
    result = shop("shipment", "reassign", sold(shop, "1", "MUG:5"), "--to", "store-b", "--by", "kim")

    assert result.code == 1
    assert "stays at dc: store-b has 4 units of MUG available, and it needs 5; name another location" in result.err
    assert states(shop, "1") == {"dc": "ASSIGNED"}


def test_a_refused_call_prints_one_sentence_and_exits_with_code_1(shop: Run) -> None:
    shipment = sold(shop, "1", "MUG:2")

    too_many = shop("shipment", "ship", shipment, "1:9")
    no_pickup = shop("shipment", "collect", shipment)
    unknown = shop("shipment", "accept", str(uuid.uuid4()))

    assert (too_many.code, too_many.err) == (
        1,
        "line 1 has 2 units remaining, so 9 cannot be shipped; nothing was changed, so correct the count\n",
    )
    assert "ship and deliver are for orders that are shipped" in no_pickup.err
    assert "no shipment" in unknown.err
