"""The data map of SECURITY.md names every column that can hold personal data, and no other."""

from __future__ import annotations

from sqlalchemy import Column, Double, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY

from service.database.tables import metadata
from tests.data_map import ANY_TABLE, named, personal_columns

IMPERSONAL = {
    "action", "area", "basis", "cancellation_default", "cancellation_headroom", "catalog_hash", "change",
    "closes", "commitment", "component_units", "count_errors", "count_exposure_days", "currency", "cut_off",
    "date_steps", "deadline", "effect", "entity", "errors", "event", "exposure_days", "fault", "hash", "holidays",
    "kind", "learned_velocity", "markets", "method", "open_orders", "opening_days", "opens", "outcome",
    "policy_revision",
    "question", "resolution", "result", "revision", "role", "rpc", "ships_to", "signature", "software_version",
    "state", "status", "sub_kind", "time_zone", "type", "velocity_per_day", "weekday_closes", "weekday_cut_offs",
    "weekday_opens",
}  # fmt: skip
"""Columns of words that the service itself chooses, of codes of standards, of figures and of hashes."""
FEW_MORE = {("unmet_demand", "cause"), ("stock_comparison", "cause"), ("ledger_reader", "name")}
"""Columns that are impersonal in these tables only."""


def test_every_column_that_can_hold_text_is_in_the_data_map_or_known_to_be_impersonal() -> None:
    columns = {
        (table.name, column.name) for table in metadata.sorted_tables for column in table.columns if can_hold(column)
    }

    forgotten = columns - personal_columns() - FEW_MORE
    assert sorted(x for x in forgotten if x[1] not in IMPERSONAL) == [], (
        "can it hold personal data? Name it in the data map of SECURITY.md, and say how it goes; or else in IMPERSONAL"
    )


def test_the_data_map_names_only_columns_that_exist() -> None:
    names = {(table.name, column.name) for table in metadata.sorted_tables for column in table.columns}
    in_any = {(ANY_TABLE, column) for _, column in names}

    assert set(named()) - names - in_any == set()
    assert {column for column in IMPERSONAL if (ANY_TABLE, column) not in in_any} == set()
    assert personal_columns() >= {("allocation", "postal_code"), ("request", "content"), ("order_event", "description")}


def can_hold(column: Column[object]) -> bool:
    """Whether a column can hold a text, an address or a place."""
    kind = column.type.item_type if isinstance(column.type, ARRAY) else column.type
    return isinstance(kind, Text | LargeBinary | Double)
