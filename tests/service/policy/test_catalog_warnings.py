"""Rules in force and rules of a folder, held against the catalog of a running service."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from service import limits
from service.catalog.fact_values import CATALOG_FACTS
from service.cli.main import main
from service.policy.catalog_warnings import WAIT_SECONDS
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, eventually
from tests.service.test_bad_input import refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, order_pb2, policy_service_pb2 as policy_pb

BUFFER = """\
kind: buffer
name: floor
scope: location
rules:
  - name: two
    when: {channel.id: [web, webb], location.id: denver, location.tags: {contains: mall}}
    hold_back: {units: 2}
  - {name: three, when: {product.sku: [MUG, mug, 42], product.brand: Acme}, hold_back: {units: 3}}
  - {name: four, when: {product.tags: {contains_any: [gift, gifts]}, product.category: cups}, hold_back: {units: 4}}
  - {name: five, when: {destination.region: [Colorado, QC, XX], destination.country: UK}, hold_back: {units: 5}}
  - {name: six, when: {stock.source: [counter, till]}, hold_back: {units: 6}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The plain rules, and rules that name much that a catalog may not have."""
    rules = tmp_path / "rules"
    shutil.copytree(PLAIN_RULES, rules)
    (rules / "floor.yaml").write_text(BUFFER)
    return rules


@pytest.fixture
async def shop(retailers: RetailerMaker, folder: Path) -> Retailer:
    """A retailer with these rules, a location in Texas that ships to two countries, and a few products."""
    shop = await retailers.make(folder)
    await shop.stock({("MUG", "store-denver"): 5})
    # These write the whole records again.
    await shop.locations("store-denver", country="US", region="TX", ships_to=catalog_pb.CountryList(countries=["CA"]))
    await shop.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(
            products=[
                catalog_pb.Product(sku="MUG", display_name="Mug", tags=["gift"], category="Cups"),
                catalog_pb.Product(sku="0042", display_name="Lamp"),
            ]
        )
    )
    return shop


async def test_the_rules_in_force_are_held_against_the_catalog(shop: Retailer) -> None:
    answer = await policy_set(shop)

    assert {(warning.line, value(warning)): suggestion(warning) for warning in answer.warnings} == {
        (6, "webb"): "web",
        (6, "denver"): "store-denver",
        (6, "mall"): "",
        (8, "mug"): "MUG",
        (8, "42"): "0042",
        (8, "Acme"): "",
        (9, "gifts"): "gift",
        (9, "cups"): "Cups",
        (10, "Colorado"): "CO",
        (10, "XX"): "",
        (10, "UK"): "",
        (11, "till"): "",
    }
    assert answer.warning_count == len(answer.warnings) == shop.metric("policy_warnings")
    assert {warning.code for warning in answer.warnings} == {"not-in-catalog"}


async def test_every_fact_of_the_catalog_can_be_looked_up(shop: Retailer) -> None:
    named = [policy_pb.FactValues(fact=fact, values=["nowhere"]) for fact in (*CATALOG_FACTS, "order.tags")]

    answer = await shop.policies.FindFactValues(policy_pb.FindFactValuesRequest(facts=named))

    assert {fact.fact for fact in answer.facts} == set(CATALOG_FACTS)
    assert all(list(fact.existing_values) == [] for fact in answer.facts)


async def test_a_warning_ends_when_the_catalog_has_the_value_and_when_the_rules_no_longer_name_it(
    shop: Retailer, folder: Path
) -> None:
    assert "denver" in {value(warning) for warning in (await policy_set(shop)).warnings}
    await shop.locations("denver")
    assert "denver" not in {value(warning) for warning in (await policy_set(shop)).warnings}

    (folder / "floor.yaml").unlink()

    async def has_none() -> bool:
        return not (await policy_set(shop)).warnings

    await eventually(has_none)


async def test_a_region_that_an_order_went_to_is_known(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.policy.catalog_warnings.RECHECK_SECONDS", 0)
    assert "XX" in {value(warning) for warning in (await policy_set(shop)).warnings}

    destination = order_pb2.Destination(country="US", region="XX")
    await shop.allocate("1", {"MUG": 1}, HOLD, destination=destination)

    assert "XX" not in {value(warning) for warning in (await policy_set(shop)).warnings}


async def test_a_catalog_without_records_gives_no_warning(retailers: RetailerMaker, folder: Path) -> None:
    shop = await retailers.make(folder)

    # The channel is the only record.
    assert {value(warning) for warning in (await policy_set(shop)).warnings} == {"webb"}


async def test_warnings_are_bounded_and_all_are_counted(
    shop: Retailer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "POLICY_WARNINGS", 3)

    answer = await policy_set(shop)

    assert (len(answer.warnings), answer.warning_count) == (3, 12)


@pytest.mark.long
async def test_a_hundred_thousand_products_are_not_loaded(
    shop: Retailer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However busy the machine is, the answer has the warnings of now; what they cost is measured.
    monkeypatch.setattr("service.policy.catalog_warnings.WAIT_SECONDS", 60.0)
    await shop.sql(
        "INSERT INTO product (sku, display_name, status, tags, category, brand)"
        " SELECT 'SKU-' || lpad(n::text, 6, '0'), 'x', 'active', ARRAY['tag-' || n % 300], 'c-' || n % 50, 'Acmee'"
        " FROM generate_series(1, 100000) n"
    )
    named = ", ".join(f"sku-{number:06}" for number in range(1, 1_000))
    rule = f"kind: exposure\nname: e\nrules:\n  - {{name: e, when: {{product.sku: [{named}]}}, block: no}}\n"
    (folder / "many.yaml").write_text(rule)

    async def is_counted() -> bool:
        return (await policy_set(shop)).warning_count > 1_000

    await eventually(is_counted)
    # An edit of the catalog has the warnings found again, and the answer waits for that.
    await shop.locations("another")
    # Of this process, which is the service's: not what a busy machine does meanwhile.
    started = time.process_time()
    answer = await policy_set(shop)
    seconds = time.process_time() - started

    assert seconds < WAIT_SECONDS, "an answer would have the warnings of before"
    assert suggestion(next(w for w in answer.warnings if value(w) == "sku-000001")) == "SKU-000001"
    assert suggestion(next(w for w in answer.warnings if value(w) == "Acme")) == "Acmee"


async def test_a_folder_is_held_against_the_catalog_of_a_service(
    shop: Retailer, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # More values than one request takes.
    monkeypatch.setattr(limits, "FACT_VALUES", 2)
    server = ["--server", shop.service.address]

    code, out = await run(capsys, "check", str(folder), "--allow-untested", *server)

    assert code == 0
    assert "warning: rules/floor.yaml:6:30: rule 'two' names 'webb' as channel.id, but no channel has this id" in out
    assert "help: did you mean 'store-denver'?" in out
    assert "12 warnings: the catalog does not have what the rules name" in out

    code, out = await run(capsys, "check", str(folder), "--allow-untested", "--json", *server)
    report = json.loads(out)
    listed = {(warning["line"], warning["message"], warning["help"]) for warning in report["warnings"]}

    assert (code, report["warning_count"], report["problems"]) == (0, 12, [])
    assert listed == {(w.line, w.message, w.help) for w in (await policy_set(shop)).warnings}

    code, out = await run(capsys, "policies", *server)
    assert code == 0
    assert "12 warnings: there are values that the rules name and the catalog does not have." in out
    assert "did you mean 'store-denver'?" in out


async def test_values_to_look_up_are_bounded(retailer: Retailer) -> None:
    many = [str(number) for number in range(limits.FACT_VALUES + 1)]
    bad: list[tuple[list[tuple[str, list[str]]], str]] = [
        ([], "facts"),
        ([("channel.name", ["web"])], "facts[0].fact"),
        ([("channel.id", [""])], "facts[0].values[0]"),
        ([("channel.id", ["x" * 501])], "facts[0].values[0]"),
        ([("channel.id", many)], "facts"),
        ([("channel.id", ["web"])] * (limits.NAMED_FACTS + 1), "facts"),
    ]
    for facts, field in bad:
        named = [policy_pb.FactValues(fact=fact, values=values) for fact, values in facts]

        refusal = await refused(retailer.policies.FindFactValues(policy_pb.FindFactValuesRequest(facts=named)))

        assert refusal.fields == [field]


async def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Runs one command as the shell would."""

    def run_main() -> int:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        return caught.value.code if isinstance(caught.value.code, int) else 0

    code = await asyncio.to_thread(run_main)
    return code, capsys.readouterr().out


async def policy_set(shop: Retailer) -> policy_pb.GetPolicySetResponse:
    answer: policy_pb.GetPolicySetResponse = await shop.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
    return answer


def value(warning: Any) -> str:
    """The value that a warning is about."""
    return str(warning.message.split(" names '")[1].split("'")[0])


def suggestion(warning: Any) -> str:
    """The value that a warning suggests."""
    return str(warning.help.partition("did you mean '")[2].partition("'")[0])
