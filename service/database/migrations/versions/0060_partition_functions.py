"""Makes, replaces and drops partitions of months by functions, so that the role of a service needs to own no table.

They run as the owner of the tables and touch no table but partitions of decisions and their batches.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0060"
down_revision = "0059"
branch_labels = None
depends_on = None

_PARTITIONS = """
CREATE FUNCTION partition_bounds(parent text) RETURNS TABLE (name text, low uuid, high uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
SELECT relname, coalesce(bounds[1], '00000000-0000-0000-0000-000000000000')::uuid, bounds[2]::uuid FROM (
    SELECT c.relname, regexp_match(
        pg_get_expr(c.relpartbound, c.oid),
        '^FOR VALUES FROM \\((?:MINVALUE|''([0-9a-f-]{{36}})'')\\) TO \\(''([0-9a-f-]{{36}})''\\)$'
    ) AS bounds
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = parent::regclass AND parent IN ('decision', 'decision_batch')
) partitions WHERE bounds IS NOT NULL
$$
"""
_LOCK = """
CREATE FUNCTION partition_lock(parent text) RETURNS void LANGUAGE plpgsql SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF parent NOT IN ('decision', 'decision_batch') THEN
        RAISE EXCEPTION '% has no partitions of months', parent USING ERRCODE = 'insufficient_privilege';
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE UPDATE EXCLUSIVE MODE', parent);
END
$$
"""
# To attach a table blocks no reader and no writer of its parent, other than to create it as a partition does. Only the
# default partition is locked, which has hardly a row.
_MAKE = """
CREATE FUNCTION partition_make(parent text, first_day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    first_id uuid := rpad(lpad(to_hex(extract(epoch FROM first_day)::bigint * 1000), 12, '0'), 32, '0')::uuid;
    next_id uuid := rpad(
        lpad(to_hex(extract(epoch FROM first_day + interval '1 month')::bigint * 1000), 12, '0'), 32, '0'
    )::uuid;
    partition text := parent || to_char(first_day, '_YYYY_MM');
BEGIN
    IF extract(day FROM first_day) <> 1 THEN
        RAISE EXCEPTION '% is not the first day of a month', first_day USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM partition_lock(parent);
    IF EXISTS (SELECT FROM partition_bounds(parent) x WHERE x.low <= first_id AND first_id < x.high) THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_default');
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', partition, parent);
    EXECUTE format(
        'WITH moved AS (DELETE FROM %I WHERE id >= %L AND id < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
        parent || '_default', first_id, next_id, partition
    );
    EXECUTE format(
        'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, partition, first_id, next_id
    );
END
$$
"""
# The constraint spares a scan when the table is attached.
_MAKE_KEPT = """
CREATE FUNCTION partition_make_kept(parent text, partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    bounds record;
BEGIN
    PERFORM partition_lock(parent);
    SELECT * INTO bounds FROM partition_bounds(parent) x WHERE x.name = partition;
    IF FOUND THEN
        EXECUTE format(
            'CREATE TABLE IF NOT EXISTS %I (LIKE %I INCLUDING ALL, CHECK (id >= %L AND id < %L))',
            partition || '_kept', parent, bounds.low, bounds.high
        );
    END IF;
END
$$
"""
_REPLACE = """
CREATE FUNCTION partition_replace(parent text, partition text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    bounds record;
    row_count bigint;
    has_kept boolean;
BEGIN
    PERFORM partition_lock(parent);
    SELECT * INTO bounds FROM partition_bounds(parent) x WHERE x.name = partition;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT count(*) FROM %I', partition) INTO row_count;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition || '_kept') INTO has_kept;
    EXECUTE format('DROP TABLE %I', partition);
    IF has_kept THEN
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%L)', parent, partition || '_kept',
            CASE WHEN bounds.low = '00000000-0000-0000-0000-000000000000' THEN 'MINVALUE'
            ELSE quote_literal(bounds.low) END, bounds.high
        );
    ELSE
        EXECUTE format('DROP TABLE %I', partition || '_kept');
    END IF;
    RETURN row_count;
END
$$
"""
_DROP = """
CREATE FUNCTION partition_drop(parent text, partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
BEGIN
    PERFORM partition_lock(parent);
    IF EXISTS (SELECT FROM partition_bounds(parent) x WHERE x.name = partition) THEN
        EXECUTE format('DROP TABLE %I', partition);
    END IF;
END
$$
"""
_FUNCTIONS = {
    "partition_bounds(text)": _PARTITIONS,
    "partition_lock(text)": _LOCK,
    "partition_make(text, date)": _MAKE,
    "partition_make_kept(text, text)": _MAKE_KEPT,
    "partition_replace(text, text)": _REPLACE,
    "partition_drop(text, text)": _DROP,
}


def upgrade() -> None:
    # Without a path of its own, a temporary table of the caller would be taken for one of these.
    schema = op.get_bind().scalar(sa.text("SELECT quote_ident(current_schema())"))
    for function, definition in _FUNCTIONS.items():
        op.get_bind().exec_driver_sql(definition.format(schema=schema))
        op.execute(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    op.execute("REVOKE ALL ON FUNCTION audit_delete_anchored(int), audit_refuse_change() FROM PUBLIC")


def downgrade() -> None:
    op.execute("GRANT EXECUTE ON FUNCTION audit_delete_anchored(int), audit_refuse_change() TO PUBLIC")
    for function in reversed(_FUNCTIONS):
        op.execute(f"DROP FUNCTION {function}")
