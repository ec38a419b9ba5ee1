"""What a kit's stock is where its components are counted, held back, blocked or promised, and what an order may use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decisions.eligibility import RoutingQuestion, policies_for
from policies.decisions.kits.kit_limits import KitLimit, kit_limits, ordered_kits
from policies.decisions.kits.kit_stock import KitStock, kit_stock
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.kits import Kit, KitPart
from policies.domain.model import Commitment, Order, OrderFacts, OrderLine, Product, StockLevel, World
from policies.policy_set import PolicySet
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    TIKTOK,
    level,
    policy,
    rules,
    store,
    warehouse,
    world,
)

SET = Kit("SET", {"MUG": 1, "BOWL": 2})
SPLIT_SET = replace(SET, may_split=True)
DC, SHOP = warehouse("dc"), store("shop")
TWO_PLACES = world(
    [DC, SHOP],
    [level("MUG", "dc", 10), level("BOWL", "dc", 5), level("MUG", "shop", 1), level("BOWL", "shop", 9)],
)
"""Two sets in the warehouse, one in the shop."""

NO_SHOP = "kind: exposure\nname: safe\nrules:\n  - {name: no-shop, when: {product.sku: %s, location.type: store}, block: no room}\n"  # noqa: E501


def buffer(name: str, sku: str, entry: str, scope: str = "location", condition: str = "") -> str:
    """A buffer file with one rule about a product, or a kit, of this SKU."""
    when = f"{{product.sku: {sku}{condition}}}"
    return f"kind: buffer\nname: {name}\nscope: {scope}\nrules:\n  - {{name: {name}, when: {when}, {entry}}}\n"


HALF_OF_ALL_SETS = buffer("half", "SET", "hold_back: {percent: 50}", "channel")


def view_of(
    policy_set: PolicySet,
    snapshot: World,
    *,
    own: Mapping[tuple[str, str], int] | None = None,
    kept: Mapping[tuple[str, str], int] | None = None,
) -> PolicyView:
    products = {**snapshot.products, "SET": Product("SET")}
    question = RoutingQuestion(
        replace(snapshot, products=products), TIKTOK, OrderFacts(), None, own or {}, kept_units=kept or {}
    )
    return PolicyView(policy_set, question, policies_for(policy_set, question)[0])


def stock_of(policy_set: PolicySet, levels: Iterable[StockLevel], kit: Kit = SET, *waived: str) -> KitStock:
    return kit_stock(view_of(policy_set, world([DC, SHOP], levels)), kit, frozenset(waived))


def figures(stock: KitStock) -> dict[str, tuple[int, int, int]]:
    """Available, held back and sellable kits at each location."""
    return {x.location_id: (x.available, x.held_back, x.sellable) for x in stock.figures.values()}


def test_a_kit_has_the_time_the_count_and_the_confidence_of_its_worst_component() -> None:
    older, newer = NOW - timedelta(hours=9), NOW - timedelta(hours=1)
    mugs = level("MUG", "dc", 9, count_confidence=0.9, counted_time=older, physical_count_time=newer, source="feed")
    bowls = level("BOWL", "dc", 9, count_confidence=0.4, counted_time=newer, physical_count_time=older, source="feed")

    found = stock_of(rules(ANYWHERE), [mugs, bowls]).levels["dc"]
    mixed = stock_of(rules(ANYWHERE), [mugs, replace(bowls, source="till", counted_time=None)]).levels["dc"]

    assert (found.count_confidence, found.counted_time, found.physical_count_time) == (0.4, older, older)
    assert (found.source, found.on_hand, found.tracked) == ("feed", 4, True)
    assert (mixed.source, mixed.counted_time) == (None, None)


def test_a_location_has_no_kit_on_hand_where_a_component_is_missing() -> None:
    none_left = stock_of(rules(ANYWHERE), [level("MUG", "dc", 9), level("BOWL", "dc", 0)])
    never_stocked = stock_of(rules(ANYWHERE), [level("MUG", "dc", 9), level("BOWL", "shop", 9)], SPLIT_SET)

    assert [x.on_hand for x in none_left.levels.values()] == [0]
    assert figures(none_left) == {"dc": (0, 0, 0)}
    assert [x.on_hand for x in never_stocked.levels.values()] == [0, 0]
    assert figures(never_stocked) == {"dc": (0, 0, 0), "shop": (0, 0, 0)}


def test_a_kit_whose_components_are_not_counted_is_not_counted_either() -> None:
    levels = [level("MUG", "dc", 9, tracked=False), level("BOWL", "dc", 9)]

    whole, split = (stock_of(rules(ANYWHERE), levels, kit) for kit in (SET, SPLIT_SET))

    assert (whole.levels["dc"].tracked, whole.sellable) == (False, 0)
    assert (split.levels["dc"].tracked, split.sellable) == (True, 0)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ([], (5, 0, 5)),
        ([buffer("bowls", "BOWL", "hold_back: {units: 3}")], (5, 2, 3)),
        ([buffer("bowls", "BOWL", "hold_back: {units: 3}"), buffer("sets", "SET", "hold_back: {units: 1}")], (5, 3, 2)),
        ([NO_SHOP % "MUG"], (5, 0, 0)),
        ([NO_SHOP % "SET"], (5, 0, 0)),
        ([policy(exclude="[{name: none, when: {location.type: store}}]")], (5, 0, 0)),
    ],
)
def test_kits_that_a_buffer_holds_back_are_told_from_those_that_are_blocked_or_not_used(
    files: list[str], expected: tuple[int, int, int]
) -> None:
    policy_set = rules(*files) if any("routing" in text for text in files) else rules(ANYWHERE, *files)

    assert figures(stock_of(policy_set, [level("MUG", "shop", 7), level("BOWL", "shop", 10)])) == {"shop": expected}


@pytest.mark.parametrize(
    ("files", "sellable"),
    [
        ([ANYWHERE], 1),
        ([ANYWHERE, NO_SHOP % "SET"], 1),
        ([ANYWHERE, NO_SHOP % "MUG"], 1),
        ([policy(only="{location.type: warehouse}")], 1),
        ([policy(only="{location.type: store}")], 0),
    ],
)
def test_what_a_rule_keeps_of_all_kits_is_a_share_of_those_that_the_channel_may_use(
    files: list[str], sellable: int
) -> None:
    """Half of three sets is two, half of the warehouse's two is one, and half of the shop's one is one."""
    assert kit_stock(view_of(rules(*files, HALF_OF_ALL_SETS), TWO_PLACES), SET).sellable == sellable


def test_no_limit_that_an_order_is_free_of_counts_for_its_kits() -> None:
    held = [
        HALF_OF_ALL_SETS,
        buffer("sets", "SET", "hold_back: {units: 1}"),
        buffer("mugs", "MUG", "cap: 1", "channel"),
    ]
    blocks = [NO_SHOP % "SET"]
    levels = [*TWO_PLACES.levels.values()]

    free_of_buffers = stock_of(rules(ANYWHERE, *held), levels, SET, "buffer")
    free_of_blocks = stock_of(rules(ANYWHERE, *blocks), levels, SET, "blocked")

    assert (free_of_buffers.sellable, free_of_buffers.component_limit) == (3, None)
    assert free_of_buffers.fired == ()
    assert figures(free_of_blocks) == {"dc": (2, 0, 2), "shop": (1, 0, 1)}


def test_a_share_of_a_component_is_of_all_units_for_an_order_that_blocks_do_not_bind() -> None:
    """The shop's 5 mugs are blocked: half of 10 mugs are kept, or 8 of 15."""
    files = [ANYWHERE, NO_SHOP % "MUG", buffer("mugs", "MUG", "hold_back: {percent: 50}", "channel")]
    levels = [level("MUG", "dc", 10), level("MUG", "shop", 5), level("BOWL", "dc", 20)]

    assert stock_of(rules(*files), levels, SET).component_limit == 5
    assert stock_of(rules(*files), levels, SET, "blocked").component_limit == 7


def test_kits_from_several_locations_leave_out_what_is_dropped_or_held_back_anywhere() -> None:
    """The attic comes first and is not used; one set is held back in the warehouse and one in the shop."""
    places = [store("attic", tags=frozenset({"far"})), DC, SHOP]
    snapshot = world(places, [*TWO_PLACES.levels.values(), level("MUG", "attic", 50), level("BOWL", "attic", 50)])
    not_far = policy(exclude="[{name: far, when: {location.tags: {contains: far}}}]")

    found = kit_stock(view_of(rules(not_far, buffer("sets", "SET", "hold_back: {units: 1}")), snapshot), SPLIT_SET)

    assert figures(found) == {"attic": (25, 0, 0), "dc": (2, 1, 1), "shop": (1, 1, 0)}
    assert (found.split_count, found.sellable) == (4, 5)


# What an order may use


def order_of(kit: Kit, count: int = 1, commitment: Commitment = Commitment.SOLD) -> Order:
    """An order of these kits, with a line for each component."""
    lines = tuple(
        OrderLine(f"1/{sku}", sku, size * count, kit=KitPart("1", kit.sku, size, kit.may_split))
        for sku, size in kit.components.items()
    )
    return Order(TIKTOK.id, "TT-1", lines, commitment)


def limit_of(
    policy_set: PolicySet,
    snapshot: World = TWO_PLACES,
    *,
    kit: Kit = SET,
    commitment: Commitment = Commitment.SOLD,
    own: Mapping[tuple[str, str], int] | None = None,
    kept: Mapping[tuple[str, str], int] | None = None,
) -> KitLimit:
    view = view_of(policy_set, snapshot, own=own, kept=kept)
    return kit_limits(view, order_of(kit, commitment=commitment))[kit.sku]


def sets(count: int, location_id: str) -> dict[tuple[str, str], int]:
    """The units of so many sets at a location, and caps of no set."""
    return {("MUG", location_id): count, ("BOWL", location_id): 2 * count, ("CAP", location_id): 9}


def promised(snapshot: World, units: Mapping[tuple[str, str], int]) -> World:
    """The stock once these units are promised to the order."""
    levels = {
        key: replace(stock, allocated=stock.allocated + units.get(key, 0)) for key, stock in snapshot.levels.items()
    }
    return replace(snapshot, levels=levels)


def test_an_order_of_kits_may_use_those_of_each_location() -> None:
    assert limit_of(rules(ANYWHERE)) == KitLimit({"dc": 2, "shop": 1}, None)


def test_kits_that_an_order_keeps_are_not_for_the_rest_of_it() -> None:
    kept = sets(1, "dc")

    found = limit_of(rules(ANYWHERE), promised(TWO_PLACES, kept), kept=kept)
    capped = limit_of(
        rules(ANYWHERE, buffer("cap", "SET", "cap: 2", "channel")),
        promised(TWO_PLACES, kept),
        kept=kept,
        commitment=Commitment.HOLD,
    )

    assert (dict(found.units), found.total, found.held_by_buffer) == ({"dc": 1, "shop": 1}, None, 0)
    assert (dict(capped.units), capped.total, capped.held_by_buffer) == ({"dc": 1, "shop": 1}, 1, 1)


def test_kits_that_are_promised_to_an_order_stay_usable_for_it_despite_rules() -> None:
    own = sets(2, "dc")
    blocked = "kind: exposure\nname: safe\nrules:\n  - {name: none, when: {product.sku: SET}, block: recalled}\n"
    nothing = buffer("all", "SET", "hold_back: {units: 99}", "channel")

    found = limit_of(rules(ANYWHERE, blocked, nothing), promised(TWO_PLACES, own), own=own)

    assert (dict(found.units), found.total) == ({"dc": 2, "shop": 0}, 2)
    assert (found.blocked, found.blocks, sorted(found.blocked_at)) == (1, ("none",), ["dc", "shop"])


def test_kits_that_an_order_keeps_and_those_promised_to_it_count_together_against_a_buffer_of_all_kits() -> None:
    """All three sets are held back, and all but one of the warehouse's are the order's: one that it keeps, one not."""
    units = {key: count * 2 for key, count in sets(1, "dc").items()}
    nothing = buffer("all", "SET", "hold_back: {units: 99}", "channel")

    found = limit_of(rules(ANYWHERE, nothing), promised(TWO_PLACES, units), own=sets(1, "dc"), kept=sets(1, "dc"))

    assert (dict(found.units), found.total) == ({"dc": 1, "shop": 1}, 1)
    assert (found.held_by_buffer, found.buffers) == (1, ("all",))


@pytest.mark.parametrize(("commitment", "total"), [(Commitment.HOLD, 0), (Commitment.SOLD, 2)])
def test_only_kits_that_are_not_paid_yet_are_kept_by_a_cut_off(commitment: Commitment, total: int) -> None:
    files = [buffer("few", "SET", "hold_back: {units: 1}, publish_zero_at_or_below: 2", "channel")]

    found = limit_of(rules(ANYWHERE, *files), commitment=commitment)

    assert (found.total, found.held_by_buffer, found.buffers) == (total, 3 - total, ("few",))
    assert [rule.name for rule in found.fired] == ["few"]


def test_a_buffer_larger_than_all_kits_leaves_none() -> None:
    found = limit_of(rules(ANYWHERE, buffer("all", "SET", "hold_back: {units: 99}", "channel")))

    assert (found.total, found.held_by_buffer) == (0, 3)


def test_what_each_rule_keeps_from_an_order_of_kits_is_told() -> None:
    """Of 2 sets in the attic and 3 in the shop one each is held back, and none of the warehouse and the mill is free.

    The barn, which is not used, keeps nothing from the order, and rules of components are not the kit's.
    """
    places = [
        store("attic"),
        store("barn", tags=frozenset({"far"})),
        warehouse("dc"),
        warehouse("mill"),
        store("shop"),
        warehouse("void"),
    ]
    counts = {"attic": 2, "barn": 4, "dc": 2, "mill": 1, "shop": 3, "void": 1}
    levels = [level(sku, key, n * size) for key, n in counts.items() for sku, size in SET.components.items()]
    files = [
        policy(exclude="[{name: far, when: {location.tags: {contains: far}}}]"),
        buffer("floor", "SET", "hold_back: {units: 1}", condition=", location.type: store"),
        buffer("attic", "SET", "hold_back: {units: 1}", condition=", location.id: attic"),
        buffer("shop", "SET", "hold_back: {units: 1}", condition=", location.id: shop"),
        buffer("none", "SET", "hold_back: {units: 0}", condition=", location.id: void"),
        buffer("mugs", "MUG", "hold_back: {units: 0}"),
        "kind: exposure\nname: safe\nrules:\n  - {name: dock, when: {product.sku: SET, location.id: [dc, mill]}, block: no dock}\n",  # noqa: E501
    ]

    found = limit_of(rules(*files), world(places, levels))

    assert dict(found.units) == {"attic": 1, "barn": 0, "dc": 0, "mill": 0, "shop": 2, "void": 1}
    assert (found.held_by_buffer, found.buffers) == (2, ("attic", "floor", "shop"))
    assert (found.blocked, found.blocks, sorted(found.blocked_at)) == (3, ("dock",), ["dc", "mill"])
    assert {rule.sku for rule in found.fired} == {"SET"}


def test_what_a_buffer_of_a_place_and_one_of_all_kits_hold_back_adds_up() -> None:
    files = [
        buffer("floor", "SET", "hold_back: {units: 1}", condition=", location.type: store"),
        buffer("all", "SET", "hold_back: {units: 1}", "channel"),
    ]

    found = limit_of(rules(ANYWHERE, *files))

    assert (dict(found.units), found.total) == ({"dc": 2, "shop": 0}, 1)
    assert (found.held_by_buffer, found.buffers) == (2, ("floor", "all"))


def test_kits_from_several_locations_are_limited_and_kept_with_the_others() -> None:
    """Two sets in the warehouse, one in the shop, and four of both."""
    free = limit_of(rules(ANYWHERE), kit=SPLIT_SET)
    held = limit_of(rules(ANYWHERE, buffer("all", "SET", "hold_back: {units: 2}", "channel")), kit=SPLIT_SET)
    none_held = limit_of(rules(ANYWHERE, buffer("none", "SET", "hold_back: {units: 0}", "channel")), kit=SPLIT_SET)

    assert (free.total, free.held_by_buffer, free.buffers) == (7, 0, ())
    assert (none_held.total, none_held.held_by_buffer, none_held.buffers) == (7, 0, ())
    assert (held.total, held.held_by_buffer, held.buffers) == (5, 2, ("all",))


def test_an_order_free_of_buffers_may_use_all_its_kits() -> None:
    files = [policy(sold_may_use="[buffer]"), buffer("sets", "SET", "hold_back: {units: 1}")]

    assert dict(limit_of(rules(*files)).units) == {"dc": 2, "shop": 1}
    assert dict(limit_of(rules(*files), commitment=Commitment.HOLD).units) == {"dc": 1, "shop": 0}


def test_the_kits_of_an_order_are_those_of_its_lines() -> None:
    """The set had no bowl yet when the first of the two lines was ordered."""
    early = order_of(Kit("SET", {"MUG": 1}))
    late = tuple(replace(x, line_id=f"2{x.line_id}", kit=KitPart("2", "SET", size, True))
                 for x, size in zip(order_of(SET).lines, (1, 2), strict=True))  # fmt: skip
    order = replace(early, lines=(*early.lines, *late, OrderLine("3", "CAP", 1)))

    assert [*ordered_kits(order)] == [SPLIT_SET]
    assert [x.may_split for x in ordered_kits(order)] == [True]
