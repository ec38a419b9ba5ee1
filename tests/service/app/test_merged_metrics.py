"""The metrics of several processes of a service are those that one process would have."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest

from service.app.workers.merged_metrics import MergedMetrics, MergeRules
from service.metrics import Metrics
from service.metrics.labels import SOURCE_LABELS


def new_metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def merged_of(*workers: Metrics) -> MergedMetrics:
    merged = MergedMetrics(MergeRules(workers[0].across, workers[0].bounds))
    for number, worker in enumerate(workers, 1):
        merged.report(number, list(worker.registry.collect()))
    return merged


def value(families: Iterable[Metric], name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"truestock_{name}" and labels.items() <= sample.labels.items()
    ]
    return found


def test_orders_of_all_workers_are_counted_together() -> None:
    one, two = new_metrics(), new_metrics()
    one.orders.sold_orders.labels("web").inc(3)
    two.orders.sold_orders.labels("web").inc(4)
    two.orders.sold_orders.labels("pos").inc()

    families = merged_of(one, two).collect()

    assert value(families, "sold_orders_total", channel="web") == 7
    assert value(families, "sold_orders_total", channel="pos") == 1


def test_durations_of_all_workers_are_in_one_histogram() -> None:
    one, two = new_metrics(), new_metrics()
    one.service.rpc_seconds.labels("CheckAvailability", "OK").observe(0.002)
    two.service.rpc_seconds.labels("CheckAvailability", "OK").observe(3)

    families = merged_of(one, two).collect()

    assert value(families, "rpc_duration_seconds_count") == 2
    assert value(families, "rpc_duration_seconds_sum") == 3.002
    assert value(families, "rpc_duration_seconds_bucket", le="0.0025") == 1
    assert value(families, "rpc_duration_seconds_bucket", le="+Inf") == 2


def test_what_a_worker_counted_before_it_ended_stays_counted() -> None:
    one, two = new_metrics(), new_metrics()
    one.orders.sold_orders.labels("web").inc(3)
    one.watches.order_watchers.set(5)
    two.watches.order_watchers.set(2)
    merged = merged_of(one, two)

    merged.end(1)
    after_end = merged.collect()
    successor = new_metrics()
    successor.orders.sold_orders.labels("web").inc()
    merged.report(1, list(successor.registry.collect()))

    assert value(after_end, "sold_orders_total", channel="web") == 3
    assert value(after_end, "order_watchers") == 2
    assert value(merged.collect(), "sold_orders_total", channel="web") == 4


def test_a_figure_of_the_database_is_that_of_the_worker_which_reports_it() -> None:
    one, two = new_metrics(), new_metrics()
    two.report_database(is_reported=False)
    one.orders.backordered_units.set(12)
    two.orders.backordered_units.set(11)

    assert value(merged_of(one, two).collect(), "backordered_units") == 12


def test_the_database_is_up_only_if_it_answers_every_worker() -> None:
    one, two = new_metrics(), new_metrics()
    one.service.database_up.set(1)

    assert value(merged_of(one, two).collect(), "database_up") == 0


def test_the_readiness_of_a_channel_is_what_its_last_check_found() -> None:
    one, two = new_metrics(), new_metrics()
    one.readiness.set_answers("web", ["fail", "pass"])
    two.readiness.set_answers("web", ["pass", "pass"])
    two.readiness.set_answers("pos", ["warn"])
    two.readiness.checked.labels("web").set(one.readiness.checked.labels("web")._value.get() + 60)

    families = merged_of(one, two).collect()

    assert value(families, "readiness_answers", channel="web", result="fail") == 0
    assert value(families, "readiness_answers", channel="web", result="pass") == 2
    assert value(families, "readiness_answers", channel="pos", result="warn") == 1


def test_rules_of_two_revisions_show_that_workers_differ() -> None:
    one, two = new_metrics(), new_metrics()
    one.policies.policy_in_force("old")
    two.policies.policy_in_force("new")

    families = merged_of(one, two).collect()

    assert value(families, "policy_info", revision="old") == value(families, "policy_info", revision="new") == 1


def test_sources_that_callers_invent_have_no_more_labels_for_many_workers() -> None:
    workers = [new_metrics() for _ in range(3)]
    for number, worker in enumerate(workers):
        for source in range(SOURCE_LABELS):
            worker.stock.count_dropped_changes(f"feed-{number}-{source}", 1)

    families = merged_of(*workers).collect()

    [family] = [family for family in families if family.name == "truestock_dropped_stock_changes"]
    assert len(family.samples) == SOURCE_LABELS + 1
    assert value(families, "dropped_stock_changes_total", source="other") == 2 * SOURCE_LABELS


def test_an_order_that_shows_how_a_counter_grew_is_kept() -> None:
    one, two = new_metrics(), new_metrics()
    one.orders.oversold_orders.labels("web", "race").inc(exemplar={"allocation_id": "a"})
    two.orders.oversold_orders.labels("web", "race").inc()

    families = merged_of(one, two).collect()

    [sample] = [sample for family in families for sample in family.samples if sample.exemplar]
    assert (sample.value, sample.exemplar and sample.exemplar.labels) == (2, {"allocation_id": "a"})


def test_the_metrics_of_one_process_are_as_it_has_them() -> None:
    metrics = new_metrics()
    metrics.start_channels(["web"], ["dc"])
    page = CollectorRegistry()
    merged = merged_of(metrics)
    page.register(_Page(merged))

    assert generate_latest(page) == generate_latest(metrics.registry)


class _Page:
    def __init__(self, merged: MergedMetrics) -> None:
        self._merged = merged

    def collect(self) -> Iterable[Metric]:
        return self._merged.collect()
