"""Counters beside the tables that the same transactions wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from prometheus_client.metrics_core import Metric

from tests.retailer import Retailer, eventually

Labels = tuple[str, ...]

_OF_ORDERS = "SELECT channel_id, cause, {value} FROM order_count WHERE kind = '{kind}' {where} GROUP BY 1, 2"
TABLES: Mapping[str, tuple[Labels, str]] = {
    "sold_orders_total": (
        ("channel",),
        "SELECT channel_id, count(*) FROM allocation WHERE commitment = 'sold' GROUP BY 1",
    ),
    "sold_units_total": (
        ("channel",),
        """SELECT channel_id, sum(units) FROM (
               SELECT channel_id, sold_units AS units FROM order_event JOIN allocation ON allocation.id = allocation_id
               WHERE sold_units IS NOT NULL
               UNION ALL SELECT channel_id, unit_count FROM order_count WHERE kind = 'sold') AS sold GROUP BY 1""",
    ),
    **{
        f"{kind}_{of}_total": (
            ("channel", label),
            _OF_ORDERS.format(kind=kind, value=value, where=where),
        )
        for kind, label in (("oversold", "cause"), ("withheld", "cause"), ("cancelled", "fault"))
        for of, value, where in (("units", "sum(unit_count)", ""), ("orders", "count(*)", "AND is_first"))
    },
    "manual_interventions_total": (
        ("channel", "reason"),
        _OF_ORDERS.format(kind="needs_person", value="count(*)", where=""),
    ),
    "exceptions_total": (
        ("kind", "channel"),
        "SELECT kind, coalesce(channel_id, 'none'), count(*) FROM exception GROUP BY 1, 2",
    ),
    "owner_exceptions_total": (("kind",), "SELECT kind, count(*) FROM exception GROUP BY 1"),
    "exceptions_resolved_total": (
        ("kind", "resolution"),
        "SELECT kind, resolution, count(*) FROM exception WHERE state = 'resolved' GROUP BY 1, 2",
    ),
    "exceptions_superseded_total": (
        ("kind",),
        "SELECT kind, count(*) FROM exception WHERE state = 'superseded' GROUP BY 1",
    ),
    "exception_resolve_seconds_count": (
        ("kind",),
        "SELECT kind, count(*) FROM exception WHERE state = 'resolved' AND needs_person GROUP BY 1",
    ),
    "shipments_due_total": (
        ("location", "deadline", "result"),
        "SELECT location_id, deadline, result, count(*) FROM shipment_deadline GROUP BY 1, 2, 3",
    ),
    "channel_shipments_due_total": (
        ("channel", "deadline", "result"),
        "SELECT channel_id, deadline, result, count(*) FROM shipment_deadline GROUP BY 1, 2, 3",
    ),
    "inventory_comparisons_total": (
        ("source", "location"),
        "SELECT source, location_id, count(*) FROM stock_comparison GROUP BY 1, 2",
    ),
    "inventory_mismatches_total": (
        ("source", "location"),
        "SELECT source, location_id, count(*) FROM stock_comparison WHERE is_mismatch GROUP BY 1, 2",
    ),
    "unmet_demand_units_total": (
        ("channel", "cause"),
        "SELECT coalesce(channel_id, 'none'), cause, sum(unmet_count) FROM unmet_demand GROUP BY 1, 2",
    ),
}
"""For each counter the labels by which it is compared, and the rows that say how much it has to be."""

Counts = dict[tuple[str, Labels], float]


async def written(shop: Retailer) -> Counts:
    """What the tables say, by counter and the values of its labels; those that are 0 are left out."""
    counts: Counts = {}
    for name, (_, query) in TABLES.items():
        for row in await shop.sql(query):
            *labels, value = tuple(row)
            if value:
                counts[name, tuple(labels)] = float(value)
    return counts


def counted(families: Iterable[Metric]) -> Counts:
    """What the counters of a page of metrics, or of several, say."""
    counts: Counter[tuple[str, Labels]] = Counter()
    for family in families:
        for sample in family.samples:
            name = sample.name.removeprefix("truestock_")
            if name in TABLES and sample.value:
                counts[name, tuple(sample.labels[label] for label in TABLES[name][0])] += sample.value  # type: ignore[assignment]
    return dict(counts)


async def check_counters(*services: Retailer) -> None:
    """All services of one database have counted together exactly what is in its tables, once they have come to rest."""
    found: list[tuple[Counts, Counts]] = []

    async def are_equal() -> bool:
        tables = await written(services[0])
        counters = counted(family for shop in services for family in shop.service.metrics.registry.collect())
        found.append((counters, tables))
        return counters == tables

    try:
        await eventually(are_equal)
    except AssertionError:
        assert found[-1][0] == found[-1][1]
        raise
