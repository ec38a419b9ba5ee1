"""Revisions of the rules can be listed, and rules that callers test are kept as candidates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# `service.policy` decides in the same way which files are rules.
_IS_RULE_FILE = r"lower(path) ~ '\.ya?ml$' AND lower(path) !~ '_test\.ya?ml$'"


def upgrade() -> None:
    now = sa.text("clock_timestamp()")
    op.create_table(
        "policy_revision",
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("file_count", sa.Integer, nullable=False, comment="rule files, without test suites"),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False, server_default=now),
        sa.PrimaryKeyConstraint("revision", name="policy_revision_pkey"),
        comment="Revisions whose rule files are in policy_set.",
    )
    op.execute(
        "INSERT INTO policy_revision (revision, file_count, byte_count, create_time) "
        "SELECT revision, count(*), sum(octet_length(content)), min(create_time) FROM policy_set "
        f"WHERE {_IS_RULE_FILE} GROUP BY revision"
    )
    op.create_index("policy_revision_time_idx", "policy_revision", ["create_time", "revision"])
    op.create_table(
        "policy_candidate",
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column(
            "files", sa.LargeBinary, nullable=False, comment="truestock.v1.TestPoliciesRequest, without test suites"
        ),
        sa.Column("file_count", sa.Integer, nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.TIMESTAMP(timezone=True), nullable=False, server_default=now),
        sa.Column(
            "renew_time",
            sa.TIMESTAMP(timezone=True),
            nullable=False,
            server_default=now,
            comment="when it was last sent",
        ),
        sa.PrimaryKeyConstraint("revision", name="policy_candidate_pkey"),
        comment="Rules that callers sent to be tested, by content hash; kept for a week.",
    )


def downgrade() -> None:
    op.drop_table("policy_candidate")
    op.drop_table("policy_revision")
