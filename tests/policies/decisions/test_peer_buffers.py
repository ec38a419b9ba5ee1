"""Figures that other systems publish to a channel, compared with our buffer rules; differences are explained.

The figures are those of AfterShip Feed, EcomSend, SPL, SQQUID, OpenLinker, WooCommerce, StoreFeeder and VTEX; `id`
names the peer and its case.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from policies.decisions.availability.sellable import Availability, assess_availability
from policies.decisions.decision import Decision
from policies.decisions.routing import route
from policies.domain.model import Channel, World
from policies.explanation import DropReason
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, order, rules, sold, store, world


@dataclass(frozen=True, slots=True)
class Case:
    """Units of one product by location, the rules of one buffer file, and the units published to the channel."""

    id: str
    name: str
    stock: Mapping[str, int]
    published: int
    rules: tuple[str, ...] = ()
    scope: str = "channel"
    sku: str = "MUG"
    sold_from: frozenset[str] = frozenset()


def keeping(percent: int) -> str:
    """A peer's 'publish 90 %' is our 'hold back 10 %': rounding the one down rounds the other up."""
    return f"{{name: share, hold_back: {{percent: {percent}}}}}"


FIVE_OF_ONE_SKU = '{name: five-of-one-sku, when: {product.sku: "12345"}, hold_back: {units: 5}}'
NEVER_FROM_C = "{name: never-from-c, when: {location.id: C}, hold_back: {units: 999999}}"
KEEP_THREE = "{name: keep-three, hold_back: {units: 3}}"
KEEP_TWO = "{name: keep-two, hold_back: {units: 2}}"
KEEP_THREE_AND_STOP_AT_TWO = "{name: keep-three-stop-at-two, hold_back: {units: 3}, publish_zero_at_or_below: 2}"
STOP_AT_FIVE = "{name: stop-at-five, publish_zero_at_or_below: 5}"
AT_MOST_TEN = "{name: at-most-ten, cap: 10}"
A_AND_B = {"A": 100, "B": 200}

CASES = [
    Case("aftership-90", "nine tenths of a hundred are ninety", {"S": 100}, 90, (keeping(10),)),
    Case("aftership-80", "four fifths of a hundred are eighty", {"S": 100}, 80, (keeping(20),)),
    Case("aftership-threshold", "stock at the cut-off is published as 0", {"S": 5}, 0, (STOP_AT_FIVE,)),
    Case("ecomsend-80", "four fifths of an odd stock", {"S": 985}, 788, (keeping(20),)),
    Case(
        "ecomsend-map-all",
        "a channel of two locations gets their sum",
        A_AND_B,
        300,
        sold_from=frozenset("AB"),
    ),
    Case(
        "ecomsend-map-80",
        "a channel of one location gets its share of that location alone",
        A_AND_B,
        80,
        (keeping(20),),
        sold_from=frozenset("A"),
    ),
    Case("spl-50", "half of five hundred", {"S": 500}, 250, (keeping(50),)),
    Case("sqquid-sku", "a hold-back may name one product", {"S": 10}, 5, (FIVE_OF_ONE_SKU,), sku="12345"),
    Case(
        "sqquid-location",
        "a hold-back beyond all stock takes one location out and no units from the others",
        {"A": 3, "B": 4, "C": 5},
        7,
        (NEVER_FROM_C,),
        scope="location",
    ),
    Case("openlinker-buffer", "a hold-back above the stock leaves nothing, not less", {"S": 2}, 0, (KEEP_THREE,)),
    Case(
        "openlinker-order",
        "the cut-off looks at what the hold-back leaves, and equal counts as at",
        {"S": 5},
        0,
        (KEEP_THREE_AND_STOP_AT_TWO,),
    ),
    # An anti_case: the peer sells all 5, since its threshold applies only once stock is down to it. Our rules have a
    # key for each of the two meanings, and selling only 3 needs the buffer.
    Case("woocommerce-29411", "of five with two kept a shopper may have three", {"S": 5}, 3, (KEEP_TWO,)),
    Case("storefeeder-max", "a cap tells ten of fifty", {"S": 50}, 10, (AT_MOST_TEN,)),
]


def ask(case: Case, stock: Mapping[str, int] | None = None) -> Availability:
    return assess_availability(rules(*files(case)), snapshot(case, stock or case.stock), channel(case), case.sku)


def hold(case: Case, unit_count: int) -> Decision:
    return route(rules(*files(case)), snapshot(case, case.stock), channel(case), order({case.sku: unit_count}))


def files(case: Case) -> list[str]:
    entries = "".join(f"  - {entry}\n" for entry in case.rules)
    buffers = [f"kind: buffer\nname: of-a-peer\nscope: {case.scope}\nrules:\n{entries}"] if case.rules else []
    return [*buffers, ANYWHERE]


def snapshot(case: Case, stock: Mapping[str, int]) -> World:
    return world([store(key) for key in stock], [level(case.sku, key, count) for key, count in stock.items()])


def channel(case: Case) -> Channel:
    return Channel(TIKTOK.id, TIKTOK.kind, location_ids=case.sold_from)


def case(id: str) -> Case:
    return next(item for item in CASES if item.id == id)


every_case = pytest.mark.parametrize("case", CASES, ids=[f"{item.id}: {item.name}" for item in CASES])


@every_case
def test_a_channel_gets_the_figure_that_the_peer_publishes(case: Case) -> None:
    assert ask(case).sellable == case.published


@every_case
def test_a_hold_gets_exactly_the_published_units(case: Case) -> None:
    stock = sum(case.stock.values())
    result = hold(case, stock)

    assert sum(result.units.values()) == case.published
    assert sum(shortage.unit_count for shortage in result.shortages) == stock - case.published


def test_a_share_is_rounded_down_for_every_stock() -> None:
    four_fifths = case("ecomsend-80")

    assert [ask(four_fifths, {"S": count}).sellable for count in range(1, 31)] == [n * 8 // 10 for n in range(1, 31)]


def test_a_cut_off_does_not_reduce_stock_above_it() -> None:
    assert ask(case("aftership-threshold")).cut_off_applied
    assert ask(case("aftership-threshold"), {"S": 6}).sellable == 6


def test_a_cut_off_after_a_hold_back_leaves_the_first_unit_above_it_on_sale() -> None:
    assert ask(case("openlinker-order")).cut_off_applied
    assert ask(case("openlinker-order"), {"S": 6}).sellable == 3


def test_a_product_that_no_rule_names_is_published_in_full() -> None:
    one_sku = case("sqquid-sku")
    other = Case(one_sku.id, one_sku.name, one_sku.stock, 10, one_sku.rules)

    assert ask(other).sellable == 10


def test_a_location_with_all_units_held_back_ships_no_order() -> None:
    never_c = case("sqquid-location")
    policy_set, catalog_and_stock = rules(*files(never_c)), snapshot(never_c, never_c.stock)
    for request in (order({"MUG": 12}), sold({"MUG": 12})):
        result = route(policy_set, catalog_and_stock, channel(never_c), request)

        assert {shipment.location_id for shipment in result.plan} == {"A", "B"}
        assert [(item.location_id, item.reason) for item in result.dropped] == [("C", DropReason.HELD_BACK)]


def test_stock_below_the_cap_is_published_in_full() -> None:
    assert ask(case("storefeeder-max")).capped
    assert ask(case("storefeeder-max"), {"S": 7}).sellable == 7


def test_two_meanings_of_a_threshold_give_two_figures() -> None:
    kept = case("woocommerce-29411")
    stopped = Case(kept.id, kept.name, kept.stock, 5, ("{name: stop-at-two, publish_zero_at_or_below: 2}",))

    assert (ask(kept).sellable, ask(stopped).sellable) == (3, 5)
    assert [ask(item, {"S": 2}).sellable for item in (kept, stopped)] == [0, 0]


def test_units_released_by_a_cancellation_are_held_back_again() -> None:
    """openlinker-cancel-keeps-buffer, an anti_case: the peer wrote the raw 10 after a cancellation.

    Here a cancellation only changes the stock level; every published figure is calculated from it by the rules.
    """
    policy_set = rules(f"kind: buffer\nname: kept\nscope: channel\nrules:\n  - {KEEP_THREE}\n", ANYWHERE)
    sold_two = world([store("S")], [level("MUG", "S", 10, allocated=2)])
    cancelled = world([store("S")], [level("MUG", "S", 10)])

    assert assess_availability(policy_set, sold_two, TIKTOK, "MUG").sellable == 5
    assert assess_availability(policy_set, cancelled, TIKTOK, "MUG").sellable == 7


def test_empty_stock_is_never_published_as_the_cap() -> None:
    """aftership-continue differs: the peer publishes 99,999 for stock of 0 where selling is to continue. Ours is 0.

    Untracked stock is out of scope: a figure without stock behind it leads to an oversell. Continued selling is a
    backorder, which the limit of a listing bounds and which is published next to the sellable figure.
    """
    selling_on = Case("aftership-continue", "selling goes on at nothing", {"S": 0}, 0, (STOP_AT_FIVE,))
    result = route(rules(*files(selling_on)), snapshot(selling_on, {"S": 0}), channel(selling_on), order({"MUG": 1}))

    assert ask(selling_on).sellable == 0
    assert (result.units, [short.unit_count for short in result.shortages]) == ({}, [1])


def test_a_drop_in_stock_far_above_every_threshold_is_published() -> None:
    """vtex-notify differs: the peer keeps silent about 50 → 20, since both are above its threshold of 5.

    It can do so because it is queried again at the purchase. TikTok and Shopify sell by the last published figure, so
    ours publishes 20.
    """
    watched = Case("vtex-notify", "a fall far above the threshold", {"S": 50}, 50, (STOP_AT_FIVE,))

    assert (ask(watched).sellable, ask(watched, {"S": 20}).sellable) == (50, 20)
