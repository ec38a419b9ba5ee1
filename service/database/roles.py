"""Two roles of PostgreSQL: one owns the tables and migrates them, with the other services work and change no table.

A service then cannot drop, alter or truncate anything, whatever reaches it, and to tables that only grow it can only
add. `truestock migrate --roles` makes both; every later `truestock migrate` keeps them, whoever runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from service.database.tables import metadata

OWNER_ROLE = "truestock_owner"
SERVICE_ROLE = "truestock_service"

APPEND_ONLY = frozenset(
    {
        "audit_anchor",
        "audit_event",
        "audit_seal",
        "order_count",
        "shipment_deadline",
        "stock_comparison",
        "stock_movement",
    }
)
"""Tables to which services only add rows."""
EXPIRING = frozenset({"catalog_history", "policy_history", "unmet_demand"})
"""Tables to which services add rows, and from which they delete those whose retention has ended."""
VERSION_TABLE = "alembic_version"
FUNCTIONS = (
    "audit_delete_anchored(int)",
    "partition_bounds(text)",
    "partition_drop(text, text)",
    "partition_lock(text)",
    "partition_make(text, date)",
    "partition_make_kept(text, text)",
    "partition_replace(text, text)",
)
"""Functions that services call; those of tables that only their owner may change run as the owner."""
TRIGGER_FUNCTIONS = ("audit_refuse_change()",)
"""Functions that only triggers call."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_POWERS = {
    "rolsuper": "a superuser",
    "rolcreaterole": "able to create roles",
    "rolcreatedb": "able to create databases",
    "rolreplication": "able to replicate",
    "rolbypassrls": "able to bypass row security",
}


class RolesRefused(Exception):
    """The roles cannot be made. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of both roles, with verifiers of their passwords; None leaves the password as it is.

    Raises ValueError for names that would have to be quoted.
    """

    owner: str = OWNER_ROLE
    service: str = SERVICE_ROLE
    owner_verifier: str | None = field(default=None, repr=False)
    service_verifier: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in (self.owner, self.service):
            if not _NAME.fullmatch(name) or name.startswith("pg_"):
                raise ValueError(f"'{name}' is no name of a role here; use lower-case letters, digits and _")
        if self.owner == self.service:
            raise ValueError(f"'{self.owner}' cannot be both roles, for the owner may drop what it owns")


def make(connection: Connection, roles: Roles) -> None:
    """Makes both roles, or changes them, and gives the tables of this schema to the owner. Raises RolesRefused."""
    user = _scalar(connection, "SELECT current_user")
    if user == roles.service:
        raise RolesRefused(f"'{user}' cannot migrate and be the role of services: connect as another role")
    _refuse_powers(connection, roles.service)
    for name, verifier in ((roles.owner, roles.owner_verifier), (roles.service, roles.service_verifier)):
        _make_role(connection, name, verifier, can_log_in=verifier is not None or name == roles.service)
    if user != roles.owner and not _scalar(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        _run(connection, f"GRANT {roles.owner} TO CURRENT_USER")
    if _scalar(connection, "SELECT pg_has_role(:service, :owner, 'MEMBER')", service=roles.service, owner=roles.owner):
        raise RolesRefused(f"'{roles.service}' is a member of '{roles.owner}' and may do all that it may; revoke that")
    schema = _schema(connection)
    _run(connection, f"GRANT USAGE, CREATE ON SCHEMA {schema} TO {roles.owner}")
    _run(connection, f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {roles.service}")
    _run(connection, f"GRANT USAGE ON SCHEMA {schema} TO {roles.service}")
    if _scalar(connection, "SELECT has_schema_privilege(:role, current_schema(), 'CREATE')", role=roles.service):
        raise RolesRefused(f"'{roles.service}' may create tables in the schema {schema}; connect as the schema's owner")
    _give_tables(connection, roles.owner)


def owner(connection: Connection) -> str | None:
    """The role that owns the tables, None without tables."""
    statement = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(:table)"
    name: str | None = _scalar(connection, statement, table=VERSION_TABLE)
    return name


def become_owner(connection: Connection, name: str) -> None:
    """Acts as the owner until the transaction ends, so that it also owns what a migration creates."""
    if name != _scalar(connection, "SELECT current_user") and _scalar(
        connection, "SELECT pg_has_role(current_user, :name, 'MEMBER')", name=name
    ):
        _run(connection, f"SET LOCAL ROLE {_quoted(connection, name)}")


def service_roles(connection: Connection) -> list[str]:
    """The roles of services that the current role, as the owner, has made."""
    rows = connection.execute(
        text(
            "SELECT DISTINCT pg_get_userbyid(grantee) AS name FROM pg_default_acl, aclexplode(defaclacl)"
            " WHERE defaclobjtype = 'r' AND pg_get_userbyid(defaclrole) = current_user AND grantee <> defaclrole"
            " AND grantee <> 0 AND defaclnamespace = current_schema()::regnamespace ORDER BY name"
        )
    )
    return [row.name for row in rows]


def grant(connection: Connection, service: str) -> None:
    """Gives the role of services exactly what it needs of all tables and functions; the owner calls it."""
    role = _quoted(connection, service)
    schema = _schema(connection)
    tables = _own_tables(connection)
    _run(connection, f"REVOKE ALL ON {', '.join(tables)} FROM PUBLIC, {role}")
    for privileges, names in _privileges(tables).items():
        _run(connection, f"GRANT {privileges} ON {', '.join(names)} TO {role}")
    for function in _existing(connection, (*FUNCTIONS, *TRIGGER_FUNCTIONS)):
        _run(connection, f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC, {role}")
    for function in _existing(connection, FUNCTIONS):
        _run(connection, f"GRANT EXECUTE ON FUNCTION {function} TO {role}")
    # Of partitions that services have the owner make. A table of a later migration gets the rest at its end.
    _run(connection, f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT ON TABLES TO {role}")


def _privileges(tables: list[str]) -> dict[str, list[str]]:
    """Tables by what a service may do with them. It changes rows of a partition through the table alone."""
    found: dict[str, list[str]] = {}
    for table in tables:
        if table == VERSION_TABLE:
            privileges = "SELECT"
        elif table in APPEND_ONLY or table not in metadata.tables:
            privileges = "SELECT, INSERT"
        elif table in EXPIRING:
            privileges = "SELECT, INSERT, DELETE"
        else:
            privileges = "SELECT, INSERT, UPDATE, DELETE"
        found.setdefault(privileges, []).append(table)
    return found


def _refuse_powers(connection: Connection, service: str) -> None:
    row = connection.execute(text("SELECT * FROM pg_roles WHERE rolname = :name"), {"name": service}).mappings().first()
    powers = [] if row is None else [words for column, words in _POWERS.items() if row[column]]
    if powers:
        raise RolesRefused(f"'{service}' is {' and '.join(powers)}; name another role with --service-role")


def _make_role(connection: Connection, name: str, verifier: str | None, *, can_log_in: bool) -> None:
    exists = _scalar(connection, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :name)", name=name)
    login = "LOGIN" if can_log_in else "NOLOGIN"
    password = "" if verifier is None else f" PASSWORD '{verifier}'"
    if not exists:
        _run(connection, f"CREATE ROLE {name} {login}{password}")
    elif password:
        _run(connection, f"ALTER ROLE {name} LOGIN{password}")


def _give_tables(connection: Connection, owner: str) -> None:
    """Lets the owner have every table and function of ours that another role owns."""
    for table in _own_tables(connection):
        statement = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass(:table)"
        if _scalar(connection, statement, table=table) != owner:
            _run(connection, f"ALTER TABLE {table} OWNER TO {owner}")
    for function in _existing(connection, (*FUNCTIONS, *TRIGGER_FUNCTIONS)):
        statement = "SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE oid = to_regprocedure(:function)"
        if _scalar(connection, statement, function=function) != owner:
            _run(connection, f"ALTER FUNCTION {function} OWNER TO {owner}")


def _own_tables(connection: Connection) -> list[str]:
    """Our tables in the current schema with their partitions, and the tables that will become partitions."""
    rows = connection.execute(
        text(
            "SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p')"
            " AND c.relnamespace = current_schema()::regnamespace AND (c.relname = ANY(:names) OR c.oid IN"
            " (SELECT inhrelid FROM pg_inherits WHERE inhparent::regclass::text = ANY(:names))"
            " OR c.relname ~ '^decision(_batch)?_[0-9]{4}_[0-9]{2}_kept$') ORDER BY c.relname"
        ),
        {"names": [*metadata.tables, VERSION_TABLE]},
    )
    return [row.relname for row in rows]


def _existing(connection: Connection, functions: Iterable[str]) -> list[str]:
    statement = "SELECT to_regprocedure(:function) IS NOT NULL"
    return [function for function in functions if _scalar(connection, statement, function=function)]


def _schema(connection: Connection) -> str:
    schema: str | None = _scalar(connection, "SELECT quote_ident(current_schema())")
    if schema is None:
        raise RolesRefused("the database has no schema for tables; create one, such as public")
    return schema


def _quoted(connection: Connection, name: str) -> str:
    quoted: str = _scalar(connection, "SELECT quote_ident(:name)", name=name)
    return quoted


def _scalar(connection: Connection, statement: str, **values: object) -> Any:
    return connection.execute(text(statement), values).scalar()


def _run(connection: Connection, statement: str) -> None:
    connection.exec_driver_sql(statement)
