"""Decisions are partitioned by month, and those of one transaction store what they share once.

Rows of the old table stay where they are: the table becomes the first partition, up to the end of its newest month.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# The first UUIDv7 of a month begins with its milliseconds since 1970.
FIRST_ID = """
CREATE FUNCTION pg_temp.first_id(month timestamptz) RETURNS uuid LANGUAGE sql AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM month) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$
"""
ATTACH = """
DO $$
DECLARE
    month timestamptz := date_trunc('month', clock_timestamp(), 'UTC');
    following timestamptz := date_trunc('month', month + interval '40 days', 'UTC');
    name text := to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
BEGIN
    CREATE TABLE decision_default PARTITION OF decision DEFAULT;
    CREATE TABLE decision_batch_default PARTITION OF decision_batch DEFAULT;
    -- Ids that do not begin with a time up to now, as of other programs.
    WITH moved AS (DELETE FROM decision_first WHERE id >= pg_temp.first_id(following) RETURNING *)
    INSERT INTO decision_default
        (id, allocation_id, create_time, policy_revision, software_version, catalog_hash, explanation, inputs)
    SELECT id, allocation_id, create_time, policy_revision, software_version, catalog_hash, explanation, inputs
    FROM moved;
    IF EXISTS (SELECT FROM decision_first) THEN
        EXECUTE format('ALTER TABLE decision ATTACH PARTITION decision_first FOR VALUES FROM (MINVALUE) TO (%L)',
                       pg_temp.first_id(following));
    ELSE
        DROP TABLE decision_first;
        EXECUTE format('CREATE TABLE decision_%s PARTITION OF decision FOR VALUES FROM (%L) TO (%L)',
                       name, pg_temp.first_id(month), pg_temp.first_id(following));
    END IF;
    EXECUTE format('CREATE TABLE decision_batch_%s PARTITION OF decision_batch FOR VALUES FROM (%L) TO (%L)',
                   name, pg_temp.first_id(month), pg_temp.first_id(following));
END $$
"""


def upgrade() -> None:
    op.drop_constraint("decision_allocation_id_fkey", "decision")
    op.drop_index("decision_allocation_id_idx", "decision")
    op.rename_table("decision", "decision_first")
    op.execute("ALTER INDEX decision_pkey RENAME TO decision_first_pkey")
    op.execute("ALTER INDEX decision_create_time_idx RENAME TO decision_first_create_time_idx")
    for name in ("policy_revision", "software_version", "explanation"):
        op.alter_column("decision_first", name, nullable=True)
    op.add_column("decision_first", sa.Column("batch_id", sa.Uuid))
    op.add_column("decision_first", sa.Column("destination", sa.LargeBinary))
    op.add_column("decision_first", sa.Column("reference", sa.LargeBinary))
    op.create_table(
        "decision",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("allocation_id", sa.Uuid, nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("batch_id", sa.Uuid, comment="what it shares with other decisions; null if it is stored by value"),
        sa.Column(
            "policy_revision",
            sa.Text,
            comment="null if it is in the batch, like software_version and catalog_hash",
        ),
        sa.Column("software_version", sa.Text),
        sa.Column("catalog_hash", sa.Text),
        sa.Column("explanation", sa.LargeBinary, comment="truestock.v1.Decision; null if it is in the batch"),
        sa.Column(
            "inputs",
            sa.LargeBinary,
            comment="truestock.v1.DecisionInputs without catalog, destination and batch; null in a summary record",
        ),
        sa.Column(
            "destination",
            sa.LargeBinary,
            comment="truestock.v1.Destination, apart from inputs so that it can be erased",
        ),
        sa.Column(
            "reference",
            sa.LargeBinary,
            comment="which explanation and stock of the batch, and the figures that differ",
        ),
        sa.PrimaryKeyConstraint("id", name="decision_pkey"),
        postgresql_partition_by="RANGE (id)",
        comment="Decisions with their inputs, by month.",
    )
    op.create_index("decision_create_time_idx", "decision", ["create_time"])
    op.create_table(
        "decision_batch",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("policy_revision", sa.Text, nullable=False),
        sa.Column("software_version", sa.Text, nullable=False),
        sa.Column("catalog_hash", sa.Text),
        sa.Column("explanations", sa.LargeBinary, nullable=False, comment="of its decisions, each once, without ids"),
        sa.Column(
            "parts",
            sa.LargeBinary,
            nullable=False,
            comment="truestock.v1.DecisionInputs: its time, then products with levels",
        ),
        sa.PrimaryKeyConstraint("id", name="decision_batch_pkey"),
        postgresql_partition_by="RANGE (id)",
        comment="What decisions of one transaction share, by month.",
    )
    op.execute(FIRST_ID)
    op.execute(ATTACH)


# Without their batches, decisions of batches become summaries: they keep their explanations and lose their inputs.
PARTS = """
CREATE FUNCTION pg_temp.number_at(content bytea, place int) RETURNS int LANGUAGE sql AS $$
    SELECT get_byte(content, 4 * place) + (get_byte(content, 4 * place + 1) << 8)
         + (get_byte(content, 4 * place + 2) << 16) + (get_byte(content, 4 * place + 3) << 24)
$$;
CREATE FUNCTION pg_temp.part(content bytea, number int) RETURNS bytea LANGUAGE sql AS $$
    SELECT substring(content FROM 4 * (pg_temp.number_at(content, 0) + 1) + 1
                     + coalesce((SELECT sum(pg_temp.number_at(content, i))::int FROM generate_series(1, number) i), 0)
                     FOR pg_temp.number_at(content, number + 1))
$$;
CREATE FUNCTION pg_temp.field(tag int, content bytea) RETURNS bytea LANGUAGE sql AS $$
    SELECT set_byte('\\x00', 0, tag)
        || CASE WHEN length(content) < 128 THEN set_byte('\\x00', 0, length(content))
                ELSE set_byte(set_byte('\\x0000', 0, length(content) & 127 | 128), 1, length(content) >> 7) END
        || content
$$
"""
MOVE_BACK = """
INSERT INTO decision
SELECT d.id, d.allocation_id, coalesce(d.policy_revision, b.policy_revision),
       coalesce(d.software_version, b.software_version),
       coalesce(d.explanation, '\\x0a24' || convert_to(d.id::text, 'UTF8')
                || pg_temp.part(b.explanations, pg_temp.number_at(d.reference, 0))),
       CASE WHEN b.id IS NULL THEN
           d.inputs || coalesce(pg_temp.field(10, pg_temp.field(50, d.destination)), '')
       END,
       d.catalog_hash, d.create_time
FROM decision_by_month d LEFT JOIN decision_batch b ON b.id = d.batch_id
"""


def downgrade() -> None:
    op.execute("ALTER INDEX decision_pkey RENAME TO decision_by_month_pkey")
    op.execute("ALTER INDEX decision_create_time_idx RENAME TO decision_by_month_create_time_idx")
    op.rename_table("decision", "decision_by_month")
    op.create_table(
        "decision",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("allocation_id", sa.Uuid, nullable=False),
        sa.Column("policy_revision", sa.Text, nullable=False),
        sa.Column("software_version", sa.Text, nullable=False),
        sa.Column("explanation", sa.LargeBinary, nullable=False, comment="truestock.v1.Decision"),
        sa.Column(
            "inputs",
            sa.LargeBinary,
            comment="truestock.v1.DecisionInputs without the catalog; null in a summary record",
        ),
        sa.Column("catalog_hash", sa.Text),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="decision_pkey"),
        sa.ForeignKeyConstraint(["allocation_id"], ["allocation.id"], name="decision_allocation_id_fkey"),
    )
    for statement in PARTS.split(";\n"):
        op.execute(statement)
    op.execute(MOVE_BACK)
    op.create_index("decision_allocation_id_idx", "decision", ["allocation_id"])
    op.create_index("decision_create_time_idx", "decision", ["create_time"])
    op.drop_table("decision_by_month")
    op.drop_table("decision_batch")
