"""A channel gets ready step by step, each as the answer says; and a broken thing turns its own question red."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from policies.readiness.service_answers import ALERTS
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, eventually
from tests.service.readiness.scratch_rights import let_services_make_schemas
from truestock.v1 import catalog_service_pb2 as catalog_pb, policy_service_pb2 as policy_pb, readiness_service_pb2

FAIL, WARN = readiness_service_pb2.READINESS_RESULT_FAIL, readiness_service_pb2.READINESS_RESULT_WARN
PASS = readiness_service_pb2.READINESS_RESULT_PASS
ROUTING = """\
kind: routing
policies:
  - name: everything
    position: 100
    only: {location.serves_destination: true}
    rank: [deepest_stock]
    otherwise: exception
"""
ROUTING_TEST = """\
suite: Routing
now: 2026-11-27T09:00:00Z
locations: {dc: {type: warehouse}, at-home: {type: warehouse, ships_to: [US]}}
products: {MUG: }
channels: {web: {kind: web}}
tests:
  - name: The warehouse ships
    given: {channel: web, destination: {country: US}, lines: {MUG: 1}, stock: {dc: {MUG: 5}}}
    expect: {outcome: allocated, policy: everything, because: []}
  - name: Nothing ships where no location serves
    given: {channel: web, destination: {country: DE}, lines: {MUG: 1}, stock: {at-home: {MUG: 5}}}
    expect: {outcome: unfillable, because: [only]}
"""
OWNERS = """\
kind: exception
owners:
  - {name: desk, contact: desk@shop.example}
"""
DESK = """\
kind: exception
rules:
  - {name: everything, position: 100, do: review, owner: desk, due_in: 1d}
"""
DESK_TEST = """\
suite: Owners
now: 2026-11-27T09:00:00Z
tests:
  - name: The desk gets everything
    given: {exception: oversell}
    expect: {do: review, owner: desk, because: [everything]}
"""
BUFFER = """\
kind: buffer
name: totals
scope: channel
rules:
  - {name: two-for-the-counter, when: {channel.kind: web}, hold_back: {units: 2}}
"""
BUFFER_TEST = """\
suite: Buffers
now: 2026-11-27T09:00:00Z
locations: {dc: {type: warehouse}}
products: {MUG: }
channels: {web: {kind: web}}
tests:
  - name: Two units stay
    given: {channel: web, product: MUG, location: dc, available: 5}
    expect: {sellable: 3, because: [two-for-the-counter]}
"""
COMPLETE = {
    "barcode": "4006381333931",
    "category": "kitchen",
    "image_uri": "https://shop.example/mug.jpg",
    "dimensions": catalog_pb.PackageDimensions(weight_grams=350, length_mm=100, width_mm=100, height_mm=90),
}


class Checklist:
    """The checklist of one channel, asked again after each step."""

    def __init__(self, shop: Retailer, rules: Path) -> None:
        self.shop = shop
        self.rules = rules
        self.prometheus: readiness_service_pb2.PrometheusState | None = None

    async def answers(self) -> dict[str, readiness_service_pb2.ReadinessAnswer]:
        request = readiness_service_pb2.CheckReadinessRequest(channel_id="web", prometheus=self.prometheus)
        answer = await self.shop.readiness.CheckReadiness(request, timeout=60)
        return {x.question: x for x in answer.answers}

    async def advice(self) -> dict[str, str]:
        """What to do, by question that does not pass."""
        return {name: x.advice for name, x in (await self.answers()).items() if x.result != PASS}

    async def failed(self) -> set[str]:
        return {name for name, x in (await self.answers()).items() if x.result == FAIL}

    async def write(self, files: dict[str, str]) -> None:
        """Saves files of the rules folder, empty ones as deleted, and waits until they are in force."""
        for name, content in files.items():
            path = self.rules / name
            path.unlink() if not content else path.write_text(content)
        rule_files = {name: bool(content) for name, content in files.items() if "_test" not in name}

        async def is_in_force() -> bool:
            answer = await self.shop.policies.GetPolicySet(policy_pb.GetPolicySetRequest())
            in_force = {Path(file.path).name for file in answer.files}
            return all((name in in_force) == is_wanted for name, is_wanted in rule_files.items())

        await eventually(is_in_force)

    async def locations(self, *locations: catalog_pb.Location) -> None:
        await self.shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))

    async def products(self, **fields: Any) -> None:
        product = catalog_pb.Product(sku="MUG", **fields)
        await self.shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))

    async def channel(self, **fields: Any) -> None:
        channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc"], **fields)
        await self.shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))

    async def scrape(self) -> None:
        """Reads the metrics, as Prometheus does."""
        url = f"http://{self.shop.service.metrics_address}/metrics"
        request = urllib.request.Request(url, headers={"User-Agent": "Prometheus/3.5.0"})
        with urllib.request.urlopen(request) as answer:  # noqa: ASYNC210 - the port has a thread of its own
            answer.read()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "routing.yaml").write_text(ROUTING)
    (folder / "desk.yaml").write_text(DESK)
    return folder


@pytest.fixture
async def checklist(retailers: RetailerMaker, rules: Path) -> Checklist:
    return Checklist(await retailers.make(rules), rules)


def warehouse(**fields: Any) -> catalog_pb.Location:
    return catalog_pb.Location(location_id="dc", type=catalog_pb.Location.TYPE_WAREHOUSE, country="US", **fields)


@pytest.mark.long
async def test_a_channel_gets_ready_by_doing_what_the_answers_say(checklist: Checklist) -> None:
    advice = await checklist.advice()
    assert "import products" in advice["product_data"]
    await checklist.products()
    assert "add one that is open" in advice["locations_decided"]
    await checklist.locations(warehouse(ships_to=catalog_pb.CountryList(countries=["CA"])))

    advice = await checklist.advice()
    assert "complete them" in advice["product_data"]
    await checklist.products(**COMPLETE)
    assert "name its locations" in advice["locations_decided"]
    await checklist.channel()
    assert "the feed or till there runs" in advice["counts_fresh"]
    await checklist.shop.count({("MUG", "dc"): 10})
    assert "the `ships_to` of a location" in advice["destinations_covered"]
    await checklist.locations(warehouse(ships_to=catalog_pb.CountryList(countries=["CA", "US"])))
    assert "`markets`" in (await checklist.advice())["destinations_covered"]
    await checklist.channel(markets=["US"])
    assert "rules/buffers/" in advice["buffers_in_place"]
    assert "write a test" in advice["buffers_tested"]
    assert "under `owners:` in rules/" in advice["owners_declared"]
    tests = {"buffers_test.yaml": BUFFER_TEST, "routing_test.yaml": ROUTING_TEST, "desk_test.yaml": DESK_TEST}
    await checklist.write({**tests, "buffers.yaml": BUFFER, "owners.yaml": OWNERS})
    assert "GRANT CREATE ON DATABASE" in (await checklist.advice())["path_return"]
    await let_services_make_schemas(checklist.shop)
    assert "scrape /metrics" in advice["metrics_scraped"]
    await checklist.scrape()
    assert "--prometheus" in advice["alerts_loaded"]
    checklist.prometheus = readiness_service_pb2.PrometheusState(alert_names=ALERTS)

    assert await checklist.advice() == {}
    assert checklist.shop.metric("readiness_answers", channel="web", result="fail") == 0

    # Broken again, each thing turns its own question red.
    await checklist.channel(markets=["US", "DE"])
    assert await checklist.failed() == {"destinations_covered"}
    await checklist.channel(markets=["US"])
    await checklist.shop.list_item("web", "1729", "MUG")
    await checklist.products(**{name: value for name, value in COMPLETE.items() if name != "dimensions"})
    assert await checklist.failed() == {"product_data"}
    await checklist.products(**COMPLETE)
    await checklist.shop.sql("UPDATE stock_level SET as_of_time = as_of_time - interval '1 day'")
    assert await checklist.failed() == {"counts_fresh"}
    await checklist.shop.count({("MUG", "dc"): 10})
    await checklist.write({"owners.yaml": ""})
    assert await checklist.failed() == {"owners_declared"}
    await checklist.write({"owners.yaml": OWNERS, "buffers.yaml": "", "buffers_test.yaml": ""})
    answers = await checklist.answers()
    assert {name for name, x in answers.items() if x.result == FAIL} == {"buffers_in_place"}

    broken, whole = answers["buffers_in_place"], answers["counts_fresh"]
    assert (
        broken.since_time == broken.last_pass_time
        or broken.since_time.ToDatetime() > broken.last_pass_time.ToDatetime()
    )
    assert whole.last_pass_time.ToDatetime(UTC) > datetime.now(UTC) - timedelta(minutes=1)
    listed = await checklist.shop.readiness.ListReadinessChecks(
        readiness_service_pb2.ListReadinessChecksRequest(channel_id="web")
    )
    assert [list(check.failed_questions) for check in listed.checks][:5] == [
        ["buffers_in_place"],
        ["owners_declared"],
        ["counts_fresh"],
        ["product_data"],
        ["destinations_covered"],
    ]


async def test_a_channel_that_does_not_exist_is_named_with_those_that_do(retailer: Retailer) -> None:
    request = readiness_service_pb2.CheckReadinessRequest(channel_id="wbe")

    with pytest.raises(grpc.aio.AioRpcError, match="these are the channels: web") as raised:
        await retailer.readiness.CheckReadiness(request)

    assert raised.value.code() == grpc.StatusCode.NOT_FOUND
