"""The past is recorded: the rules that were in force, and changes of the catalog."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

MOMENT = sa.TIMESTAMP(timezone=True)


def upgrade() -> None:
    _create_policy_history()
    _create_catalog_history()


def downgrade() -> None:
    op.drop_table("catalog_history")
    op.drop_table("policy_history")


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False)


def _create_policy_history() -> None:
    op.create_table(
        "policy_history",
        _number(),
        sa.Column("event_time", MOMENT, nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.Column("instance", sa.Text, nullable=False, comment="name of the service"),
        sa.Column("run_id", sa.Uuid, nullable=False, comment="of one run of the service, from its start to its end"),
        sa.Column("event", sa.Text, nullable=False, comment="started, loaded, refused or stopped"),
        sa.Column("revision", sa.Text, nullable=False, comment="of the rules in force after the event"),
        sa.Column("load_time", MOMENT, nullable=False, comment="when the service read these rules"),
        sa.Column(
            "problem_count",
            sa.Integer,
            nullable=False,
            server_default="0",
            comment="of the folder that was refused",
        ),
        sa.Column("problem", sa.Text, comment="the first of them"),
        sa.PrimaryKeyConstraint("id", name="policy_history_pkey"),
        sa.UniqueConstraint("run_id", "event", "event_time", name="policy_history_run_id_event_event_time_key"),
        comment="Append-only: which rules were in force when, on which service.",
    )
    op.create_index("policy_history_time_idx", "policy_history", ["event_time", "id"])
    op.create_index("policy_history_revision_idx", "policy_history", ["revision", "event_time", "id"])
    op.create_index("policy_history_instance_idx", "policy_history", ["instance", "event_time", "id"])


def _create_catalog_history() -> None:
    op.create_table(
        "catalog_history",
        _number(),
        sa.Column("change_time", MOMENT, nullable=False, server_default=sa.text("statement_timestamp()")),
        sa.Column("kind", sa.Text, nullable=False, comment="table of the record, such as location"),
        sa.Column("record_id", sa.Text, nullable=False),
        sa.Column("change", sa.Text, nullable=False, comment="created, updated or deleted"),
        sa.Column("call", sa.Text, nullable=False, comment="the call that changed it, such as UpsertLocations"),
        sa.Column(
            "before",
            JSONB,
            nullable=False,
            comment="values before, of the columns that changed; of a deleted record all",
        ),
        sa.Column("after", JSONB, comment="the whole record after the change; null if it was deleted"),
        sa.PrimaryKeyConstraint("id", name="catalog_history_pkey"),
        comment="Append-only: what changed in the catalog.",
    )
    op.create_index("catalog_history_time_idx", "catalog_history", ["change_time", "id"])
    op.create_index("catalog_history_record_idx", "catalog_history", ["record_id", "change_time", "id"])
