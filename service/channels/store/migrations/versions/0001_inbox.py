"""Deliveries, entities, cursors, tokens and pauses."""

from __future__ import annotations

from alembic import op

from service.channels.store.schema import SCHEMA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.deliveries (
            account text NOT NULL,
            delivery_key text NOT NULL,
            topic text NOT NULL,
            receive_time timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (account, delivery_key)
        )
        """
    )
    op.execute(f"CREATE INDEX deliveries_by_time ON {SCHEMA}.deliveries (receive_time)")
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.entities (
            account text NOT NULL,
            kind text NOT NULL,
            entity_id text NOT NULL,
            state text NOT NULL DEFAULT 'waiting',
            hint_count bigint NOT NULL DEFAULT 1,
            read_count bigint NOT NULL DEFAULT 0,
            first_hint_time timestamptz NOT NULL DEFAULT now(),
            hinted_update_time timestamptz,
            update_time timestamptz,
            read_time timestamptz,
            attempt_count integer NOT NULL DEFAULT 0,
            next_attempt_time timestamptz NOT NULL DEFAULT now(),
            lease uuid,
            lease_end timestamptz,
            failure text NOT NULL DEFAULT '',
            is_reported boolean NOT NULL DEFAULT false,
            order_id text NOT NULL DEFAULT '',
            PRIMARY KEY (account, kind, entity_id),
            CONSTRAINT entities_state CHECK (state IN ('waiting', 'unmapped', 'parked', 'done')),
            CONSTRAINT entities_lease CHECK ((lease IS NULL) = (lease_end IS NULL))
        )
        """
    )
    op.execute(
        f"""
        CREATE INDEX entities_due ON {SCHEMA}.entities (account, kind, next_attempt_time)
        WHERE state IN ('waiting', 'unmapped')
        """
    )
    op.execute(f"CREATE INDEX entities_failed ON {SCHEMA}.entities (account) WHERE failure <> ''")
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.cursors (
            account text NOT NULL,
            kind text NOT NULL,
            position timestamptz NOT NULL,
            next_poll_time timestamptz NOT NULL DEFAULT now(),
            poll_time timestamptz,
            lease uuid,
            lease_end timestamptz,
            PRIMARY KEY (account, kind)
        )
        """
    )
    op.execute(
        f"""
        CREATE TABLE {SCHEMA}.accounts (
            account text PRIMARY KEY,
            tokens bytea,
            token_version bigint NOT NULL DEFAULT 0,
            token_expire_time timestamptz,
            refresh_time timestamptz,
            connect_time timestamptz,
            pause_reason text NOT NULL DEFAULT '',
            pause_time timestamptz,
            is_reported boolean NOT NULL DEFAULT false,
            delivery_time timestamptz
        )
        """
    )


def downgrade() -> None:
    for table in ("accounts", "cursors", "entities", "deliveries"):
        op.execute(f"DROP TABLE {SCHEMA}.{table}")
