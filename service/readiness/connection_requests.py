"""What connectors say of their accounts, checked."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from service import limits
from service.rpc.validation import Fields
from truestock.v1 import connection_pb2 as connection_pb


def connection_request(request: connection_pb.UpsertConnectionRequest) -> connection_pb.Connection:
    """What the request says, with a time of the look at the shop. Raises InvalidFields with everything wrong."""
    fields = Fields()
    checked = connection_pb.Connection()
    checked.CopyFrom(request.connection)
    fields.retailer_id("connection.channel_id", checked.channel_id)
    fields.text("connection.account", checked.account, longest=limits.ID_LENGTH, required=True)
    fields.text("connection.pause_reason", checked.pause_reason, longest=limits.CONNECTION_TEXT_LENGTH)
    for field, value in checked.ListFields():
        if isinstance(value, Timestamp):
            fields.moment(f"connection.{field.name}", value, given=True)
    if checked.HasField("shop"):
        _shop(fields, checked.shop)
    fields.finish()
    return checked


def delete_request(request: connection_pb.DeleteConnectionRequest) -> str:
    """The channel whose connector is forgotten. Raises InvalidFields."""
    fields = Fields()
    channel_id = fields.retailer_id("channel_id", request.channel_id)
    fields.finish()
    return channel_id


def _shop(fields: Fields, shop: connection_pb.ShopState) -> None:
    at = "connection.shop"
    if shop.HasField("look_time"):
        fields.past_moment(f"{at}.look_time", shop.look_time)
    else:
        shop.look_time.FromDatetime(datetime.now(UTC))
    if fields.size(f"{at}.checks", shop.checks, 0, limits.CONNECTION_CHECKS):
        for index, check in enumerate(shop.checks):
            _check(fields, f"{at}.checks[{index}]", check)
    if fields.size(f"{at}.outlets", shop.outlets, 0, limits.OUTLETS):
        for index, outlet in enumerate(shop.outlets):
            place = f"{at}.outlets[{index}]"
            fields.text(f"{place}.outlet_id", outlet.outlet_id, longest=limits.ITEM_ID_LENGTH, required=True)
            fields.text(f"{place}.display_name", outlet.display_name)
    for name in ("item_count", "unmapped_item_count", "missing_item_count"):
        fields.whole_number(f"{at}.{name}", getattr(shop, name), 0, limits.SHOP_ITEMS)
    if fields.size(f"{at}.unmapped_items", shop.unmapped_items, 0, limits.CONNECTION_ITEMS):
        for index, item in enumerate(shop.unmapped_items):
            place = f"{at}.unmapped_items[{index}]"
            fields.text(f"{place}.item_id", item.item_id, longest=limits.ITEM_ID_LENGTH, required=True)
            fields.text(f"{place}.seller_sku", item.seller_sku)
    fields.text(f"{at}.list_problem", shop.list_problem, longest=limits.CONNECTION_TEXT_LENGTH)
    missing, most = shop.missing_item_ids, limits.CONNECTION_ITEMS
    fields.texts(f"{at}.missing_item_ids", missing, most, longest=limits.ITEM_ID_LENGTH)


def _check(fields: Fields, at: str, check: connection_pb.ConnectionCheck) -> None:
    if check.kind not in (connection_pb.ConnectionCheck.KIND_SCOPE, connection_pb.ConnectionCheck.KIND_WEBHOOK):
        fields.wrong(f"{at}.kind", "must be KIND_SCOPE or KIND_WEBHOOK")
    fields.text(f"{at}.name", check.name, longest=limits.ITEM_ID_LENGTH, required=True)
    fields.text(f"{at}.todo", check.todo, longest=limits.CONNECTION_TEXT_LENGTH)
