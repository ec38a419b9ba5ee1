"""Users of a load test with Locust: shoppers, a TikTok spike, feeds, stores. `python -m bench load` runs it.

Alone it runs with the folder `client` on PYTHONPATH: `locust -f bench/locustfile.py --host 127.0.0.1:50051 --run-time
30s --profile spike`. A token is read from the file that TRUESTOCK_TOKEN_FILE names, and certificates that are trusted
from TRUESTOCK_TLS_CA.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.experimental.gevent as grpc_gevent  # type: ignore[import-not-found]  # Newer than the stubs.
from locust import User, between, constant, events, task
from locust.env import Environment
from locust.runners import LocalRunner

from bench.load.load_shop import LOCATION_IDS, TIKTOK, WEB, LoadShop
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock_client import CallError, Client, Refused

# Locust has replaced Python's sockets and threads by gevent's; gRPC has its own, in C.
grpc_gevent.init_gevent()

CALL_SECONDS = 10.0
CART_SECONDS = 2
"""How long a cart keeps its units: short, so that carts expire within a short run."""
LONGEST_SECONDS = 3_600


class _Run:
    """The client and the shop that all users share."""

    client: Client
    shop: LoadShop


class TruestockUser(User):
    """A user of Truestock whose calls Locust counts."""

    abstract = True

    def call(self, method: Callable[[Any], Any], request: Any, name: str = "") -> Any:
        """The answer; None where the service refused the request, which counts as an answer, or did not answer."""
        started, answer, error = time.perf_counter(), None, None
        try:
            answer = method(request)
        except Refused:
            pass
        except CallError as raised:
            error = raised
        events.request.fire(
            request_type="gRPC",
            name=name or type(request).__name__.removesuffix("Request"),
            response_time=(time.perf_counter() - started) * 1_000,
            response_length=0 if answer is None else answer.ByteSize(),
            exception=error,
        )
        return answer

    def sell(self, request: allocation_pb.AllocateOrderRequest, name: str) -> allocation_pb.Allocation | None:
        """A paid order."""
        answer = self.call(_Run.client.allocations.AllocateOrder, request, name)
        if answer is None:
            return None
        _Run.shop.count_sale(answer.allocation)
        allocation: allocation_pb.Allocation = answer.allocation
        return allocation


class Shopper(TruestockUser):
    """Looks at products, fills carts of which some expire, buys, and cancels now and then."""

    wait_time = between(0.05, 0.3)

    @task(10)
    def browse(self) -> None:
        """A page of twenty products."""
        skus = random.sample(_Run.shop.skus, 20)
        request = availability_pb.CheckAvailabilityRequest(channel_id=WEB, skus=skus)
        self.call(_Run.client.availability.CheckAvailability, request, "browse 20 products")

    @task(4)
    def fill_cart(self) -> None:
        """A hold that the shopper pays, gives up, or forgets."""
        request = _Run.shop.order(WEB, random.sample(_Run.shop.skus, 2))
        request.commitment = order_pb2.COMMITMENT_HOLD
        request.hold_duration.seconds = CART_SECONDS
        answer = self.call(_Run.client.allocations.AllocateOrder, request, "fill a cart")
        if answer is None or answer.allocation.state != allocation_pb.Allocation.STATE_HELD:
            return
        allocation_id, decision = answer.allocation.allocation_id, random.random()
        if decision < 0.6:
            paid = allocation_pb.ConfirmAllocationRequest(allocation_id=allocation_id)
            if confirmed := self.call(_Run.client.allocations.ConfirmAllocation, paid, "pay a cart"):
                _Run.shop.count_sale(confirmed.allocation)
        elif decision < 0.8:
            left = allocation_pb.ReleaseAllocationRequest(allocation_id=allocation_id)
            self.call(_Run.client.allocations.ReleaseAllocation, left, "empty a cart")

    @task(3)
    def buy(self) -> None:
        """A paid order of several lines; one in six is cancelled at once."""
        lines = random.sample(_Run.shop.skus, random.randint(1, 5))
        allocation = self.sell(_Run.shop.order(WEB, lines, random.randint(1, 2)), "order of 1 to 5 lines")
        if allocation is not None and random.random() < 1 / 6:
            self._cancel(allocation)

    def _cancel(self, allocation: allocation_pb.Allocation) -> None:
        _Run.shop.count_cancellation(allocation)
        reference = order_pb2.OrderReference(channel_id=allocation.channel_id, order_id=allocation.order_id)
        request = allocation_pb.CancelOrderLinesRequest(
            order=reference, whole_order=True, fault=order_pb2.CANCELLATION_FAULT_BUYER
        )
        self.call(_Run.client.allocations.CancelOrderLines, request, "cancel an order")


class Viewer(TruestockUser):
    """Saw a product in a TikTok video, and buys it as long as the channel shows stock."""

    wait_time = constant(0.0)

    @task
    def buy_the_viral_product(self) -> None:
        """One unit; four in ten do not look first, as their page was loaded before."""
        sku = _Run.shop.viral_sku
        if random.random() < 0.6:
            request = availability_pb.CheckAvailabilityRequest(channel_id=TIKTOK, skus=[sku])
            answer = self.call(_Run.client.availability.CheckAvailability, request, "look at the viral product")
            if answer is None or answer.availabilities[0].sellable_count < 1:
                return
        self.sell(_Run.shop.order(TIKTOK, [sku]), "order of the viral product")


class Feed(TruestockUser):
    """A till or a warehouse: batches of counts, and deliveries that came in."""

    wait_time = between(0.1, 0.5)

    @task(4)
    def count(self) -> None:
        """Fifty counts of one location."""
        location_id = random.choice(LOCATION_IDS)
        changes = [
            _Run.shop.change(sku, location_id, count=stock_pb.StockCount(on_hand_count=random.randint(0, 900)))
            for sku in random.sample(_Run.shop.feed_skus, 50)
        ]
        request = stock_pb.RecordStockChangesRequest(source="load-till", changes=changes)
        self.call(_Run.client.stock.RecordStockChanges, request, "50 counts")

    @task(2)
    def receive(self) -> None:
        """A delivery of ten products that shoppers buy."""
        location_id, skus = random.choice(LOCATION_IDS), random.sample(_Run.shop.skus, 10)
        received = stock_pb.StockMovement(kind=stock_pb.MOVEMENT_KIND_RECEIVED, unit_count=5)
        changes = [_Run.shop.change(sku, location_id, movement=received) for sku in skus]
        _Run.shop.received.update(dict.fromkeys(skus, 5))
        request = stock_pb.RecordStockChangesRequest(source="load-warehouse", changes=changes)
        self.call(_Run.client.stock.RecordStockChanges, request, "delivery of 10 products")


class Store(TruestockUser):
    """Ships what is assigned to a location."""

    wait_time = between(0.2, 0.6)

    @task
    def ship(self) -> None:
        """The oldest shipments of a location, each accepted and shipped."""
        request = fulfillment_pb.ListShipmentsRequest(
            location_ids=[random.choice(LOCATION_IDS)], states=[shipment_pb2.Shipment.STATE_ASSIGNED], page_size=5
        )
        page = self.call(_Run.client.fulfillment.ListShipments, request, "list shipments")
        for shipment in () if page is None else page.shipments:
            name = {"shipment_id": shipment.shipment_id}
            accepted = fulfillment_pb.AcceptShipmentRequest(**name)
            if self.call(_Run.client.fulfillment.AcceptShipment, accepted, "accept a shipment"):
                self.call(_Run.client.fulfillment.ShipShipment, fulfillment_pb.ShipShipmentRequest(**name), "ship it")


PROFILES: dict[str, dict[type[User], int]] = {
    "steady": {Shopper: 16, Store: 3, Feed: 1},
    "spike": {Viewer: 15, Shopper: 4, Store: 1},
    "feeds": {Feed: 12, Shopper: 7, Store: 1},
}
"""Users of each kind, of twenty."""


@events.init.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """Chooses the users of the profile, and opens their shop. Ends the process where the load cannot be run."""
    options: Any = environment.parsed_options
    profile = options.profile or "steady"
    if profile not in PROFILES:
        sys.exit(f"The profile {profile!r} is unknown; use one of {', '.join(PROFILES)}.")
    if not isinstance(environment.runner, LocalRunner):
        sys.exit("Run the load in one process: what all users were answered is counted in one place.")
    if not options.run_time or options.run_time > LONGEST_SECONDS:
        sys.exit(f"Bound the load with --run-time, to at most {LONGEST_SECONDS}s.")
    for user_class, weight in PROFILES[profile].items():
        user_class.weight = weight
    environment.user_classes[:] = list(PROFILES[profile])
    # Before the time of the load begins.
    _Run.client, _Run.shop = _connect(str(environment.host)), LoadShop()
    _Run.shop.open(_Run.client)


@events.quitting.add_listener
def judge(environment: Environment, **_: Any) -> None:
    """Says whether anything was oversold or went unanswered, and fails the process if so."""
    if not hasattr(_Run, "shop"):
        return
    found = _Run.shop.oversells(_Run.client)
    for sentence in found[:20]:
        _say(f"Oversold: {sentence}.")
    total, broken = environment.stats.total, environment.runner.exceptions if environment.runner else {}
    if total.num_failures or broken:
        _say(f"{total.num_failures} calls of {total.num_requests} failed, and users {len(broken)} times.")
    sold = _Run.shop.sold.total()
    _say(f"{sold} units sold of {_Run.shop.received.total()}; orders were short of {_Run.shop.short_units} units.")
    environment.process_exit_code = int(bool(found or total.num_failures or broken or not total.num_requests))
    _Run.client.close()


def _say(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")


def _connect(address: str) -> Client:
    token_file, authorities = os.environ.get("TRUESTOCK_TOKEN_FILE"), os.environ.get("TRUESTOCK_TLS_CA")
    token = Path(token_file).read_text().strip() if token_file else None
    credentials = grpc.ssl_channel_credentials(Path(authorities).read_bytes()) if authorities else None
    return Client(address, timeout=CALL_SECONDS, token=token, credentials=credentials)
