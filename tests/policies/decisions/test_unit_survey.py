"""What an order may use, found at all locations at once, is what it finds when it visits one after the other."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from policies.decisions.eligibility import RoutingQuestion, policies_for
from policies.decisions.order_limits import waived_limits
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.unit_survey import UnitSurvey
from tests.policies.decisions.test_planning_memory import POLICY_SETS, ChangingShop


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, len(POLICY_SETS) - 1))
def test_all_locations_at_once_are_as_one_after_the_other(seed: int, which: int) -> None:
    shop, policy_set = ChangingShop(seed), POLICY_SETS[which]
    for _ in range(5):
        shop.change()
        order, own, rejected, whole = shop.order()
        question = RoutingQuestion.of(shop.world, shop.channel, order, own, rejected_by=rejected, whole=whole)
        view = PolicyView(policy_set, question, policies_for(policy_set, question)[0])
        skus, waived = tuple(order.units_by_sku()), waived_limits(order, view.policy)
        at_once, in_turn = UnitSurvey(view, skus, waived), UnitSurvey(view, skus, waived)

        at_once.visit_all()
        for number in range(len(view.memory.locations)):
            in_turn.visit(number)

        assert found(at_once) == found(in_turn)


def found(survey: UnitSurvey) -> object:
    """All that a survey found, with the order in which it was found and the facts of the rules."""
    fired = [(rule, rule.evidence and rule.evidence.facts()) for rule in survey.fired]
    dropped = [(item, item.evidence and item.evidence.facts()) for item in survey.dropped]
    units = [(sku, [*by_location.items()]) for sku, by_location in survey.units.items()]
    figures = [survey.figures(sku) for sku in survey.skus]
    rejected = {sku: count for sku, count in survey.rejected_units.items() if count}
    return units, fired, dropped, figures, survey.promised_units, survey.kept_units, rejected, survey.late_units
