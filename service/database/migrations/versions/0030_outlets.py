"""Pools of locations, and outlets: what channels call a location or a warehouse."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

_MOMENT = postgresql.TIMESTAMP(timezone=True)
_BEFORE = "Rises with every edit of locations and channels, so that services notice a stale copy."
_AFTER = "Rises with every edit of locations, channels, pools and outlets, so that services notice a stale copy."


def _timestamps() -> list[sa.Column[object]]:
    return [
        sa.Column(name, _MOMENT, server_default=sa.text("clock_timestamp()"), nullable=False)
        for name in ("create_time", "update_time")
    ]


def upgrade() -> None:
    op.create_table(
        "pool",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("location_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        *_timestamps(),
        sa.PrimaryKeyConstraint("id", name="pool_pkey"),
        comment="Named sets of locations.",
    )
    op.create_table(
        "outlet",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("location_id", sa.Text(), nullable=True, comment="null if the outlet is a pool"),
        sa.Column("pool_id", sa.Text(), nullable=True, comment="a deleted pool has no locations"),
        *_timestamps(),
        sa.PrimaryKeyConstraint("channel_id", "id", name="outlet_pkey"),
        sa.CheckConstraint("(location_id IS NULL) <> (pool_id IS NULL)", name=op.f("outlet_one_source_check")),
        comment="What a channel calls a location or a warehouse; a location is in at most one outlet of a channel.",
    )
    op.create_index("outlet_pool_id_idx", "outlet", ["pool_id"])
    op.create_table_comment("catalog_version", _AFTER, existing_comment=_BEFORE)


def downgrade() -> None:
    op.create_table_comment("catalog_version", _BEFORE, existing_comment=_AFTER)
    op.drop_table("outlet")
    op.drop_table("pool")
