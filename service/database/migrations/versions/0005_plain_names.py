"""Renames tables, columns, constraints and indexes whose names puzzled their readers. It changes nothing else."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES = (
    ("availability_told", "availability_published"),
    ("early_cancellation", "order_cancellation"),
    ("catalogue_version", "catalog_version"),
    ("decision_catalogue", "decision_catalog"),
)
# By today's names of their tables.
_COLUMNS = (
    ("allocation_copy", "states_contents", "provides_contents"),
    ("availability_published", "tell_time", "publish_time"),
    ("decision", "catalogue_hash", "catalog_hash"),
    ("feed", "heard_time", "ingest_time"),
    ("order_cancellation", "heard_time", "ingest_time"),
    ("product", "learnt_velocity", "learned_velocity"),
    ("product", "learnt_velocity_time", "learned_velocity_time"),
    ("stock_incoming", "heard_time", "ingest_time"),
    ("stock_level", "figure_time", "as_of_time"),
    ("stock_level", "heard_time", "ingest_time"),
    ("stock_movement", "fate", "result"),
    ("stock_movement", "heard_time", "ingest_time"),
    ("stock_movement", "stated", "reported_count"),
    ("stock_quarantine", "heard_time", "ingest_time"),
    ("transfer", "settle_time", "complete_time"),
)
_CONSTRAINTS = (
    ("availability_published", "availability_told_pkey", "availability_published_pkey"),
    ("catalog_version", "catalogue_version_one_row_check", "catalog_version_one_row_check"),
    ("catalog_version", "catalogue_version_pkey", "catalog_version_pkey"),
    ("decision_catalog", "decision_catalogue_pkey", "decision_catalog_pkey"),
    ("exception", "exception_a_settled_one_says_how_check", "exception_resolved_has_resolution_check"),
    ("order_cancellation", "early_cancellation_pkey", "order_cancellation_pkey"),
    ("order_line", "order_line_asks_for_something_check", "order_line_unit_count_positive_check"),
    ("order_line", "order_line_not_cancelled_twice_check", "order_line_cancelled_within_unit_count_check"),
    ("product", "product_learnt_velocity_whole_check", "product_learned_velocity_whole_check"),
    ("promise", "promise_not_returned_twice_check", "promise_returned_within_shipped_check"),
    ("shortage", "shortage_short_of_something_check", "shortage_unit_count_positive_check"),
    ("stock_incoming", "stock_incoming_something_to_come_check", "stock_incoming_unit_count_positive_check"),
    ("stock_level", "stock_level_nothing_given_back_twice_allocated_check", "stock_level_allocated_not_negative_check"),
    ("stock_level", "stock_level_nothing_given_back_twice_held_check", "stock_level_held_not_negative_check"),
    ("transfer", "transfer_goes_somewhere_check", "transfer_locations_differ_check"),
    ("transfer_line", "transfer_line_something_left_check", "transfer_line_dispatched_positive_check"),
)
_INDEXES = (
    ("allocation_unsettled_idx", "allocation_incomplete_idx"),
    ("availability_told_xid_idx", "availability_published_xid_idx"),
    ("early_cancellation_waiting_idx", "order_cancellation_waiting_idx"),
    ("stock_movement_heard_idx", "stock_movement_ingest_idx"),
)


def upgrade() -> None:
    for old, new in _TABLES:
        op.rename_table(old, new)
    for table, old, new in _COLUMNS:
        op.alter_column(table, old, new_column_name=new)
    for table, old, new in _CONSTRAINTS:
        op.execute(f'ALTER TABLE "{table}" RENAME CONSTRAINT "{old}" TO "{new}"')
    for old, new in _INDEXES:
        op.execute(f'ALTER INDEX "{old}" RENAME TO "{new}"')


def downgrade() -> None:
    for old, new in _INDEXES:
        op.execute(f'ALTER INDEX "{new}" RENAME TO "{old}"')
    for table, old, new in _CONSTRAINTS:
        op.execute(f'ALTER TABLE "{table}" RENAME CONSTRAINT "{new}" TO "{old}"')
    for table, old, new in _COLUMNS:
        op.alter_column(table, new, new_column_name=old)
    for old, new in _TABLES:
        op.rename_table(new, old)
