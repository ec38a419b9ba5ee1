"""Buffers: whether they keep units from a channel, are tested, and are as wide as the feeds are slow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from policies.decisions.availability.sellable import channel_level
from policies.decisions.buffers import buffer_effect, units_held_back
from policies.domain.model import Channel, Context, OrderFacts, StockLevel, World
from policies.policy_set import PolicySet, Scope
from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, listed, passes, warns
from policies.readiness.stock_answers import age_text
from policies.readiness.unreported_sales import HotHour, LevelKey

LAG_DAYS = 14
MANY_OUTRUN = 0.05
"""The share of hot hours that may outrun their buffer before it counts as too small."""


@dataclass(frozen=True, slots=True)
class TestRun:
    """The last run of the tests beside the rules: None of the counts if it could not be run, and then why."""

    test_count: int = 0
    failures: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    not_run: str = ""


@dataclass(frozen=True, slots=True)
class BufferCover:
    """The levels and products that were looked at, and those of which a buffer keeps units."""

    product_count: int
    covered: frozenset[str]
    rules: tuple[str, ...]
    has_rules: bool


def buffer_cover(policy_set: PolicySet, world: World, channel: Channel) -> BufferCover:
    """Of which of the world's products the buffers in force keep units from the channel, and by which rules."""
    by_sku: dict[str, list[StockLevel]] = {}
    for level in world.levels.values():
        if level.available > 0:
            by_sku.setdefault(level.sku, []).append(level)
    covered, rules = set[str](), set[str]()
    for sku, levels in by_sku.items():
        contexts = [(Scope.LOCATION, _context(world, channel, level)) for level in levels]
        contexts.append((Scope.CHANNEL, _context(world, channel, channel_level(sku, levels))))
        for scope, context in contexts:
            effect = buffer_effect(policy_set.buffers_of(scope), context)
            if effect.held_back or effect.cut_off is not None:
                covered.add(sku)
                rules.update(rule.name for rule in effect.fired)
    return BufferCover(len(by_sku), frozenset(covered), tuple(sorted(rules)), bool(policy_set.buffers))


def buffers_in_place(cover: BufferCover, channel_kind: str) -> Answer:
    """Whether buffers keep units of the products with stock; a till sells what is on its shelf and needs none."""
    question = questions.BUFFERS_IN_PLACE
    if channel_kind == "pos":
        return passes(question, "a till sells what is on the shelf and needs no buffer")
    advice = "add a rule with `hold_back` for this channel to rules/buffers/, with a test beside it."
    if not cover.has_rules:
        return fails(question, "there is no buffer rule", advice)
    if not cover.product_count:
        return warns(question, "no product has stock, so no buffer could be looked at", "count stock, and check again.")
    if not cover.covered:
        return fails(question, f"no buffer rule keeps units of {counted(cover.product_count, 'product')}", advice)
    finding = (
        f"units of {len(cover.covered):,} of {counted(cover.product_count, 'product')} kept by {listed(cover.rules)}"
    )
    return passes(question, finding)


def buffers_tested(run: TestRun, *, has_buffers: bool) -> Answer:
    """Whether the tests of the rules pass, and each buffer rule has one that makes it fire."""
    question = questions.BUFFERS_TESTED
    if run.not_run:
        return fails(question, f"the tests could not be run: {run.not_run}", "make them simpler, and check again.")
    if run.failures:
        finding = f"{counted(len(run.failures), 'test')} of {run.test_count:,} failed"
        return fails(question, finding, "run `truestock check` and correct the rules or their tests.", run.failures)
    if run.untested:
        advice = "write a test of each, or have `truestock check --draft-tests` draft them."
        return fails(question, f"{counted(len(run.untested), 'rule')} without a test", advice, run.untested)
    if not has_buffers:
        return warns(question, "there is no buffer rule to test", "add a buffer and its test.")
    return passes(question, f"{counted(run.test_count, 'test')} passed, and every rule has one")


def hold_backs_at(
    policy_set: PolicySet, world: World, channel: Channel, hours: Sequence[HotHour]
) -> Mapping[LevelKey, int]:
    """Units that the buffers in force keep of each level of the hot hours, of both scopes together.

    Each level is taken as old as its feed was late in its worst hour, for rules that look at its age.
    """
    lags = {(hour.sku, hour.location_id): hour.lag for hour in sorted(hours, key=lambda hour: hour.lag)}
    totals: dict[str, int] = {}
    kept: dict[LevelKey, int] = {}
    for key, lag in lags.items():
        level = world.levels.get(key)
        if level is None:
            continue
        if key[0] not in totals:
            totals[key[0]] = _kept_by_channel(policy_set, world, channel, key[0])
        kept[key] = totals[key[0]] + _kept_at_location(policy_set, world, channel, _aged(level, world.now - lag))
    return kept


def buffers_wide_enough(hours: Sequence[HotHour], kept: Mapping[LevelKey, int], *, has_buffers: bool) -> Answer:
    """Whether hours in which units sold unreported were within the buffer of their level."""
    question = questions.BUFFERS_WIDE_ENOUGH
    known = [hour for hour in hours if (hour.sku, hour.location_id) in kept]
    if not has_buffers:
        return warns(question, "there is no buffer to compare with what sold", "add a buffer, and check again.")
    if not known:
        return passes(question, f"in the last {LAG_DAYS} days nothing sold before its feed reported it")
    outrun = [hour for hour in known if hour.units > kept[hour.sku, hour.location_id]]
    finding = f"in the last {LAG_DAYS} days {len(outrun):,} of {counted(len(known), 'hot hour')} outran the buffer"
    details = [_outrun_text(hour, kept) for hour in _by_excess(outrun, kept)]
    advice = "widen the buffers of these products, such as by `expected_sales: {during: stock_age}`, or report sooner."
    if len(outrun) > MANY_OUTRUN * len(known):
        return fails(question, finding, advice, details)
    return warns(question, finding, advice, details) if outrun else passes(question, finding)


def _by_excess(hours: Sequence[HotHour], kept: Mapping[LevelKey, int]) -> Sequence[HotHour]:
    return sorted(hours, key=lambda hour: kept[hour.sku, hour.location_id] - hour.units)


def _outrun_text(hour: HotHour, kept: Mapping[LevelKey, int]) -> str:
    return (
        f"{hour.sku} at {hour.location_id}, {hour.start:%Y-%m-%d %H:00} UTC: {counted(hour.units, 'unit')} gone within "
        f"{age_text(hour.lag)} unreported, buffer {kept[hour.sku, hour.location_id]:,}"
    )


def _kept_by_channel(policy_set: PolicySet, world: World, channel: Channel, sku: str) -> int:
    levels = [level for level in world.levels.values() if level.sku == sku]
    return units_held_back(policy_set.buffers_of(Scope.CHANNEL), _context(world, channel, channel_level(sku, levels)))


def _kept_at_location(policy_set: PolicySet, world: World, channel: Channel, level: StockLevel) -> int:
    return units_held_back(policy_set.buffers_of(Scope.LOCATION), _context(world, channel, level))


def _context(world: World, channel: Channel, level: StockLevel) -> Context:
    product = world.products.get(level.sku)
    location = world.locations.get(level.location_id)
    order = OrderFacts(product_tags=product.tags if product else None)
    return Context(world.now, channel, order, None, location, product, level)


def _aged(level: StockLevel, as_of_time: datetime) -> StockLevel:
    """The level as if it were true at that time."""
    return StockLevel(
        level.sku,
        level.location_id,
        level.on_hand,
        level.unavailable,
        level.held,
        level.allocated,
        as_of_time,
        level.counted_time,
        level.count_confidence,
        level.source,
        level.tracked,
        level.physical_count_time,
    )
