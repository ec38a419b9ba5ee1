"""Keeps what counts have shown of each level and location, from which the chance that a figure is right is computed.

Also: whether a feed's figures are computed by a program.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# The old confidence was an average in which each count that was wrong weighed 0.3, so it says roughly how many were.
# Nobody kept when they were counted, so no exposure is known, and nothing of a location as a whole.
_TAKE_OVER_ERRORS = """
UPDATE stock_level SET count_errors = greatest(0, 1 - count_confidence) / 0.3 WHERE count_confidence IS NOT NULL
"""
_COUNT_MOVEMENTS = """
UPDATE stock_level SET movements_since_count = moved.movements
FROM (
    SELECT level.sku, level.location_id, count(*) AS movements
    FROM stock_level AS level
    JOIN stock_movement AS movement
        ON movement.sku = level.sku AND movement.location_id = level.location_id
        AND movement.effective_time > level.physical_count_time
    WHERE movement.on_hand_delta <> 0 AND movement.kind NOT IN (
        'counted', 'found', 'lost', 'adjusted', 'ship_undone', 'transfer_cancelled'
    )
    GROUP BY level.sku, level.location_id
) AS moved
WHERE stock_level.sku = moved.sku AND stock_level.location_id = moved.location_id
"""


def upgrade() -> None:
    op.add_column(
        "stock_level",
        sa.Column(
            "movements_since_count",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="movements of goods since physical_count_time",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "not_found_since_count",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="picks since then that did not find their units",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "count_errors",
            sa.Double(),
            server_default="0",
            nullable=False,
            comment="errors that counts and picks have found here",
        ),
    )
    op.add_column(
        "stock_level",
        sa.Column(
            "count_exposure_days",
            sa.Double(),
            server_default="0",
            nullable=False,
            comment="days, and movements as days, in which those errors could happen",
        ),
    )
    op.create_table(
        "location_count_history",
        sa.Column("location_id", sa.Text(), sa.ForeignKey("location.id"), nullable=False),
        sa.Column("errors", sa.Double(), nullable=False),
        sa.Column("exposure_days", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("location_id"),
        comment="Errors that counts and picks have found at a location, and the exposure in which they could happen.",
    )
    op.add_column(
        "feed",
        sa.Column(
            "computed",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="a program computes its figures; no person counts",
        ),
    )
    op.execute(_TAKE_OVER_ERRORS)
    op.execute(_COUNT_MOVEMENTS)
    op.drop_column("stock_level", "count_confidence")


def downgrade() -> None:
    op.add_column(
        "stock_level",
        sa.Column(
            "count_confidence",
            sa.Double(),
            nullable=True,
            comment="share of recent counts and picks that found the expected units",
        ),
    )
    op.execute("UPDATE stock_level SET count_confidence = greatest(0, 1 - 0.3 * count_errors) WHERE count_errors > 0")
    op.drop_column("feed", "computed")
    op.drop_table("location_count_history")
    op.drop_column("stock_level", "count_exposure_days")
    op.drop_column("stock_level", "count_errors")
    op.drop_column("stock_level", "not_found_since_count")
    op.drop_column("stock_level", "movements_since_count")
