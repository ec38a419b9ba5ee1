"""How commands connect: TLS by options, by environment variables and by profiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from service.cli import connection
from service.cli.connection import Connection
from service.cli.main import main
from tests.conftest import PLAIN_RULES, service_settings, service_thread

Run = Callable[..., tuple[int, str]]
"""Runs one command; returns its exit code and what it printed on stderr."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Run]:
    # Set first, so that what a profile sets is taken back.
    monkeypatch.setenv("TRUESTOCK_SERVER", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run_main(*words: str) -> tuple[int, str]:
        monkeypatch.delenv("TRUESTOCK_SERVER", raising=False)
        with pytest.raises(SystemExit) as caught:
            main(words)
        return int(caught.value.code or 0), capsys.readouterr().err

    yield run_main
    connection.current.set(Connection())


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "truestock" / "profiles.yaml"
    path.parent.mkdir()
    path.touch(mode=0o600)
    return path


@pytest.mark.database
def test_commands_connect_with_certificates_by_options_and_by_a_profile(
    run: Run, profiles: Path, database_url: str, tmp_path: Path
) -> None:
    authority = trustme.CA()
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    for name, certificate in (("server", authority.issue_cert("127.0.0.1")), ("own", authority.issue_cert("shop"))):
        (tmp_path / f"{name}.pem").write_bytes(certificate.cert_chain_pems[0].bytes())
        (tmp_path / f"{name}.key").write_bytes(certificate.private_key_pem.bytes())
    files = {"tls_cert": "server.pem", "tls_key": "server.key", "client_ca": "ca.pem"}
    settings = service_settings(database_url, PLAIN_RULES).model_copy(
        update={setting: tmp_path / name for setting, name in files.items()}
    )
    with service_thread(settings) as address:
        options = ["--tls-ca", f"{tmp_path}/ca.pem", "--client-cert", f"{tmp_path}/own.pem"]
        profiles.write_text(
            f"shop: {{server: '{address}', tls_ca: {tmp_path}/ca.pem, client_cert: {tmp_path}/own.pem, "
            f"client_key: {tmp_path}/own.key}}\n"
        )
        listed = ["channels", "--server", address]

        assert run(*listed, *options, "--client-key", f"{tmp_path}/own.key") == (0, "")
        assert run(*options, f"--client-key={tmp_path}/own.key", *listed) == (0, "")
        assert run("--profile", "shop", "channels") == (0, "")
        assert run("channels", "--profile", "shop") == (0, "")
        code, problem = run(*listed)
        assert code == 1
        assert "If the service has TLS, add --tls" in problem
        code, problem = run(*listed, "--tls")
        assert code == 1
        assert "name its authority with --tls-ca" in problem


def test_a_certificate_needs_its_key(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.pem").touch()

    code, problem = run("channels", "--client-cert", str(tmp_path / "own.pem"))

    assert code == 2
    assert "--client-cert and --client-key go together" in problem


def test_a_file_that_cannot_be_read_is_named(run: Run, tmp_path: Path) -> None:
    assert run("channels", "--tls-ca", f"{tmp_path}/none.pem") == (
        2,
        f"{tmp_path}/none.pem cannot be read: No such file or directory\n",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("shop: {}\n", "has no profile 'shpo'; did you mean 'shop'?"),
        ("", "has no profile 'shpo'; it has: none"),
        ("- shop\n", "holds no profiles"),
        ("shpo: [\n", "is not YAML"),
        ("shpo: 7\n", "shpo is no profile"),
        ("shpo: {sever: x}\n", "shpo has no setting 'sever'; it may have server, tls"),
        ("shpo: {tls: 'yes'}\n", "shpo.tls must be true or false"),
        ("shpo: {server: 7}\n", "shpo.server must be text"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(run: Run, profiles: Path, text: str, problem: str) -> None:
    profiles.write_text(text)

    code, printed = run("channels", "--profile", "shpo")

    assert code == 2
    assert problem in printed


def test_profiles_that_others_can_read_are_refused(run: Run, profiles: Path) -> None:
    profiles.write_text("shop: {}\n")
    profiles.chmod(0o644)

    assert run("channels", "--profile", "shop") == (
        2,
        f"{profiles} may hold secrets and others can read it; run: chmod 600 {profiles}\n",
    )


@pytest.mark.parametrize("host", ["shop.example", "127.shop.example", "10.0.0.5", "[fd00::1]"])
def test_a_token_is_not_sent_to_another_machine_without_tls(run: Run, tmp_path: Path, host: str) -> None:
    (tmp_path / "token").write_text("tst_secret\n")

    code, problem = run("channels", "--server", f"{host}:50051", "--token-file", str(tmp_path / "token"))

    assert (code, "only with TLS" in problem) == (2, True)


def test_options_of_connections_may_stand_before_and_after_the_command() -> None:
    assert connection.moved_to_front(["stock", "--tls", "SKU", "--tls-ca", "a", "--profile=b", "--", "--tls"]) == [
        "--tls",
        "--tls-ca",
        "a",
        "--profile=b",
        "stock",
        "SKU",
        "--",
        "--tls",
    ]
