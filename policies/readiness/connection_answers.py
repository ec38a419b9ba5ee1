"""The connector of a channel: whether it works, may read the shop, hears of changes, and has everything mapped.

A channel that is fed by callers of the API has no connector, and is asked nothing about one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from policies.readiness import questions
from policies.readiness.answers import Answer, Question, counted, fails, passes, warns
from policies.readiness.stock_answers import age_text, ago_text

SILENT_AFTER = timedelta(minutes=5)
"""A connector says something every minute."""
LOOK_WITHIN = timedelta(hours=3)
"""It looks at scopes, webhooks, outlets and items every hour."""
REFRESH_WITHIN = timedelta(minutes=5)
"""How long after it is due a token may be refreshed."""
HEARD_WITHIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NeededOfShop:
    """A permission or webhook that a connector needs: whether it has it, and what a person has to do if not."""

    works: bool
    todo: str = ""


@dataclass(frozen=True, slots=True)
class Shop:
    """What a connector found when it last looked at the shop, compared with the catalog as it is now.

    `unmapped_…` are known to the shop only, `missing_…` to the catalog only; the first of them are named.
    """

    look_time: datetime
    scopes: Mapping[str, NeededOfShop] = field(default_factory=dict)
    webhooks: Mapping[str, NeededOfShop] = field(default_factory=dict)
    outlet_count: int = 0
    unmapped_outlets: tuple[str, ...] = ()
    missing_outlet_ids: tuple[str, ...] = ()
    item_count: int = 0
    unmapped_item_count: int = 0
    unmapped_items: tuple[str, ...] = ()
    missing_item_count: int = 0
    missing_item_ids: tuple[str, ...] = ()
    list_problem: str = ""
    """Why outlets and items could not be listed."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What the connector of a channel last said. Times are None where there is none, `shop` if it never looked."""

    account: str
    report_time: datetime
    pause_reason: str = ""
    token_expire_time: datetime | None = None
    token_refresh_time: datetime | None = None
    webhook_time: datetime | None = None
    shop: Shop | None = None


def connection_answers(connected: Connected | None, now: datetime) -> list[Answer]:
    """One answer where no connector feeds the channel; otherwise one for each thing that it needs."""
    if connected is None:
        return [passes(questions.CONNECTOR_HEARD, "not connected: no connector feeds this channel, its callers do")]
    answers = [connector_heard(connected, now), connection_authorized(connected, now)]
    if connected.shop is not None:
        shop = connected.shop
        answers += [
            connection_scopes(shop),
            connection_webhooks(shop, connected.webhook_time, now),
            connection_outlets(shop, connected.account),
            connection_items(shop, connected.account),
        ]
    return answers


def connector_heard(connected: Connected, now: datetime) -> Answer:
    """Whether the connector runs, and has looked at the shop lately unless the shop does not let it in."""
    question, account = questions.CONNECTOR_HEARD, connected.account
    finding = f"account {account} was last heard of {ago_text(now - connected.report_time)}"
    if now - connected.report_time > SILENT_AFTER:
        forget = "or, if no connector feeds this channel any more, forget it with `truestock channels forget`."
        return fails(question, finding, f"start `truestock channels serve`, {forget}")
    if connected.pause_reason:
        return passes(question, finding)
    connect = f"run `truestock channels connect {account}`, which says why."
    if connected.shop is None:
        return fails(question, f"{finding}, and has never looked at the shop", connect)
    finding = f"{finding}, and looked at the shop {ago_text(now - connected.shop.look_time)}"
    late = now - connected.shop.look_time > LOOK_WITHIN
    return fails(question, finding, connect) if late else passes(question, finding)


def connection_authorized(connected: Connected, now: datetime) -> Answer:
    """Whether the tokens hold, and are refreshed before they end."""
    question, connect = questions.CONNECTION_AUTHORIZED, f"run `truestock channels connect {connected.account}`."
    if connected.pause_reason:
        return fails(question, f"paused: {connected.pause_reason}", connect)
    end = connected.token_expire_time
    if end is None:
        return fails(question, "there are no tokens", connect)
    if end <= now:
        return fails(question, f"the tokens ended {ago_text(now - end)}", connect)
    finding = f"the tokens hold for {age_text(end - now)}"
    due = connected.token_refresh_time
    if due is not None and now - due > REFRESH_WITHIN:
        advice = "see the log of the connector, which refreshes them, and whether the platform answers."
        return warns(question, f"{finding}, and were to be refreshed {ago_text(now - due)}", advice)
    return passes(question, finding)


def connection_scopes(shop: Shop) -> Answer:
    """Whether the shop has granted everything that is needed."""
    question = questions.CONNECTION_SCOPES
    if not shop.scopes:
        return passes(question, "the platform does not say what it has granted")
    lacking = [_need_text(name, need) for name, need in shop.scopes.items() if not need.works]
    granted = f"{len(shop.scopes) - len(lacking):,} of {counted(len(shop.scopes), 'scope')} granted"
    if lacking:
        return fails(question, granted, "have them granted, and connect the account again.", lacking)
    return passes(question, granted)


def connection_webhooks(shop: Shop, webhook_time: datetime | None, now: datetime) -> Answer:
    """Whether every webhook is subscribed, and one was heard lately."""
    question = questions.CONNECTION_WEBHOOKS
    lacking = [_need_text(name, need) for name, need in shop.webhooks.items() if not need.works]
    heard = "none was ever heard" if webhook_time is None else f"the last was heard {ago_text(now - webhook_time)}"
    count = len(shop.webhooks)
    subscribed = f"{count - len(lacking):,} of {counted(count, 'webhook')} subscribed" if count else "not looked at"
    finding = f"{subscribed}; {heard}"
    if lacking:
        return fails(question, finding, "do what each says; until then changes are noticed by polls only.", lacking)
    if webhook_time is None or now - webhook_time > HEARD_WITHIN:
        advice = "see that `public_url` leads to `truestock channels serve`; until then polls notice changes."
        return warns(question, finding, advice)
    return passes(question, finding)


def connection_outlets(shop: Shop, account: str) -> Answer:
    """Whether the shop's locations and the channel's outlets are the same."""
    question = questions.CONNECTION_OUTLETS
    if shop.list_problem:
        return _not_listed(question, shop)
    count = counted(shop.outlet_count, "location")
    if shop.unmapped_outlets:
        advice = f"map them with `truestock channels map {account}`, or switch them off at the shop."
        finding = f"{len(shop.unmapped_outlets):,} of {count} of the shop without an outlet here"
        return fails(question, finding, advice, shop.unmapped_outlets)
    return _other_side(question, f"{count} of the shop, each an outlet", shop.missing_outlet_ids, "outlet")


def connection_items(shop: Shop, account: str) -> Answer:
    """Whether the shop's items and the channel's listings are the same."""
    question = questions.CONNECTION_ITEMS
    if shop.list_problem:
        return _not_listed(question, shop)
    count = counted(shop.item_count, "item")
    if shop.unmapped_item_count:
        advice = f"map them with `truestock channels map {account}`, or take them off the shop."
        finding = f"{shop.unmapped_item_count:,} of {count} of the shop not mapped"
        return fails(question, finding, advice, shop.unmapped_items)
    missing = (shop.missing_item_ids, "listing", shop.missing_item_count)
    return _other_side(question, f"{count} of the shop, each mapped", *missing)


def _other_side(question: Question, fine: str, missing: tuple[str, ...], noun: str, count: int | None = None) -> Answer:
    number = len(missing) if count is None else count
    if not number:
        return passes(question, fine)
    finding = f"{counted(number, noun)} of what the shop does not have or does not sell from any more"
    return warns(
        question, finding, f"delete them with `truestock {noun}s delete`, or see why the shop lost them.", missing
    )


def _not_listed(question: Question, shop: Shop) -> Answer:
    return warns(question, f"could not be looked at: {shop.list_problem}", "see what `connection_scopes` says.")


def _need_text(name: str, need: NeededOfShop) -> str:
    return f"{name}: {need.todo}" if need.todo else name
