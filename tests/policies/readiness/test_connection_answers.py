"""The connector of a channel: what is broken of it turns its own question red, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from policies.readiness.answers import Result
from policies.readiness.connection_answers import Connected, NeededOfShop, Shop, connection_answers
from tests.policies.small_retailer import NOW

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SHOP = Shop(
    NOW - 30 * MINUTE,
    scopes={"read_orders": NeededOfShop(True), "read_products": NeededOfShop(True)},
    webhooks={"ORDERS_CREATE": NeededOfShop(True)},
    outlet_count=2,
    item_count=500,
)
WHOLE = Connected(
    "shop-us",
    NOW - MINUTE,
    token_expire_time=NOW + 20 * HOUR,
    token_refresh_time=NOW + 15 * HOUR,
    webhook_time=NOW - 2 * HOUR,
    shop=SHOP,
)


def not_passed(connected: Connected | None) -> dict[str, Result]:
    answers = connection_answers(connected, NOW)
    return {x.question.name: x.result for x in answers if x.result is not Result.PASS}


def finding(connected: Connected | None, name: str) -> str:
    return next(x.finding for x in connection_answers(connected, NOW) if x.question.name == name)


def test_a_channel_without_a_connector_says_so_and_is_not_red() -> None:
    (answer,) = connection_answers(None, NOW)

    assert answer.result is Result.PASS
    assert answer.finding == "not connected: no connector feeds this channel, its callers do"


def test_a_connector_that_works_passes_everything() -> None:
    assert not_passed(WHOLE) == {}
    assert finding(WHOLE, "connection_authorized") == "the tokens hold for 20 hours"
    assert finding(WHOLE, "connection_scopes") == "2 of 2 scopes granted"
    assert finding(WHOLE, "connection_webhooks") == "1 of 1 webhook subscribed; the last was heard 2 hours ago"


def test_a_connector_that_is_silent_fails_by_itself() -> None:
    assert not_passed(replace(WHOLE, report_time=NOW - 6 * MINUTE)) == {"connector_heard": Result.FAIL}


def test_a_connector_that_cannot_look_at_the_shop_fails() -> None:
    unseen = replace(WHOLE, shop=None)
    long_ago = replace(WHOLE, shop=replace(SHOP, look_time=NOW - 4 * HOUR))

    assert not_passed(unseen) == not_passed(long_ago) == {"connector_heard": Result.FAIL}


def test_a_shop_that_does_not_let_the_connector_in_is_not_also_one_that_was_not_looked_at() -> None:
    paused = replace(WHOLE, pause_reason="the shop has withdrawn its permission", shop=None)

    assert not_passed(paused) == {"connection_authorized": Result.FAIL}
    assert "withdrawn" in finding(paused, "connection_authorized")


def test_tokens_fail_once_they_have_ended_and_warn_while_they_are_not_refreshed() -> None:
    ended = replace(WHOLE, token_expire_time=NOW - HOUR)
    late = replace(WHOLE, token_refresh_time=NOW - 10 * MINUTE)

    assert not_passed(ended) == {"connection_authorized": Result.FAIL}
    assert not_passed(replace(WHOLE, token_expire_time=None)) == {"connection_authorized": Result.FAIL}
    assert not_passed(late) == {"connection_authorized": Result.WARN}


def test_a_scope_that_was_not_granted_fails_and_says_how_to_get_it() -> None:
    shop = replace(SHOP, scopes={**SHOP.scopes, "read_products": NeededOfShop(False, "add it to the app")})
    broken = replace(WHOLE, shop=shop)
    (failed,) = [x for x in connection_answers(broken, NOW) if x.result is not Result.PASS]

    assert (failed.question.name, failed.result) == ("connection_scopes", Result.FAIL)
    assert failed.finding == "1 of 2 scopes granted"
    assert failed.details == ("read_products: add it to the app",)


def test_a_platform_that_tells_no_scopes_passes() -> None:
    assert not_passed(replace(WHOLE, shop=replace(SHOP, scopes={}))) == {}


def test_a_webhook_that_is_not_subscribed_fails_and_a_silent_day_warns() -> None:
    dropped = replace(SHOP, webhooks={"ORDERS_CREATE": NeededOfShop(False, "the address is refused")})
    silent = replace(WHOLE, webhook_time=NOW - timedelta(days=2))

    assert not_passed(replace(WHOLE, shop=dropped)) == {"connection_webhooks": Result.FAIL}
    assert not_passed(silent) == not_passed(replace(WHOLE, webhook_time=None)) == {"connection_webhooks": Result.WARN}


def test_a_location_of_the_shop_that_is_no_outlet_fails_and_an_outlet_that_it_lost_warns() -> None:
    unmapped, missing = replace(SHOP, unmapped_outlets=("71 (Boise)",)), replace(SHOP, missing_outlet_ids=("9",))

    assert not_passed(replace(WHOLE, shop=unmapped)) == {"connection_outlets": Result.FAIL}
    assert not_passed(replace(WHOLE, shop=missing)) == {"connection_outlets": Result.WARN}


def test_an_item_of_the_shop_that_is_not_mapped_fails_and_a_listing_that_it_lost_warns() -> None:
    unmapped = replace(SHOP, unmapped_item_count=3, unmapped_items=("1 (MUG)",))
    missing = replace(SHOP, missing_item_count=2, missing_item_ids=("8", "9"))

    assert not_passed(replace(WHOLE, shop=unmapped)) == {"connection_items": Result.FAIL}
    assert finding(replace(WHOLE, shop=unmapped), "connection_items") == "3 of 500 items of the shop not mapped"
    assert not_passed(replace(WHOLE, shop=missing)) == {"connection_items": Result.WARN}


def test_a_shop_that_could_not_be_listed_warns_of_both_lists_only() -> None:
    refused = replace(SHOP, list_problem="access denied for productVariants")

    assert not_passed(replace(WHOLE, shop=refused)) == {
        "connection_outlets": Result.WARN,
        "connection_items": Result.WARN,
    }
