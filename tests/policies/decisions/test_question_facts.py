"""What an answer of rules depends on: questions that are equal in it share one answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decisions.planning.question_facts import question_reader
from policies.domain.model import Context, Coordinates, Destination, OrderFacts
from tests.policies.small_retailer import NOW, TIKTOK, TO_OSLO, level, store

FIRST = Context(NOW, TIKTOK, OrderFacts("ship", unit_count=1), TO_OSLO, store("a"), stock=level("MUG", "a", 3))
LATER = replace(FIRST, now=NOW + timedelta(minutes=1))
OTHER_ORDER = replace(FIRST, order=OrderFacts("ship", unit_count=2))
ELSEWHERE = replace(FIRST, destination=Destination("SE", coordinates=TO_OSLO.coordinates))
FAR_AWAY = replace(FIRST, destination=replace(TO_OSLO, coordinates=Coordinates(1, 2)))
MORE_STOCK = replace(FIRST, stock=level("MUG", "a", 4))
QUESTIONS = {
    "later": LATER,
    "other order": OTHER_ORDER,
    "elsewhere": ELSEWHERE,
    "far away": FAR_AWAY,
    "more stock": MORE_STOCK,
}


@pytest.mark.parametrize(
    ("fact", "seen"),
    [
        ("order.unit_count", {"other order"}),
        ("order.method", set()),
        ("destination.country", {"elsewhere"}),
        ("stock.available", set()),
        ("stock.age_minutes", set()),
        ("location.type", set()),
        ("product.tags", set()),
        ("channel.kind", set()),
        ("location.open_now", {"later"}),
        ("location.distance_km", {"far away"}),
        ("location.same_country", {"elsewhere"}),
        ("location.serves_destination", {"elsewhere"}),
        ("location.capacity_left", {"later"}),
        ("from 2026-11-28T00:00:00+00:00", {"later"}),
        ("plan.cost", {"later", "other order", "elsewhere", "far away"}),
    ],
)
def test_an_answer_depends_on_what_its_fact_is_read_from(fact: str, seen: set[str]) -> None:
    read = question_reader.__wrapped__((fact,))

    assert {name for name, question in QUESTIONS.items() if read(question) != read(FIRST)} == seen
