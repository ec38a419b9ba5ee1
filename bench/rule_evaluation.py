"""What rules cost: decisions from memory beside durable-rules evaluating the same rules each time. No database."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from bench.bench_report import Report, ratio
from bench.bench_retailer import RULES
from bench.rounds import Figures, Pace, WrongAnswer, interleaved
from policies.domain.model import Channel, Context, Location, Product, StockLevel
from policies.engine.conditions import All, Comparison, Operator
from policies.engine.matcher import Matcher
from policies.policy_set import PolicySet, Scope
from policies.reading.rules_reader import read
from service.catalog import catalog_requests, catalog_store
from service.policy.rules_folder import read_folder
from service.sample.sample_retailer import sample_channels, sample_locations, sample_products

NAME = "decisions"
PACE = Pace(rounds=7, seconds=0.5)
SEED = 20_261_127
CONTEXTS = 20_000
"""Questions that every arm is asked again and again."""
PROVEN = 2_000
"""Of these so many are answered three ways, which must agree."""
NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
AGES_MINUTES = (5, 10, 15, 30, 60, 120, 240, 720, 1_440, 2_880)

Question = Callable[[Context], object]


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Decisions a second; one is what exposure and buffer rules say of one SKU at one place. `url` is not used.

    Products are Zipf-distributed, ages of figures vary from a minute to days. Raises WrongAnswer.
    """
    contexts = _contexts(CONTEXTS)
    matchers = _matchers(_shipped())
    misses, first_seconds, miss_us = _first_pass(contexts)
    few, many = _generated(10), _generated(1_000)
    _prove([*matchers, few, many], contexts[:PROVEN])
    for matcher in (*matchers, few, many):
        # What comes once is in `first_pass`; from here on memory is what it is in steady state.
        for context in contexts:
            matcher.fired(context)
    found = await interleaved(
        {
            "memory": partial(_ask, [m.fired for m in matchers], contexts),
            "durable-rules": partial(_ask, [m.fired_by_engine for m in matchers], contexts),
            "memory, 10 rules": partial(_ask, [few.fired], contexts),
            "memory, 1000 rules": partial(_ask, [many.fired], contexts),
        },
        pace,
    )
    return Report(
        name=NAME,
        pace=pace,
        arms=found,
        ratios=[
            ratio("memoised_vs_durable_rules", found["memory"], found["durable-rules"], "per_second", at_least=20.0),
            ratio("rules_1000_vs_10", found["memory, 1000 rules"], found["memory, 10 rules"], "us_each", at_most=1.2),
        ],
        settings={
            "contexts": CONTEXTS,
            "hit_rate": 1 - misses / (CONTEXTS * len(matchers)),
            "miss_us": miss_us,
            "first_pass_us_each": first_seconds / CONTEXTS * 1e6,
            "signatures": sum(m.answer_count for m in matchers),
            "signatures_of_10_rules": few.answer_count,
            "signatures_of_1000_rules": many.answer_count,
        },
        proof=f"memory, engine and plain Python agree on {PROVEN:,} contexts, also for the 10 and 1,000 rules",
    )


async def _ask(questions: Sequence[Question], contexts: Sequence[Context], seconds: float) -> Figures:
    started = time.perf_counter()
    count = 0
    while (spent := time.perf_counter() - started) < seconds:
        for context in contexts[count % len(contexts) :][:500]:
            for question in questions:
                question(context)
            count += 1
    return {"us_each": spent / count * 1e6, "per_second": count / spent}


def _first_pass(contexts: Sequence[Context]) -> tuple[int, float, float]:
    """Misses and seconds of asking everything once of rules that were just read, and the microseconds of one miss."""
    matchers = _matchers(_shipped())
    started = time.perf_counter()
    miss_seconds = 0.0
    for context in contexts:
        for matcher in matchers:
            begun, before = time.perf_counter(), matcher.misses
            matcher.fired(context)
            miss_seconds += (time.perf_counter() - begun) * (matcher.misses - before)
    misses = sum(matcher.misses for matcher in matchers)
    return misses, time.perf_counter() - started, miss_seconds / misses * 1e6


def _prove(matchers: Sequence[Matcher[Any]], contexts: Sequence[Context]) -> None:
    for context in contexts:
        for matcher in matchers:
            answers = {matcher.fired(context), matcher.fired_by_engine(context), matcher.fired_by_oracle(context)}
            if len(answers) > 1:
                raise WrongAnswer(f"{context} is answered in different ways: {answers}")


def _shipped() -> PolicySet:
    reading = read(read_folder(RULES).files)
    if reading.policy_set is None:
        raise WrongAnswer(f"the repository's rules have problems: {reading.problems[0]}")
    return reading.policy_set


def _matchers(policy_set: PolicySet) -> list[Matcher[Any]]:
    return [policy_set.exposure_matcher, *(buffer.matcher for buffer in policy_set.buffers_of(Scope.LOCATION))]


def _generated(count: int) -> Matcher[int]:
    """So many rules of the kind that planners write: some SKUs, a sort of place and channel, an age."""
    chance = random.Random(SEED)
    skus = [product.sku for product in _products()]
    return Matcher.of([(number, _condition(chance, skus)) for number in range(count)])


def _condition(chance: random.Random, skus: Sequence[str]) -> All:
    return All(
        (
            Comparison("product.sku", Operator.IN, tuple(chance.sample(skus, 5))),
            Comparison("location.type", Operator.IS, (chance.choice(("store", "warehouse")),)),
            Comparison("channel.kind", Operator.IN, tuple(chance.sample(("web", "social", "marketplace"), 2))),
            Comparison("stock.age_minutes", Operator.MORE_THAN, (float(chance.choice(AGES_MINUTES)),)),
        )
    )


def _contexts(count: int) -> list[Context]:
    chance = random.Random(SEED)
    locations, channels, products = _locations(), _channels(), _products()
    chance.shuffle(products)
    weights = [1 / rank for rank in range(1, len(products) + 1)]
    return [
        _context(chance, product, chance.choice(locations), chance.choice(channels))
        for product in chance.choices(products, weights, k=count)
    ]


def _context(chance: random.Random, product: Product, location: Location, channel: Channel) -> Context:
    age = timedelta(minutes=chance.lognormvariate(3.5, 2.0))
    stock = StockLevel(
        sku=product.sku,
        location_id=location.id,
        on_hand=chance.randrange(200),
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
