"""Ids that a person has cut short: completed, or refused with what they may mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.cli.test_cli import SHOP, SOME_ID, Result, Run, run

__all__ = ["run"]


@pytest.fixture
def shop(run: Run, server_address: str, tmp_path: Path) -> Callable[..., Result]:
    """A shop with two channels and the orders shopify/1001, shopify/77 and till/77."""

    def ask(*arguments: str) -> Result:
        return run(*arguments, "--server", server_address)

    for name, content in {**SHOP, "channels": "channel_id,kind\nshopify,web\ntill,pos\n"}.items():
        (tmp_path / f"{name}.csv").write_text(content)
        assert ask("import", name, str(tmp_path / f"{name}.csv")).code == 0
    for channel, order in (("shopify", "1001"), ("shopify", "77"), ("till", "77")):
        assert ask("allocate", "--channel", channel, "--order", order, "--line", "MUG:1", "--sold").code == 0
    return ask


def test_every_command_takes_a_part_of_an_id(shop: Run) -> None:
    explained = shop("explain", "1001", "--json").data
    allocation = explained["allocation"]
    shipment, decision = allocation["shipments"][0]["shipment_id"], explained["timeline"][0]["decision_id"]
    id = allocation["allocation_id"]

    for part in (id, id[-8:], id.upper()[-12:], id[:30], id.replace("-", "")):
        assert shop("explain", part).out.startswith("shopify/1001: "), part
    assert shop("replay-decision", decision[-8:]).out.startswith("Identical")
    assert shop("movements", "--order", id[-8:]).code == 0
    assert shop("shipment", "accept", shipment[-8:]).out.startswith("shopify/1001: ")
    assert shop("cancel", "1001", "--all").code == 0


def test_a_part_that_is_ambiguous_is_refused_with_what_it_may_mean(shop: Run) -> None:
    number = shop("explain", "77")
    whole = shop("explain", "shopify/1001", "--json").data["allocation"]["allocation_id"]
    beginning = shop("explain", whole[:6])

    assert (number.code, number.out) == (1, "")
    assert number.err.startswith("'77' stands for more than one allocation; write more of it:")
    assert "shopify/77" in number.err
    assert "till/77" in number.err
    assert beginning.err.count("\n") == 4


def test_what_no_id_is_like_is_named(shop: Run) -> None:
    assert "no allocation has an id like '9999'; `truestock orders` lists" in shop("explain", "9999").err
    assert "no shipment has an id like 'abcdef12'" in shop("shipment", "accept", "abcdef12").err
    assert shop("replay-decision", SOME_ID).err.startswith(f"no decision '{SOME_ID}'")
    assert shop("exceptions", "show", "abcde").code == 2


def test_a_transfer_is_found_by_its_beginning_only_where_that_is_marked_as_cut_short(shop: Run) -> None:
    for number in ("T-10", "T-20"):
        shop("transfer", "dispatch", number, "MUG:1", "--from", "dc", "--to", "store-a")

    assert "no transfer 'T-1'" in shop("transfer", "receive", "T-1", "--complete").err
    assert "T-20  dc to store-a" in shop("transfer", "receive", "T-...", "--complete").err
    assert shop("transfer", "receive", "T-1...", "--complete").out.startswith("Transfer T-10 from dc")
    assert shop("transfer", "cancel", "T-2…").out.startswith("Transfer T-20 from dc")
