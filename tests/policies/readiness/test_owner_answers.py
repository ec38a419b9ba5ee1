"""Who gets exceptions, and whether they can be reached."""

from policies.domain.model import EXCEPTION_KINDS
from policies.readiness.answers import Result
from policies.readiness.owner_answers import owners_declared, owners_of
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, rules

DESKS = """
kind: exception
owners:
  - {name: desk, contact: desk@shop.example}
  - {name: lead, contact: "+49 30 1234567"}
rules:
  - name: oversold
    position: 1
    when: {exception.kind: oversell}
    do: review
    owner: desk
    due_in: 1h
    escalate_to: lead
  - {name: rest, position: 9, do: review, owner: desk, due_in: 1d}
"""


def test_every_kind_of_exception_has_the_owner_that_the_rules_name() -> None:
    policy_set = rules(ANYWHERE, DESKS)

    owners = owners_of(policy_set, TIKTOK, NOW)

    assert (owners["oversell"], owners["review"]) == (("desk", "lead"), ("desk",))
    assert owners_declared(owners, policy_set.owners).finding == f"{len(EXCEPTION_KINDS)} kinds of exceptions, 2 owners"


def test_an_owner_without_a_contact_cannot_be_reached() -> None:
    without = rules(ANYWHERE, DESKS[DESKS.index("rules:") :].join(["kind: exception\n", ""]))

    answer = owners_declared(owners_of(without, TIKTOK, NOW), without.owners)

    assert (answer.result, answer.details[0]) == (Result.FAIL, "oversell: desk, lead")


def test_the_built_in_owner_of_rules_without_exceptions_is_nobody_who_was_declared() -> None:
    answer = owners_declared(owners_of(rules(ANYWHERE), TIKTOK, NOW), {})

    assert answer.finding == "1 owner without a contact: operations"
