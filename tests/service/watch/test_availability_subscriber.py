"""Pending values of a slow client: the latest of each product, in any order of publishing and sending."""

from __future__ import annotations

from hypothesis import given, strategies as some

from service.availability.published_availability import PublishedValue
from service.watch.availability_subscriber import AvailabilitySubscriber, ChannelSubscribers

SKUS = ("MUG", "PAN", "POT")
values = some.builds(
    lambda sku, version: PublishedValue("web", sku, version, version, version, xid=version),
    some.sampled_from(SKUS),
    some.integers(1, 30),
)
watched_skus = some.one_of(some.none(), some.frozensets(some.sampled_from(SKUS), min_size=1))


@given(watched_skus, some.lists(some.one_of(values, some.integers(1, 3)), max_size=60))
def test_the_newest_value_is_sent_last_and_versions_only_rise(
    skus: frozenset[str] | None, steps: list[PublishedValue | int]
) -> None:
    """A step is a value that is published, or a number of values that are sent."""
    channel, subscriber = ChannelSubscribers(), AvailabilitySubscriber(skus)
    channel.add(subscriber)
    newest: dict[str, int] = {}
    sent: dict[str, int] = {}
    for step in [*steps, len(SKUS)]:
        if isinstance(step, PublishedValue):
            channel.update(step, computed=True)
            newest[step.sku] = max(step.version, newest.get(step.sku, 0))
        else:
            for sku in subscriber.take_pending(step):
                assert channel.published[sku].version > sent.get(sku, 0)
                sent[sku] = channel.published[sku].version
        assert len(subscriber.pending) <= len(SKUS)

    assert sent == {sku: version for sku, version in newest.items() if skus is None or sku in skus}


@given(some.lists(watched_skus, max_size=6), some.data())
def test_values_that_no_subscriber_watches_are_removed(
    subscriptions: list[frozenset[str] | None], data: some.DataObject
) -> None:
    channel, subscribers = ChannelSubscribers(), [AvailabilitySubscriber(skus) for skus in subscriptions]
    remaining = AvailabilitySubscriber(frozenset({"MUG"}))
    for subscriber in (remaining, *subscribers):
        channel.add(subscriber)
    for sku in filter(channel.is_watched, SKUS):
        channel.update(PublishedValue("web", sku, 1, 1, 1, xid=1), computed=True)
    for subscriber in data.draw(some.permutations(subscribers)):
        channel.remove(subscriber)

    assert {sku for sku in SKUS if channel.is_watched(sku)} == {"MUG"}
    assert set(channel.published) == channel.computed_skus == {"MUG"}


@given(values, some.integers(0, 40))
def test_a_value_from_before_the_token_is_not_sent_again(value: PublishedValue, since: int) -> None:
    channel, subscriber = ChannelSubscribers(), AvailabilitySubscriber(None, since)
    channel.add(subscriber)
    channel.update(value, computed=True)

    assert bool(subscriber.pending) == (value.xid >= since)
