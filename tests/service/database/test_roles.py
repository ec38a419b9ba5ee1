"""Services work as a role that adds to what only grows and changes no table; every service of these tests does so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.app.application import running
from service.cli.main import main
from service.database import migrate, roles
from service.database.roles import APPEND_ONLY, EXPIRING, SERVICE_ROLE, Roles, RolesRefused
from service.database.scram import verifier
from service.database.tables import metadata
from tests.conftest import PLAIN_RULES, service_settings, service_url
from tests.retailer import Retailer, promised

ADMIN, OWNER, SERVICE = "shop_admin", "shop_owner", "shop_service"
PASSWORD = "of-a-test"
REWRITTEN = {"availability_history"}
"""Of two figures of the same microsecond the greater stays, which is a change of the row."""


@pytest.fixture
async def service_connection(retailer: Retailer) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the role of services, to the database of a retailer who has sold, counted and cancelled."""
    await retailer.stock({("MUG", "dc"): 9})
    order = await retailer.allocate("A-1", {"MUG": 2})
    await retailer.cancel(order.allocation_id, {order.lines[0].line_id: 2})
    connection = await asyncpg.connect(service_url(retailer.database_url))
    yield connection
    await connection.close()


@pytest.fixture
async def admin(empty_database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Lets a role that is no superuser own an empty database; a connection of a superuser to it."""
    superuser = await asyncpg.connect(empty_database_url)
    await superuser.execute(f"CREATE ROLE {ADMIN} LOGIN CREATEROLE PASSWORD '{verifier(PASSWORD, 1)}'")
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f'ALTER DATABASE "{name}" OWNER TO {ADMIN}')
    yield superuser
    await superuser.execute(f'ALTER DATABASE "{name}" OWNER TO truestock')
    for role in (SERVICE, OWNER, ADMIN):
        if await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role):
            await superuser.execute(f"DROP OWNED BY {role} CASCADE")
    for role in (SERVICE, OWNER, ADMIN):
        await superuser.execute(f"DROP ROLE IF EXISTS {role}")
    await superuser.close()


def url_of(role: str, url: str) -> str:
    return url.replace("//truestock@", f"//{role}:{PASSWORD}@")


def own_roles() -> Roles:
    return Roles(OWNER, SERVICE, service_verifier=verifier(PASSWORD, 1))


async def test_services_of_tests_connect_as_the_role_of_services(retailer: Retailer) -> None:
    names = await retailer.sql(
        "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'truestock'"
    )

    assert [row["usename"] for row in names] == [SERVICE_ROLE]


async def test_a_service_can_drop_alter_or_truncate_no_table_and_make_none(
    service_connection: asyncpg.Connection,
) -> None:
    tables = await service_connection.fetch(
        "SELECT relname AS name, pg_get_userbyid(relowner) AS owner FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert {row["name"] for row in tables} >= {*metadata.tables}
    assert SERVICE_ROLE not in {row["owner"] for row in tables}
    for name in [row["name"] for row in tables]:
        for statement in (f"DROP TABLE {name}", f"ALTER TABLE {name} ADD x int", f"TRUNCATE {name} CASCADE"):
            await assert_refused(service_connection, statement)
        await assert_refused(service_connection, f"CREATE INDEX ON {name} ((1))")
        await assert_refused(service_connection, f"ALTER TABLE {name} DISABLE TRIGGER ALL")
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        f"SET ROLE {roles.OWNER_ROLE}",
        "ALTER ROLE truestock_service SUPERUSER",
        "DROP FUNCTION audit_delete_anchored(int)",
        "UPDATE alembic_version SET version_num = '0'",
    ):
        await assert_refused(service_connection, statement)


async def test_a_service_can_only_add_to_what_only_grows(service_connection: asyncpg.Connection) -> None:
    assert await service_connection.fetchval("SELECT count(*) FROM stock_movement") > 0
    for name in APPEND_ONLY:
        column = next(column.name for column in metadata.tables[name].columns if column.identity is None)
        await assert_refused(service_connection, f"UPDATE {name} SET {column} = {column}")
        await assert_refused(service_connection, f"DELETE FROM {name}")
    for name in EXPIRING:
        column = next(column.name for column in metadata.tables[name].columns if column.identity is None)
        await assert_refused(service_connection, f"UPDATE {name} SET {column} = {column}")


async def test_a_service_drops_partitions_of_decisions_and_nothing_else_by_functions(
    service_connection: asyncpg.Connection,
) -> None:
    await service_connection.execute("SELECT partition_make('decision', '2031-01-01')")
    await service_connection.execute("SELECT partition_drop('decision', 'decision_2031_01')")
    # Neither is a partition of a month, so nothing happens.
    await service_connection.execute("SELECT partition_drop('decision', 'decision_default')")
    await service_connection.execute("SELECT partition_drop('decision', 'stock_movement')")
    for statement in (
        "SELECT partition_make('stock_movement', '2031-01-01')",
        "SELECT partition_drop('audit_event', 'audit_event')",
        "SELECT partition_replace('audit_event', 'audit_event')",
        "SELECT audit_refuse_change()",
    ):
        await assert_refused(service_connection, statement)

    assert await service_connection.fetchval("SELECT to_regclass('decision_2031_01') IS NULL")
    assert await service_connection.fetchval("SELECT to_regclass('decision_default') IS NOT NULL")


async def assert_refused(connection: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)


def test_every_table_that_only_grows_is_known_as_one() -> None:
    growing = {name for name, table in metadata.tables.items() if (table.comment or "").startswith("Append-only")}

    assert growing == APPEND_ONLY | EXPIRING | REWRITTEN
    assert not APPEND_ONLY & EXPIRING


async def test_every_function_of_the_database_is_known(service_connection: asyncpg.Connection) -> None:
    rows = await service_connection.fetch(
        "SELECT proname || '(' || pg_get_function_identity_arguments(oid) || ')' AS function FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
    )
    known = {function.split("(")[0] for function in (*roles.FUNCTIONS, *roles.TRIGGER_FUNCTIONS)}

    assert {row["function"].split("(")[0] for row in rows} == known


@pytest.mark.long
async def test_a_database_in_use_gets_roles_from_who_is_no_superuser(
    admin: asyncpg.Connection, empty_database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admin_url, service_role_url = url_of(ADMIN, empty_database_url), url_of(SERVICE, empty_database_url)
    await migrate.migrate(admin_url)
    async with (
        running(service_settings(admin_url, PLAIN_RULES)) as service,
        Retailer.connect(service, empty_database_url) as shop,
    ):
        await shop.set_up()
        await shop.stock({("MUG", "dc"): 5})
        await shop.has_done("make_partitions")

    url_file, password_file = tmp_path / "url", tmp_path / "password"
    words = ["migrate", "--roles", "--database-url-file", str(url_file), "--owner-role", OWNER]
    words += ["--service-role", SERVICE, "--service-password-file", str(password_file)]
    await asyncio.to_thread(url_file.write_text, admin_url)
    for password in ("of-before", PASSWORD):
        await asyncio.to_thread(password_file.write_text, f"{password}\n")
        await asyncio.to_thread(run, words)
    owners = await admin.fetch(
        "SELECT DISTINCT pg_get_userbyid(relowner) AS name FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    async with (
        running(service_settings(service_role_url, PLAIN_RULES)) as service,
        Retailer.connect(service, empty_database_url) as shop,
    ):
        order = await shop.allocate("A-1", {"MUG": 2})

    assert f"{OWNER} owns its tables; let services connect as {SERVICE}" in capsys.readouterr().err
    assert [row["name"] for row in owners] == [OWNER]
    assert sum(promised(order).values()) == 2


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def test_the_command_makes_roles_as_often_as_it_is_repeated(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["migrate", "--roles", "--database-url", database_url])

    assert f"let services connect as {SERVICE_ROLE}" in capsys.readouterr().err


async def test_what_later_migrations_make_belongs_to_the_owner_and_is_granted(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    # As after a migration that made the tables anew.
    await connection.execute(
        f"REVOKE ALL ON lease, audit_event FROM {SERVICE_ROLE}; GRANT ALL ON audit_event TO {SERVICE_ROLE};"
        f" SET ROLE {roles.OWNER_ROLE}; CREATE TABLE later (id int); RESET ROLE"
    )

    await migrate.migrate(database_url)

    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
    granted = {
        table: [
            right
            for right in rights
            if await connection.fetchval("SELECT has_table_privilege($1, $2, $3)", SERVICE_ROLE, table, right)
        ]
        for table in ("lease", "audit_event", "later")
    }
    await connection.close()
    assert granted == {
        "lease": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "audit_event": ["SELECT", "INSERT"],
        "later": ["SELECT", "INSERT"],
    }


async def test_a_role_that_could_do_more_is_refused_and_nothing_changes(
    admin: asyncpg.Connection, empty_database_url: str
) -> None:
    admin_url = url_of(ADMIN, empty_database_url)
    await admin.execute(f"CREATE ROLE {SERVICE} LOGIN SUPERUSER")
    with pytest.raises(RolesRefused, match=f"'{SERVICE}' is a superuser; name another role with --service-role"):
        await migrate.migrate(admin_url, own_roles())
    await admin.execute(f"ALTER ROLE {SERVICE} NOSUPERUSER; CREATE ROLE {OWNER}; GRANT {OWNER} TO {SERVICE}")
    await admin.execute(f"GRANT {OWNER}, {SERVICE} TO {ADMIN} WITH ADMIN OPTION")
    with pytest.raises(RolesRefused, match=f"'{SERVICE}' is a member of '{OWNER}'"):
        await migrate.migrate(admin_url, Roles(OWNER, SERVICE))
    with pytest.raises(RolesRefused, match="connect as another role"):
        await migrate.migrate(admin_url, Roles(OWNER, ADMIN))

    assert await migrate.revision(empty_database_url) is None


@pytest.mark.parametrize(("owner", "service"), [("same", "same"), ("Owner", "a"), ('a"; DROP', "a"), ("pg_x", "a")])
def test_names_that_would_have_to_be_quoted_are_refused(owner: str, service: str) -> None:
    with pytest.raises(ValueError, match="role"):
        Roles(owner, service)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--service-role", "Shop"], "'Shop' is no name of a role here"),
        (["--service-password-file", "/nowhere/password"], "/nowhere/password cannot be read: No such file"),
    ],
)
def test_the_command_says_what_is_wrong(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["migrate", "--roles", "--database-url", "postgresql://localhost/shop", *words])

    assert message in capsys.readouterr().err


def test_roles_are_for_a_database_of_your_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit):
        main(["migrate", "--roles"])

    assert "database of your own" in " ".join(capsys.readouterr().err.replace("│", " ").split())
