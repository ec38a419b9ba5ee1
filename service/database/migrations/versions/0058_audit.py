"""Adds the audit log: events, their hash chain, and anchors where old events were deleted.

Triggers refuse to change or delete rows, whoever asks, except those that an anchor covers. The service deletes these
by `audit_delete_anchored`, which runs as the owner of the tables: its own role needs no right to delete.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None

_REFUSE = """
CREATE FUNCTION audit_refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_seal' THEN
        IF OLD.position <= (SELECT max(position) FROM audit_anchor) THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_event' THEN
        IF (SELECT position FROM audit_seal WHERE event_id = OLD.id) <= (SELECT max(position) FROM audit_anchor) THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION '% only grows: % is refused', TG_TABLE_NAME, TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$
"""
_DELETE_ANCHORED = """
CREATE FUNCTION audit_delete_anchored(most int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER
SET search_path = {schema}, pg_temp AS $$
DECLARE
    until bigint;
    deleted int;
BEGIN
    SELECT max(position) INTO until FROM (
        SELECT position FROM audit_seal
        WHERE position <= (SELECT max(position) FROM audit_anchor) ORDER BY position LIMIT most
    ) old;
    -- Events first: by their seals the trigger knows that they may go.
    DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_seal WHERE position <= until);
    DELETE FROM audit_seal WHERE position <= until;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$
"""


def upgrade() -> None:
    principal = "who called, as the access file names it; truestock is the service itself"
    op.create_table(
        "audit_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column("event_time", TIMESTAMP(timezone=True), nullable=False, server_default=sa.text("clock_timestamp()")),
        sa.Column("principal", sa.Text(), nullable=False, comment=principal),
        sa.Column(
            "credential", sa.Text(), nullable=False, comment="token, json_web_token, certificate, none or service"
        ),
        sa.Column("actor", sa.Text(), comment="the person that the caller named, if it did"),
        sa.Column("peer", sa.Text(), comment="address and port that the call came from"),
        sa.Column("rpc", sa.Text(), comment="the method that was called, such as UpsertLocations"),
        sa.Column("request_id", sa.Text(), comment="as the caller stated it"),
        sa.Column("area", sa.Text(), nullable=False, comment="catalog, stock, exceptions, policy or access"),
        sa.Column("entity", sa.Text(), nullable=False, comment="kind of what was changed, such as location"),
        sa.Column("entity_id", sa.Text(), nullable=False),
        sa.Column("change", sa.Text(), nullable=False, comment="what happened to it, such as updated"),
        sa.Column("before", sa.Text(), comment="JSON: values before, of what changed; null if there was nothing"),
        sa.Column("after", sa.Text(), comment="JSON: values after, of what changed; null if there is nothing any more"),
        comment="Append-only: who changed what, written in the transaction of the change.",
    )
    op.create_index("audit_event_time_idx", "audit_event", ["event_time", "id"])
    op.create_index("audit_event_principal_idx", "audit_event", ["principal", "event_time", "id"])
    op.create_index("audit_event_entity_idx", "audit_event", ["entity_id", "event_time", "id"])
    op.create_index("audit_event_rpc_idx", "audit_event", ["rpc", "event_time", "id"])
    op.create_table(
        "audit_unsealed",
        sa.Column("event_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        comment="Audit events that the sealer has not sealed yet.",
    )
    hashed = "SHA-256 of the hash before it, the position, the time and the event"
    signed = "Ed25519, of the last seal of each transaction; null without a key"
    op.create_table(
        "audit_seal",
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False, comment="1, 2, 3 … without gaps"),
        sa.Column("event_id", sa.BigInteger(), nullable=False, unique=True),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment=hashed),
        sa.Column("seal_time", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("signature", sa.LargeBinary(), comment=signed),
        sa.CheckConstraint("position > 0", name="counted_from_one"),
        comment="Append-only: the hash chain over audit events.",
    )
    op.create_table(
        "audit_anchor",
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False, comment="1, 2, 3 … without gaps"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="the last seal that was deleted with its event"),
        sa.Column("hash", sa.LargeBinary(), nullable=False, comment="of that seal"),
        sa.Column("event_time", TIMESTAMP(timezone=True), nullable=False, comment="of that event"),
        sa.Column("anchor_time", TIMESTAMP(timezone=True), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False, comment="Ed25519"),
        sa.CheckConstraint("number > 0 AND position > 0", name="counted_from_one"),
        comment="Append-only: up to where audit events were deleted because their retention had ended.",
    )
    # Without a path of its own, a temporary table of the caller would be taken for one of these.
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    op.execute(_REFUSE.format(schema=schema))
    op.execute(_DELETE_ANCHORED.format(schema=schema))
    for table in ("audit_event", "audit_seal", "audit_anchor"):
        op.execute(
            f"CREATE TRIGGER {table}_refuse_change BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION audit_refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_refuse_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse_change()"
        )


def downgrade() -> None:
    op.drop_table("audit_anchor")
    op.drop_table("audit_seal")
    op.drop_table("audit_unsealed")
    op.drop_table("audit_event")
    op.execute("DROP FUNCTION audit_delete_anchored(int)")
    op.execute("DROP FUNCTION audit_refuse_change()")
