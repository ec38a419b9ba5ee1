"""A list that ends at --limit says so on stderr, also to a program that reads its JSON or CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.main import get_command

from service.cli.main import app
from tests.service.cli.test_cli import Result, Run, imported_shop, run
from tests.service.cli.test_errors_as_json import commands

__all__ = ["run"]

FILES = {
    "locations": "location_id,type,country,tags\ndc,warehouse,US,north\nstore-a,store,US,south\n",
    "channels": "channel_id,kind\nshopify,web\nwebshop,web\n",
    "products": "sku,display_name,category\nMUG,Mug,drinking\nBOWL,Bowl,eating\nSET,Set,\nPAIR,Pair,\n",
    "stock": "sku,location_id,on_hand_count\nMUG,dc,10\nMUG,store-a,4\nBOWL,dc,8\n",
    "kits": "sku,components\nSET,MUG:2\nPAIR,BOWL:2\n",
    "listings": "channel_id,item_id,sku\nshopify,1,MUG\nshopify,2,BOWL\n",
    "pools": "pool_id,location_ids\nonline,dc\nstores,store-a\n",
    "outlets": "channel_id,outlet_id,pool_id\nshopify,1,online\nshopify,2,stores\n",
}
LISTS = (
    ("locations",),
    ("tags",),
    ("categories",),
    ("products",),
    ("channels", "list"),
    ("listings",),
    ("kits",),
    ("pools",),
    ("outlets",),
    ("stock",),
    ("stock", "MUG"),
    ("movements",),
    ("transfer", "list"),
    ("orders",),
    ("shipments", "--all"),
    ("exceptions",),
    ("history", "demand"),
    ("history", "demand", "--by-day"),
    ("history", "catalog"),
    ("audit", "list"),
)
GROUPS = {"channels", "transfer", "history", "audit"}
ELSEWHERE = {
    ("channels", "inbox"),
    ("channel-figures",),
    ("history", "rules"),
    ("rules", "revisions"),
    ("products", "check"),
    ("pickup-locations",),
    ("replay-decision",),
    ("replay-orders",),
}
"""Commands with --limit that need other data, or whose answer says itself how many there are."""


@pytest.fixture
def shop(run: Run, server_address: str, tmp_path: Path) -> Callable[..., Result]:
    """A shop with two entries or more in each list; returns a function that runs commands against it."""
    ask = imported_shop(FILES, run, server_address, tmp_path)
    for number, sku in enumerate(("MUG", "BOWL")):
        sent = ask("transfer", "dispatch", f"T-{number}", f"{sku}:1", "--from", "dc", "--to", "store-a")
        assert sent.code == 0, sent.err
        for order, units, paid in (("sold", 1, "--sold"), ("cart", 50, "--hold"), ("short", 90, "--sold")):
            ask("allocate", "--channel", "shopify", "--order", f"{order}-{number}", "--line", f"{sku}:{units}", paid)
    return ask


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_a_list_that_is_cut_says_so(shop: Callable[..., Result], form: Sequence[str]) -> None:
    for command in LISTS:
        cut, whole = shop(*command, "--limit", "1", *form), shop(*command, *form)

        assert (cut.code, whole.code) == (0, 0), (command, cut.err, whole.err)
        assert "raise --limit for more" in cut.err, (command, cut.err, cut.out)
        assert "--limit" not in cut.out, command
        assert "--limit" not in whole.err + whole.out, command


def test_every_list_with_a_limit_is_tried() -> None:
    tried = {words[:2] if words[0] in GROUPS else words[:1] for words in LISTS}
    assert tried | ELSEWHERE == set(commands(get_command(app), option="--limit"))
