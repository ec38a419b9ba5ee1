"""Keeps the answers of readiness checks: the last of each question, and the last checks of each channel."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0059"
down_revision = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "readiness_answer",
        sa.Column("channel_id", sa.Text(), primary_key=True),
        sa.Column("question", sa.Text(), primary_key=True),
        sa.Column("result", sa.Text(), nullable=False, comment="pass, warn or fail, in the last check"),
        sa.Column(
            "since_time",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="the first check since which it is the same",
        ),
        sa.Column("last_pass_time", sa.DateTime(timezone=True), comment="null if it never passed"),
        comment="The last answer to each question of the readiness checklist.",
    )
    op.create_table(
        "readiness_check",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("channel_id", sa.Text(), nullable=False),
        sa.Column("check_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("result", sa.Text(), nullable=False, comment="the worst of its answers"),
        sa.Column("policy_revision", sa.Text(), nullable=False),
        sa.Column("failed", ARRAY(sa.Text()), nullable=False, comment="questions that failed"),
        sa.Column("warned", ARRAY(sa.Text()), nullable=False, comment="questions that warned"),
        comment="The last checks of each channel's readiness.",
    )
    op.create_index("readiness_check_channel_idx", "readiness_check", ["channel_id", "id"])


def downgrade() -> None:
    op.drop_table("readiness_check")
    op.drop_table("readiness_answer")
