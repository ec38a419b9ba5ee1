"""Counts a product, watches what a channel may sell of it, sells some and ships the order.

Run it against `make run`:  python shop.py [HOST:PORT]
"""

import sys
import uuid
from collections.abc import Iterator

from truestock.v1.allocation_service_pb2 import AllocateOrderRequest, Allocation, ConfirmAllocationRequest
from truestock.v1.availability_service_pb2 import WatchAvailabilityRequest, WatchAvailabilityResponse
from truestock.v1.fulfillment_service_pb2 import AcceptShipmentRequest, ShipShipmentRequest
from truestock.v1.order_pb2 import COMMITMENT_HOLD, Destination, OrderLine, OrderStatus
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest, StockChange, StockChangeResult, StockCount
from truestock_client import CallError, Client

CHANNEL, SKU, STORE = "shopify", "TRN-1205-MOS", "store-austin"


def main(address: str) -> None:
    """Goes through the four steps. Each call has a deadline, a request id and retries from the client."""
    with Client(address) as truestock:
        count(truestock, units=40)
        watch = truestock.watch_availability(WatchAvailabilityRequest(channel_id=CHANNEL, skus=[SKU]))
        print(f"watched  {CHANNEL} may sell {next_count(watch)} of {SKU}")
        allocation = sell(truestock, units=2)
        print(f"watched  {CHANNEL} may sell {next_count(watch)} of {SKU}")
        ship(truestock, allocation)


def count(truestock: Client, units: int) -> None:
    """Reports what a person has counted. The change's id makes a repetition harmless."""
    change = StockChange(change_id=f"count-{uuid.uuid4()}", sku=SKU, location_id=STORE, count=StockCount())
    change.count.on_hand_count = units
    change.effective_time.GetCurrentTime()
    answer = truestock.stock.RecordStockChanges(RecordStockChangesRequest(source="stocktake", changes=[change]))
    result = answer.results[0]
    name = StockChangeResult.ChangeResult.Name(result.result).removeprefix("CHANGE_RESULT_").lower()
    print(f"counted  {units} of {SKU} at {STORE}: {name} {result.reason}".rstrip())


def next_count(watch: Iterator[WatchAvailabilityResponse]) -> int:
    """The next figure that the watch sends; messages without changes are heartbeats."""
    return next(change.sellable_count for message in watch for change in message.changes)


def sell(truestock: Client, units: int) -> Allocation:
    """Holds the stock while the shopper pays, then confirms. An outcome that is not "allocated" is no error."""
    order = AllocateOrderRequest(
        channel_id=CHANNEL,
        order_id=f"example-{uuid.uuid4()}",
        lines=[OrderLine(sku=SKU, unit_count=units)],
        commitment=COMMITMENT_HOLD,
        destination=Destination(country="US", region="TX"),
    )
    held = truestock.allocations.AllocateOrder(order).allocation
    print(f"held     {units} until {held.expire_time.ToDatetime():%H:%M} UTC for {CHANNEL}/{held.order_id}")
    request = ConfirmAllocationRequest(allocation_id=held.allocation_id)
    allocation = truestock.allocations.ConfirmAllocation(request).allocation
    print(f"sold     {units}, from {', '.join(shipment.location_id for shipment in allocation.shipments)}")
    return allocation


def ship(truestock: Client, allocation: Allocation) -> None:
    """Does the work of each location: accepts its shipment, then reports that it has left."""
    for shipment in allocation.shipments:
        truestock.fulfillment.AcceptShipment(AcceptShipmentRequest(shipment_id=shipment.shipment_id))
        request = ShipShipmentRequest(shipment_id=shipment.shipment_id, event_id=f"label-{shipment.shipment_id}")
        allocation = truestock.fulfillment.ShipShipment(request).allocation
    status = OrderStatus.Name(allocation.status).removeprefix("ORDER_STATUS_").lower()
    print(f"shipped  {CHANNEL}/{allocation.order_id}: {status}")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051")
    except CallError as error:
        sys.exit(str(error))
