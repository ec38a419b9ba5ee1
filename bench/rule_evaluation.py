"""The cost of rules: cached answers beside durable-rules, which evaluates the same rules each time. No database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.bench_report import Report, ratio
from bench.bench_retailer import repository_rules
from bench.rounds import Figures, Pace, WrongAnswer, run_in_turns
from policies.domain.model import Channel, Context, Location, Product, StockLevel
from policies.engine.conditions import All, Comparison, Operator
from policies.engine.matcher import Matcher
from policies.policy_set import PolicySet, Scope
from service.catalog import catalog_requests, catalog_store
from service.sample.sample_retailer import sample_channels, sample_locations, sample_products

NAME = "decisions"
PACE = Pace(rounds=7, seconds=0.5)
SEED = 20_261_127
CONTEXTS = 20_000
"""Contexts that every variant evaluates again and again."""
CROSS_CHECKED = 2_000
"""Contexts that cache, engine and plain Python evaluate; their results must agree."""
NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
AGES_MINUTES = (5, 10, 15, 30, 60, 120, 240, 720, 1_440, 2_880)

Evaluate = Callable[[Context], object]


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Decisions per second; a decision applies exposure and buffer rules to a SKU at a location. `url` is not used.

    Products are Zipf-distributed, ages of stock levels vary from a minute to days. Raises WrongAnswer.
    """
    contexts = _contexts(CONTEXTS)
    matchers = _matchers(repository_rules())
    misses, first_seconds, miss_us = _first_pass(contexts)
    few_rules, many_rules = _generated_rules(10), _generated_rules(1_000)
    _cross_check([*matchers, few_rules, many_rules], contexts[:CROSS_CHECKED])
    for matcher in (*matchers, few_rules, many_rules):
        # Fills the caches, so that the variants measure the steady state; `_first_pass` measures the misses.
        for context in contexts:
            matcher.fired(context)
    figures = await run_in_turns(
        {
            "cache": partial(_evaluate, [matcher.fired for matcher in matchers], contexts),
            "durable-rules": partial(_evaluate, [matcher.fired_by_engine for matcher in matchers], contexts),
            "cache, 10 rules": partial(_evaluate, [few_rules.fired], contexts),
            "cache, 1000 rules": partial(_evaluate, [many_rules.fired], contexts),
        },
        pace,
    )
    cache, engine = figures["cache"], figures["durable-rules"]
    cache_10, cache_1000 = figures["cache, 10 rules"], figures["cache, 1000 rules"]
    return Report(
        name=NAME,
        pace=pace,
        variants=figures,
        ratios=[
            ratio("memoised_vs_durable_rules", cache, engine, "decisions_per_second", at_least=20.0),
            ratio("rules_1000_vs_10", cache_1000, cache_10, "us_per_decision", at_most=1.2),
        ],
        settings={
            "contexts": CONTEXTS,
            "hit_rate": 1 - misses / (CONTEXTS * len(matchers)),
            "miss_us": miss_us,
            "first_pass_us_per_decision": first_seconds / CONTEXTS * 1e6,
            "cached_answers": sum(matcher.answer_count for matcher in matchers),
            "cached_answers_of_10_rules": few_rules.answer_count,
            "cached_answers_of_1000_rules": many_rules.answer_count,
        },
        verified=f"cache, engine and plain Python agree on {CROSS_CHECKED:,} contexts, also for the 10 and 1,000 rules",
    )


async def _evaluate(evaluations: Sequence[Evaluate], contexts: Sequence[Context], seconds: float) -> Figures:
    start = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        for context in contexts[count % len(contexts) :][:500]:
            for evaluate in evaluations:
                evaluate(context)
            count += 1
    return {"us_per_decision": elapsed / count * 1e6, "decisions_per_second": count / elapsed}


def _first_pass(contexts: Sequence[Context]) -> tuple[int, float, float]:
    """Evaluates every context once with empty caches: misses, seconds for all, and microseconds per miss."""
    matchers = _matchers(repository_rules())
    start = time.perf_counter()
    miss_seconds = 0.0
    for context in contexts:
        for matcher in matchers:
            call_start, misses_before = time.perf_counter(), matcher.misses
            matcher.fired(context)
            miss_seconds += (time.perf_counter() - call_start) * (matcher.misses - misses_before)
    misses = sum(matcher.misses for matcher in matchers)
    return misses, time.perf_counter() - start, miss_seconds / misses * 1e6


def _cross_check(matchers: Sequence[Matcher[Any]], contexts: Sequence[Context]) -> None:
    for context in contexts:
        for matcher in matchers:
            answers = {matcher.fired(context), matcher.fired_by_engine(context), matcher.fired_by_oracle(context)}
            if len(answers) > 1:
                raise WrongAnswer(f"cache, engine and plain Python disagree about {context}: {answers}")


def _matchers(policy_set: PolicySet) -> list[Matcher[Any]]:
    return [policy_set.exposure_matcher, *(buffer.matcher for buffer in policy_set.buffers_of(Scope.LOCATION))]


def _generated_rules(count: int) -> Matcher[int]:
    """Rules such as planners write: some SKUs, a type of location, kinds of channel, an age of stock."""
    generator = random.Random(SEED)
    skus = [product.sku for product in _products()]
    return Matcher.of([(number, _condition(generator, skus)) for number in range(count)])


def _condition(generator: random.Random, skus: Sequence[str]) -> All:
    return All(
        (
            Comparison("product.sku", Operator.IN, tuple(generator.sample(skus, 5))),
            Comparison("location.type", Operator.IS, (generator.choice(("store", "warehouse")),)),
            Comparison("channel.kind", Operator.IN, tuple(generator.sample(("web", "social", "marketplace"), 2))),
            Comparison("stock.age_minutes", Operator.MORE_THAN, (float(generator.choice(AGES_MINUTES)),)),
        )
    )


def _contexts(count: int) -> list[Context]:
    generator = random.Random(SEED)
    locations, channels, products = _locations(), _channels(), _products()
    generator.shuffle(products)
    weights = [1 / rank for rank in range(1, len(products) + 1)]
    return [
        _context(generator, product, generator.choice(locations), generator.choice(channels))
        for product in generator.choices(products, weights, k=count)
    ]


def _context(generator: random.Random, product: Product, location: Location, channel: Channel) -> Context:
    age = timedelta(minutes=generator.lognormvariate(3.5, 2.0))
    stock = StockLevel(
        sku=product.sku,
        location_id=location.id,
        on_hand=generator.randrange(200),
        as_of_time=NOW - age,
        counted_time=NOW - age,
    )
    return Context(now=NOW, channel=channel, location=location, product=product, stock=stock)


def _products() -> list[Product]:
    rows: list[Any] = [{"learned_velocity": None, **row} for row in catalog_requests.product_rows(sample_products())]
    return [catalog_store.product_of(row) for row in rows]


def _locations() -> list[Location]:
    rows: list[Any] = catalog_requests.location_rows(sample_locations())
    return [catalog_store.location_of(row) for row in rows]


def _channels() -> list[Channel]:
    rows: list[Any] = catalog_requests.channel_rows(sample_channels())
    return [catalog_store.channel_of(row) for row in rows]
