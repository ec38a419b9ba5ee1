"""Keeps what connectors say of their accounts, and reads it as the checklist asks about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from policies.domain.model import Channel
from policies.readiness.connection_answers import Connected, NeededOfShop, Shop
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import NotFound, no_channel
from service.readiness import connection_store
from truestock.v1 import connection_pb2 as connection_pb

_TIMES = ("token_expire_time", "token_refresh_time", "webhook_time")
_ADVICE = "no connector feeds this channel; nothing has to be deleted"


class ConnectionOperations:
    """The connections of all channels."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def upsert(self, stated: connection_pb.Connection) -> None:
        """Keeps what a connector says. Raises NotFound (channel)."""
        shop = stated.shop if stated.HasField("shop") else None
        content = connection_pb.Connection()
        content.CopyFrom(stated)
        content.ClearField("shop")
        values: dict[str, object] = {
            "channel_id": stated.channel_id,
            "account": stated.account,
            "content": content.SerializeToString(),
            "shop": None if shop is None else shop.SerializeToString(),
            "look_time": None if shop is None else _time(shop, "look_time"),
        }

        async def write(connection: Connection) -> None:
            catalog = await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
            if stated.channel_id not in catalog.channels:
                raise no_channel({"connection.channel_id": stated.channel_id}, catalog.channels)
            await connection_store.upsert(connection, values)

        await self._deps.database.transaction("upsert_connection", write)

    async def delete(self, channel_id: str) -> None:
        """Forgets a connector. Raises NotFound where none feeds the channel."""
        remove = partial(connection_store.remove, channel_id=channel_id)
        if not await self._deps.database.transaction("delete_connection", remove):
            raise NotFound("connection", {"channel_id": channel_id}, _ADVICE)


async def connected(connection: Connection, catalog: Catalog, channel: Channel) -> Connected | None:
    """What the channel's connector last said, compared with the catalog as it is; None if there is no connector."""
    row = await connection_store.read(connection, channel.id)
    if row is None:
        return None
    said = connection_pb.Connection.FromString(row["content"])
    times = {name: _time(said, name) for name in _TIMES}
    shop = None
    if row["shop"] is not None:
        state = connection_pb.ShopState.FromString(row["shop"])
        keys = {(channel.id, item.item_id) for item in state.unmapped_items}
        keys |= {(channel.id, item_id) for item_id in state.missing_item_ids}
        listed = await listing_store.read(connection, keys) if keys else {}
        shop = _shop(state, {item_id for _, item_id in listed}, catalog, channel.id)
    return Connected(row["account"], row["report_time"], said.pause_reason, shop=shop, **times)


def _shop(state: connection_pb.ShopState, listed: set[str], catalog: Catalog, channel_id: str) -> Shop:
    ours = {outlet.id for outlet in catalog.outlets.get(channel_id, ())}
    theirs = {outlet.outlet_id: outlet.display_name for outlet in state.outlets}
    unmapped = [item for item in state.unmapped_items if item.item_id not in listed]
    missing = [item_id for item_id in state.missing_item_ids if item_id in listed]
    return Shop(
        state.look_time.ToDatetime(tzinfo=UTC),
        scopes=_needed(state, connection_pb.ConnectionCheck.KIND_SCOPE),
        webhooks=_needed(state, connection_pb.ConnectionCheck.KIND_WEBHOOK),
        outlet_count=len(theirs),
        unmapped_outlets=tuple(_named(id, name) for id, name in theirs.items() if id not in ours),
        missing_outlet_ids=tuple(sorted(ours.difference(theirs))),
        item_count=state.item_count,
        # What was mapped since is known of the items that are named; of the others it stays until the next look.
        unmapped_item_count=len(unmapped) + max(0, state.unmapped_item_count - len(state.unmapped_items)),
        unmapped_items=tuple(_named(item.item_id, item.seller_sku) for item in unmapped),
        missing_item_count=len(missing) + max(0, state.missing_item_count - len(state.missing_item_ids)),
        missing_item_ids=tuple(missing),
        list_problem=state.list_problem,
    )


def _needed(
    state: connection_pb.ShopState, kind: connection_pb.ConnectionCheck.Kind.ValueType
) -> Mapping[str, NeededOfShop]:
    return {check.name: NeededOfShop(check.works, check.todo) for check in state.checks if check.kind == kind}


def _time(message: Any, field: str) -> datetime | None:
    return getattr(message, field).ToDatetime(tzinfo=UTC) if message.HasField(field) else None


def _named(id: str, name: str) -> str:
    return f"{id} ({name})" if name else id
