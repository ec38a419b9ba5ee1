"""Pools and outlets on the command line: lists, deletions, and availability per outlet."""

from __future__ import annotations

import json
from pathlib import Path

from tests.service.cli.test_cli import Run, imported_shop, run

__all__ = ["run"]

SHOP = {
    "locations": "location_id,type\ndc,warehouse\ns1,store\ns2,store\n",
    "channels": "channel_id,kind\ntiktok,social\n",
    "products": "sku\nMUG\n",
    "pools": "pool_id,display_name,location_ids\nstores,All stores,s1|s2\n",
    "outlets": "channel_id,outlet_id,location_id,pool_id\ntiktok,7311456789012345601,dc,\ntiktok,9,,stores\n",
    "stock": "sku,location_id,on_hand_count\nMUG,dc,40\nMUG,s1,5\nMUG,s2,3\n",
}


def test_outlets_are_listed_shown_and_deleted(run: Run, server_address: str, tmp_path: Path) -> None:
    imported_shop(SHOP, run, server_address, tmp_path)

    def ask(*arguments: str) -> str:
        result = run(*arguments, "--server", server_address)
        assert result.code == 0, result.err
        return result.out + result.err

    assert "All stores" in ask("pools", "--location", "s1")
    assert "7311456789012345601" in ask("outlets", "--channel", "tiktok")
    order = ("--channel", "tiktok", "--order", "1", "--line", "MUG:2", "--sold", "--outlet", "9")
    assert "For outlet 9 of tiktok" in ask("allocate", *order)
    shown = json.loads(ask("availability", "MUG", "--channel", "tiktok", "--outlets", "--json"))["availabilities"][0]
    outlets = {outlet["outlet_id"]: int(outlet["sellable_count"]) for outlet in shown["outlets"]}
    assert sum(outlets.values()) == int(shown["sellable_count"])
    assert "promised here" in ask("availability", "MUG", "--channel", "tiktok", "--outlets")
    assert "7311456789012345601" in ask("stock", "MUG", "--channel", "tiktok")
    kept = ask("pools", "delete", "stores", "--dry-run")
    assert "It is 1 outlet: 9 of tiktok" in kept
    assert "1 open order keeps the locations that it had" in kept
    assert "Deleted outlet 9 of tiktok" in ask("outlets", "delete", "tiktok", "9")
    assert "\n9 " not in ask("outlets", "--csv")


def test_a_row_with_both_a_location_and_a_pool_is_refused(run: Run, server_address: str, tmp_path: Path) -> None:
    path = tmp_path / "outlets.csv"
    path.write_text("channel_id,outlet_id,location_id,pool_id\ntiktok,1,dc,stores\n")

    result = run("import", "outlets", str(path), "--server", server_address)

    assert result.code == 1
    assert "fill in location_id or pool_id, one of them" in result.err
