"""Values that wait for whoever reads slowly: the latest of each product, in any order of telling and taking."""

from __future__ import annotations

from hypothesis import given, strategies as some

from service.availability.published_availability import PublishedFigures
from service.watch.availability_subscriber import AvailabilitySubscriber, ChannelSubscribers

SKUS = ("MUG", "PAN", "POT")
values = some.builds(
    lambda sku, version: PublishedFigures("web", sku, version, version, version, xid=version),
    some.sampled_from(SKUS),
    some.integers(1, 30),
)
wishes = some.one_of(some.none(), some.frozensets(some.sampled_from(SKUS), min_size=1))


@given(wishes, some.lists(some.one_of(values, some.integers(1, 3)), max_size=60))
def test_the_newest_value_is_taken_last_and_versions_only_rise(
    skus: frozenset[str] | None, steps: list[PublishedFigures | int]
) -> None:
    """A step is a value that is told, or a number of values that are taken."""
    audience, watcher = ChannelSubscribers(), AvailabilitySubscriber(skus)
    audience.join(watcher)
    newest: dict[str, int] = {}
    taken: dict[str, int] = {}
    for step in [*steps, len(SKUS)]:
        if isinstance(step, PublishedFigures):
            audience.learn(step, sure=True)
            newest[step.sku] = max(step.version, newest.get(step.sku, 0))
        else:
            for sku in watcher.take(step):
                assert audience.told[sku].version > taken.get(sku, 0)
                taken[sku] = audience.told[sku].version
        assert len(watcher.pending) <= len(SKUS)

    assert taken == {sku: version for sku, version in newest.items() if skus is None or sku in skus}


@given(some.lists(wishes, max_size=6), some.data())
def test_what_nobody_watches_any_more_is_forgotten(wanted: list[frozenset[str] | None], data: some.DataObject) -> None:
    audience, watchers = ChannelSubscribers(), [AvailabilitySubscriber(skus) for skus in wanted]
    stays = AvailabilitySubscriber(frozenset({"MUG"}))
    for watcher in (stays, *watchers):
        audience.join(watcher)
    for sku in filter(audience.wants, SKUS):
        audience.learn(PublishedFigures("web", sku, 1, 1, 1, xid=1), sure=True)
    for watcher in data.draw(some.permutations(watchers)):
        audience.leave(watcher)

    assert {sku for sku in SKUS if audience.wants(sku)} == {"MUG"}
    assert set(audience.told) == audience.sure == {"MUG"}


@given(values, some.integers(0, 40))
def test_what_a_token_says_was_told_is_not_told_again(value: PublishedFigures, since: int) -> None:
    audience, watcher = ChannelSubscribers(), AvailabilitySubscriber(None, since)
    audience.join(watcher)
    audience.learn(value, sure=True)

    assert bool(watcher.pending) == (value.xid >= since)
