"""`truestock audit`: who changed what, and whether the log of it is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from service.audit.signing import AuditKeyError, SigningKey
from service.cli.main import main
from service.database.database import plain_url
from tests.service.cli.test_cli import Result, Run


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command as the shell would."""
    monkeypatch.setenv("COLUMNS", "400")

    def run_main(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run_main


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def test_verify_says_that_the_log_is_whole_and_names_what_was_broken(run: Run, database_url: str) -> None:
    whole = run("audit", "verify", "--database-url", database_url)
    forged = (
        "INSERT INTO audit_event (principal, credential, area, entity, entity_id, change) "
        "VALUES ('anna', 'token', 'catalog', 'product', 'MUG', 'created')"
    )
    asyncio.run(execute(database_url, forged))
    broken = run("audit", "verify", "--database-url", database_url)
    as_json = run("audit", "verify", "--database-url", database_url, "--json")

    assert whole.code == 0
    assert "The audit log is whole: 0 sealed events, head 0:0000" in whole.out
    assert broken.code == as_json.code == 1
    assert "broken: event 1 has no seal and does not wait for one" in broken.out
    assert (as_json.data["whole"], as_json.data["head"].split(":")[0]) == (False, "0")


def test_verify_refuses_what_is_no_head_and_no_key(run: Run, database_url: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    head = run("audit", "verify", "--database-url", database_url, "--head", "12:abc")
    key = run("audit", "verify", "--database-url", database_url, "--public-key", str(tmp_path / "key"))

    assert (head.code, key.code) == (2, 2)
    assert "'12:abc' is no head of the audit log" in head.err
    assert "holds no public key in PEM format; write it with `openssl pkey" in key.err
    assert "secret" not in key.err


def test_a_key_signs_and_what_is_no_key_is_refused(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "audit.key").write_bytes(pem)
    (tmp_path / "audit.pub").write_bytes(
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )

    private.public_key().verify(SigningKey.read(tmp_path / "audit.key").sign(b"chain"), b"chain")
    with pytest.raises(AuditKeyError, match="no private key without a password; write one with `openssl genpkey"):
        SigningKey.read(tmp_path / "audit.pub")
    with pytest.raises(AuditKeyError, match="cannot be read: No such file"):
        SigningKey.read(tmp_path / "gone.key")


def test_the_list_shows_who_changed_what(run: Run, server_address: str, tmp_path: Path) -> None:
    for status in ("open", "paused"):
        (tmp_path / "locations.csv").write_text(f"location_id,type,status\naustin,store,{status}\n")
        run("import", "locations", str(tmp_path / "locations.csv"), "--server", server_address)
    shown = run("audit", "list", "austin", "--server", server_address)
    as_json = run("audit", "list", "--area", "catalog", "--limit", "1", "--json", "--server", server_address)
    nothing = run("audit", "list", "boston", "--server", server_address)

    updated, created = [line for line in shown.out.splitlines() if "austin" in line]
    assert "local" in updated
    assert "UpsertLocations" in updated
    assert "status: open → paused" in updated
    assert "type: store" in created
    assert as_json.data[0]["entity_id"] == "austin"
    assert (nothing.code, nothing.out.strip()) == (0, "No audit event matches.")
