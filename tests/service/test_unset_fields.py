"""Unknown is never 0: what a field that the caller leaves out means, for every field of the records of callers.

A new field has to be entered here. Where it has no presence of its own, the comment in the `.proto` file must say what
leaving it out means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from policies.domain.model import Context
from policies.facts.fact_table import FACTS, FactType
from service.catalog import catalog_store
from service.cli.files.file_kinds import KINDS
from service.cli.files.import_file import read_import
from service.database.database import Database
from service.metrics import Metrics
from tests.retailer import Retailer
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

REQUIRED, OUTPUT, CALL = "required", "set by the service", "of the call, not of the record"
UNSET = "stays unset: unknown"
NONE = "stays empty: has none"
"""For lists and texts."""


@dataclass(frozen=True, slots=True)
class Default:
    """The field is shown with this value, which the trade takes for granted."""

    value: object


Meaning = str | Default

LOCATION: Mapping[str, Meaning] = {
    "location_id": REQUIRED,
    "type": REQUIRED,
    "status": Default(catalog_pb.Location.STATUS_OPEN),
    "display_name": NONE,
    "tags": NONE,
    "country": UNSET,
    "region": UNSET,
    "postal_code": UNSET,
    "coordinates": UNSET,
    "time_zone": Default("UTC"),
    "offers_pickup": Default(False),
    "handling_minutes": UNSET,
    "priority": UNSET,
    "ships_to": UNSET,
    "working_time": UNSET,
    "capacity": UNSET,
}
PRODUCT: Mapping[str, Meaning] = {
    "sku": REQUIRED,
    "display_name": NONE,
    "status": Default(catalog_pb.Product.STATUS_ACTIVE),
    "tags": NONE,
    "category": UNSET,
    "brand": UNSET,
    "price": UNSET,
    "style": UNSET,
    "barcode": NONE,
    "image_uri": NONE,
    "dimensions": UNSET,
    "velocity_per_day": UNSET,
    "learned_velocity_per_day": OUTPUT,
    "weight_grams": UNSET,
    "images": NONE,
    "attributes": NONE,
}
CHANNEL: Mapping[str, Meaning] = {
    "channel_id": REQUIRED,
    "kind": REQUIRED,
    "display_name": NONE,
    "location_ids": NONE,
    "cancellation_headroom": UNSET,
    "platform": UNSET,
    "figure_lag_seconds": Default(0),
    "unpaid_order_duration": UNSET,
    "cancellation_default": Default(catalog_pb.CANCELLATION_DEFAULT_UNSPECIFIED),
    "markets": NONE,
}
ORDER: Mapping[str, Meaning] = {
    "channel_id": REQUIRED,
    "order_id": REQUIRED,
    "lines": REQUIRED,
    "commitment": REQUIRED,
    "method": Default(order_pb2.FULFILLMENT_METHOD_SHIP),
    "destination": UNSET,
    "pickup_location_id": UNSET,
    "hold_duration": CALL,
    "order_value": UNSET,
    "priority": UNSET,
    "tags": NONE,
    "validate_only": CALL,
    "candidate_revision": CALL,
    "ship_by_time": UNSET,
    "deliver_by": UNSET,
    "deliver_within_days": UNSET,
    "explain": CALL,
    "request_id": CALL,
    "channel_update_time": UNSET,
    "copy_of": UNSET,
    "channel_status": UNSET,
    "hold": UNSET,
    "outlet_id": UNSET,
}
ORDER_LINE: Mapping[str, Meaning] = {
    "line_id": Default("1"),
    "sku": REQUIRED,
    "unit_count": REQUIRED,
    "unit_price": UNSET,
    "item_id": UNSET,
    "only_location_ids": NONE,
    "not_location_ids": NONE,
    "keep_together": NONE,
}
SHOWN_AS = {"order_value": "stated_value"}
"""Fields that decisions show under another name."""

KNOWN_WITHOUT_A_STATEMENT = {
    "location.id": "soho",
    "location.type": "store",
    "location.status": "open",
    "location.tags": frozenset[str](),
    "location.offers_pickup": False,
    "location.serves_destination": True,
    "product.sku": "MUG",
    "product.tags": frozenset[str](),
    "product.has_dimensions": False,
    "product.has_barcode": False,
    "product.has_image": False,
    "product.status": "active",
    "channel.id": "web",
    "channel.kind": "web",
}
"""Facts about records that state nothing but what is required; all others about them are unknown."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """A store, a product and a channel that state only what is required."""
    store = catalog_pb.Location(location_id="soho", type=catalog_pb.Location.TYPE_STORE)
    await retailer.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[store]))
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="MUG")]))
    return retailer


@pytest.mark.parametrize(
    ("message", "meanings"),
    [
        (catalog_pb.Location, LOCATION),
        (catalog_pb.Product, PRODUCT),
        (catalog_pb.Channel, CHANNEL),
        (allocation_pb.AllocateOrderRequest, ORDER),
        (order_pb2.OrderLine, ORDER_LINE),
    ],
)
def test_somebody_decided_what_each_field_means_when_it_is_left_out(
    message: Any, meanings: Mapping[str, Meaning]
) -> None:
    fields = {field.name: field for field in message.DESCRIPTOR.fields}

    assert set(fields) == set(meanings)
    numbers = [name for name, field in fields.items() if field.cpp_type not in _WITHOUT_ZERO and not field.is_repeated]
    without_presence = {name for name in numbers if not fields[name].has_presence}
    # A number or flag that cannot be left out must have a meaning for 0 or false, or be required.
    assert not {name for name in without_presence if meanings[name] in (UNSET, NONE)}


async def test_what_a_record_does_not_state_is_shown_as_not_stated(shop: Retailer) -> None:
    locations = (await shop.catalog.ListLocations(catalog_pb.ListLocationsRequest())).locations
    products = (await shop.catalog.ListProducts(catalog_pb.ListProductsRequest())).products
    channels = (await shop.catalog.ListChannels(catalog_pb.ListChannelsRequest())).channels
    order = await shop.allocate("A-1", {"MUG": 1})
    inputs = (await shop.decision(order.decision.decision_id)).inputs.order

    shown = {
        "location": _shown(locations[0], LOCATION),
        "product": _shown(products[0], PRODUCT),
        "channel": _shown(channels[0], CHANNEL),
        "order": _shown(inputs, {name: x for name, x in ORDER.items() if name not in _ONLY_IN_ALLOCATIONS}),
        "line": _shown(inputs.lines[0], ORDER_LINE),
    }
    assert shown == {name: {} for name in shown}
    assert list(inputs.unit_prices) == [""]
    assert not order.HasField("channel_update_time")
    assert (order.channel_status, list(order.copies)) == ("", [])


async def test_rules_see_what_a_record_does_not_state_as_unknown(shop: Retailer) -> None:
    database = await Database.open(shop.database_url, Metrics(CollectorRegistry()), connections=1)
    try:
        catalog = await database.unlocked("catalog", catalog_store.read)
        _, products = await database.unlocked("products", lambda c: catalog_store.products(c, ["MUG"]))
        (row,) = await shop.sql("SELECT now() AS now")
    finally:
        await database.close()
    context = Context(row["now"], catalog.channels["web"], location=catalog.locations["soho"], product=products["MUG"])

    known = {
        name: value
        for name, fact in FACTS.items()
        if fact.group in ("location", "product", "channel") and (value := fact.read(context)) is not None
    }
    assert known == KNOWN_WITHOUT_A_STATEMENT
    assert not [name for name in known if FACTS[name].type is FactType.NUMBER]


async def test_coordinates_that_nobody_filled_in_are_unknown(shop: Retailer) -> None:
    await shop.locations("soho", coordinates={})
    (location,) = (await shop.catalog.ListLocations(catalog_pb.ListLocationsRequest())).locations

    order = await shop.allocate("A-1", {"MUG": 1}, destination=order_pb2.Destination(region="03", coordinates={}))

    assert not location.HasField("coordinates")
    destination = (await shop.decision(order.decision.decision_id)).inputs.order.destination
    assert (destination.region, destination.HasField("coordinates")) == ("03", False)


@pytest.mark.parametrize(
    ("kind", "header", "row", "required"),
    [
        ("locations", "location_id,type", "soho,store", ("location_id", "type")),
        ("products", "sku", "MUG", ("sku",)),
        ("channels", "channel_id,kind", "web,web", ("channel_id", "kind")),
    ],
)
def test_an_empty_cell_states_nothing(
    tmp_path: Path, kind: str, header: str, row: str, required: tuple[str, ...]
) -> None:
    others = [column.name for column in KINDS[kind].columns if column.name not in required]
    path = tmp_path / "file.csv"
    path.write_text(f"{header},{','.join(others)}\n{row}{',' * len(others)}\n")

    (record,) = read_import(path, kind).records
    assert [field.name for field, _ in record.message.ListFields()] == list(required)


_ONLY_IN_ALLOCATIONS = ("channel_update_time", "copy_of", "channel_status")
_WITHOUT_ZERO = (9, 10)
"""Types of protobuf for texts and for messages, in which "" and absence say that nothing is stated."""


def _shown(message: Message, meanings: Mapping[str, Meaning]) -> dict[str, object]:
    """The fields that are shown otherwise than they should be when nobody stated them."""
    wrong: dict[str, object] = {}
    for name, meaning in meanings.items():
        if meaning in (REQUIRED, OUTPUT, CALL):
            continue
        field = message.DESCRIPTOR.fields_by_name.get(SHOWN_AS.get(name, name))
        if field is None:
            continue
        value = getattr(message, field.name)
        is_stated = message.HasField(field.name) if field.has_presence else bool(value)
        if value != meaning.value if isinstance(meaning, Default) else is_stated:
            wrong[name] = value
    return wrong
