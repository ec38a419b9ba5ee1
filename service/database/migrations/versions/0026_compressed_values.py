"""Values may be compressed, which older software cannot read, and the destination of a decision may be erased."""

from __future__ import annotations

import zlib

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Old values stay as they are: a compressed one begins with a zero byte.
    op.add_column(
        "decision",
        sa.Column(
            "erased_destination",
            sa.LargeBinary,
            comment="truestock.v1.ErasedDestination; null unless it was erased",
        ),
    )


def downgrade() -> None:
    op.drop_column("decision", "erased_destination")
    connection = op.get_bind()
    values = (("request", "id", "answer"), ("decision", "id", "inputs"), ("decision_batch", "id", "parts"))
    for table, key, column in values:
        compressed = f"SELECT {key}, {column} FROM {table} WHERE substring({column} FROM 1 FOR 1) = '\\x00'"
        restore = sa.text(f"UPDATE {table} SET {column} = :content WHERE {key} = :key")
        for id, content in connection.execute(sa.text(compressed)).all():
            connection.execute(restore, {"key": id, "content": zlib.decompress(content[1:], -12)})
