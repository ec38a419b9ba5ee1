"""What the connector of a channel last said of its account: tokens, scopes, webhooks, outlets and items."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0067"
down_revision = "0066"
branch_labels = None
depends_on = None

_MOMENT = postgresql.TIMESTAMP(timezone=True)


def upgrade() -> None:
    op.create_table(
        "channel_connection",
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False, comment="the name of the account where the connector runs"),
        sa.Column("report_time", _MOMENT, nullable=False, comment="when the connector last said anything"),
        sa.Column("look_time", _MOMENT, comment="when it last looked at the shop; null if it never did"),
        sa.Column("content", sa.LargeBinary(), nullable=False, comment="the serialized Connection, without its shop"),
        sa.Column("shop", sa.LargeBinary(), comment="the serialized ShopState; null if it never looked"),
        sa.PrimaryKeyConstraint("channel_id", name="channel_connection_pkey"),
        comment="What the connector of a channel last said of its account.",
    )


def downgrade() -> None:
    op.drop_table("channel_connection")
