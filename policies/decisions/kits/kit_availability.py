"""The availability of a kit for a channel, in kits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from functools import partial

from policies.decisions.availability.delivery_days import (
    DeliveryOption,
    SoldAlone,
    arrivals_from,
    delivery_options,
    promises_days,
)
from policies.decisions.availability.location_availability import NOTHING_WAIVED, LocationAvailability
from policies.decisions.availability.sellable import Availability, KitFigures, assess_availability, with_room
from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.eligibility import RoutingQuestion, may_split, policies_for
from policies.decisions.kits.kit_stock import KitStock, available_kits, kit_stock, largest_order
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.ranking import RankingContext, rank_locations
from policies.domain.kits import Kit
from policies.domain.model import Channel, Destination, OrderFacts, StockLevel, World, tags_of, weight_of
from policies.policy_set import PLAN_STEPS, PolicySet


def assess_kit(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    kit: Kit,
    *,
    method: str | None = None,
    destination: Destination | None = None,
    by_day: bool = False,
) -> Availability:
    """Sellable kits for the channel, as `assess_availability` does it for a product."""
    order = OrderFacts(method=method, product_tags=tags_of(kit.components, world.products))
    question = RoutingQuestion(world, channel, order, destination)
    policy = policies_for(policy_set, question)[0]
    view = PolicyView(policy_set, question, policy)
    stock = kit_stock(view, kit)
    tried = TriedOrders(policy_set, world, channel, kit.sku, kit, method, destination) if _is_tried(view, kit) else None
    sellable = stock.sellable
    remaining = max(0, stock.subtotal - stock.channel_effect.held_back)
    components = {
        sku: assess_availability(policy_set, world, channel, sku, method=method, destination=destination).sellable
        for sku in kit.components
    }
    return Availability(
        sku=kit.sku,
        sellable=sellable,
        total_available=available_kits(view, kit),
        held_back_by_channel=stock.subtotal - remaining,
        cut_off_applied=remaining > sellable == 0,
        capped=0 < sellable < remaining,
        largest_single_order=_largest_order(view, stock, tried),
        locations=tuple(stock.figures.values()),
        fired=stock.fired,
        policy=policy,
        kit=KitFigures(kit, components, _shown_levels(view, stock), stock.split_count),
        delivery_options=_delivery_options(view, stock, tried) if by_day else (),
        in_one_order={figure.location_id: figure.sellable for figure in _handled(view, stock)},
    )


def _is_tried(view: PolicyView, kit: Kit) -> bool:
    """Whether no sum over locations tells how many kits an order gets, so that orders have to be tried."""
    return kit.may_split or bool(view.memory.limited_ids)


def _delivery_options(view: PolicyView, stock: KitStock, tried: TriedOrders | None) -> tuple[DeliveryOption, ...]:
    if tried is None:
        sold_alone = _sold_alone(view.question, stock.kit)
        return delivery_options(view, stock.figures.values(), partial(_largest_in_time, view, stock), sold_alone)
    if not promises_days(view):
        return ()
    options, largest, size = [], 0, sum(stock.kit.components.values())
    for day, units in _units_by_day(view, stock.kit):
        # A later day leaves no less.
        largest = max(largest, tried.largest(largest, stock.sellable, day))
        if largest:
            there = {id: figure.sellable for id, figure in stock.figures.items() if id in units}
            kits = {id: int(min(count * size, units[id])) // size for id, count in there.items()}
            options.append(DeliveryOption(day, 1, largest, kits))
        if largest == stock.sellable:
            break
    return tuple(options)


def _units_by_day(view: PolicyView, kit: Kit) -> Iterator[tuple[date, Mapping[str, float]]]:
    """The days on which components may arrive, in their order, each with the most units of one order by location id."""
    arriving: dict[date, dict[str, float]] = {}
    numbers = {number for sku in kit.components for number, level in enumerate(view.stock(sku).levels) if level}
    for number in sorted(numbers):
        location_id = view.memory.locations[number].id
        for day, count in arrivals_from(view, view.question.order, location_id):
            there = arriving.setdefault(day, {})
            there[location_id] = max(count, there.get(location_id, 0))
    by_then: dict[str, float] = {}
    for day in sorted(arriving):
        by_then |= {id: max(count, by_then.get(id, 0)) for id, count in arriving[day].items()}
        yield day, dict(by_then)


def _sold_alone(question: RoutingQuestion, kit: Kit) -> SoldAlone:
    products = question.world.products
    product = products.get(kit.sku)
    return SoldAlone(
        sum(kit.components.values()),
        None if product is None else product.price,
        weight_of(kit.components, products),
        tags_of(kit.components, products),
    )


def _largest_order(view: PolicyView, stock: KitStock, tried: TriedOrders | None) -> int:
    if tried is None:
        return largest_order(stock, _Filling(view, stock))
    guess = sum(figure.sellable for figure in _handled(view, stock)) + stock.split_count
    return tried.largest(min(stock.sellable, guess), stock.sellable)


def _handled(view: PolicyView, stock: KitStock) -> Sequence[LocationAvailability]:
    """The figures of locations, in kits, with what each can handle of one order."""
    return with_room(tuple(stock.figures.values()), view, sum(stock.kit.components.values()))


def _largest_in_time(view: PolicyView, stock: KitStock, in_time: Sequence[LocationAvailability]) -> int:
    from_these = replace(stock, figures={figure.location_id: figure for figure in in_time})
    return largest_order(from_these, _Filling(view, from_these), at_most=stock.sellable)


def _shown_levels(view: PolicyView, stock: KitStock) -> dict[str, StockLevel]:
    """The kits at each location by what their components are: on hand, unavailable, promised, available."""
    shown = {}
    for location_id, level in stock.levels.items():
        parts = [view.question.level(sku, location_id) for sku in stock.kit.components]
        sellable = [0 if part is None else max(0, part.on_hand - part.unavailable) for part in parts]
        kits = stock.kit.count_in(dict(zip(stock.kit.components, sellable, strict=True)))
        unavailable = level.on_hand - min(level.on_hand, kits)
        allocated = level.on_hand - unavailable - stock.figures[location_id].available
        shown[location_id] = replace(level, unavailable=unavailable, allocated=max(0, allocated))
    return shown


def kits_promised(
    kit: Kit,
    levels: Mapping[tuple[str, str], StockLevel],
    promised: Mapping[tuple[str, str], int],
    location_ids: Iterable[str],
) -> dict[tuple[str, str], int]:
    """Kits that would be available too, had the promised units, by (SKU, location id), not been promised.

    By (SKU of the kit, location id).
    """
    kits = {}
    for location_id in location_ids:
        stored = {sku: levels.get((sku, location_id)) for sku in kit.components}
        units = {sku: 0 if level is None else max(0, level.available) for sku, level in stored.items()}
        with_promised = {sku: count + promised.get((sku, location_id), 0) for sku, count in units.items()}
        kits[kit.sku, location_id] = kit.count_in(with_promised) - kit.count_in(units)
    return kits


@dataclass(frozen=True, slots=True)
class _Filling:
    """From which locations an order of a number of kits alone is filled, as `policies.decisions.parts` fills it."""

    view: PolicyView
    stock: KitStock

    def __call__(self, size: int) -> list[int]:
        """The kits of each of these locations."""
        policy = self.view.policy
        suppliers = [figure for figure in self.stock.figures.values() if figure.sellable]
        # Whether `split_only_if` would allow a split of kits is not worked out here: one location is always allowed.
        is_split = policy.split_only_if is None and may_split(policy, self._value(size))
        limit = policy.max_shipments if is_split else 1
        return [figure.sellable for figure in self._in_order(suppliers, size)[:limit]]

    def _in_order(self, suppliers: Sequence[LocationAvailability], size: int) -> list[LocationAvailability]:
        if any(step.kind in PLAN_STEPS for step in self.view.policy.rank):
            return sorted(suppliers, key=lambda figure: -figure.sellable)
        components = self.stock.kit.components
        ids = [figure.location_id for figure in suppliers]
        units = {sku: self._units(sku, ids) for sku in components}
        demand = {sku: size * unit_count for sku, unit_count in components.items()}
        context = RankingContext(self.view, tuple(components), demand=demand, units=units)
        ranked = rank_locations(context, ids)
        return sorted(suppliers, key=lambda figure: (ranked[figure.location_id], figure.location_id))

    def _units(self, sku: str, location_ids: Sequence[str]) -> dict[str, int]:
        figures, numbers = self.view.stock(sku).assessments(NOTHING_WAIVED).figures, self.view.memory.numbers
        return {location_id: figures[numbers[location_id]].sellable for location_id in location_ids}

    def _value(self, size: int) -> Decimal | None:
        product = self.view.question.world.products.get(self.stock.kit.sku)
        return None if product is None or product.price is None else product.price * size
