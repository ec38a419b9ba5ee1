"""How commands connect to the service: TLS, the certificate to show, and profiles that keep both under a name."""

from __future__ import annotations

import os
import stat
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import grpc
import typer
import yaml

from policies.domain.near_names import near_name
from service.cli.console import EXIT_USAGE, UserError

PROFILES = Path("truestock") / "profiles.yaml"
"""The file of profiles in the folder of a person's settings."""

Profile = Annotated[
    str | None,
    typer.Option("--profile", envvar="TRUESTOCK_PROFILE", help="Server, TLS and token of this profile."),
]
Tls = Annotated[
    bool | None,
    typer.Option("--tls", envvar="TRUESTOCK_TLS", help="Connect with TLS.", show_default=False),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        envvar="TRUESTOCK_TLS_CA",
        metavar="FILE",
        help="Trust servers of these authorities only; implies --tls. Those of gRPC by default.",
    ),
]
ClientCert = Annotated[
    Path | None,
    typer.Option("--client-cert", envvar="TRUESTOCK_CLIENT_CERT", metavar="FILE", help="Certificate to show."),
]
ClientKey = Annotated[
    Path | None, typer.Option("--client-key", envvar="TRUESTOCK_CLIENT_KEY", metavar="FILE", help="Its private key.")
]

FLAGS = frozenset({"--tls"})
OPTIONS = frozenset({"--profile", "--tls-ca", "--client-cert", "--client-key"})
"""What may stand before the command or after it; FLAGS take no value."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """One profile of the file: the server, and the options of the same names."""

    server: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


_FIELDS = {field.name: bool if field.name == "tls" else str for field in fields(_Profile)}


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect; `tls_ca`, `client_cert` and `client_key` are files in PEM format."""

    tls: bool = False
    tls_ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What TLS needs; None without TLS. Raises UserError for a file that cannot be read."""
        if not (self.tls or self.tls_ca or self.client_cert or self.client_key):
            return None
        if (self.client_cert is None) != (self.client_key is None):
            raise UserError("--client-cert and --client-key go together; name both", exit_code=EXIT_USAGE)
        return grpc.ssl_channel_credentials(
            root_certificates=_content(self.tls_ca),
            private_key=_content(self.client_key),
            certificate_chain=_content(self.client_cert),
        )


current: ContextVar[Connection] = ContextVar("connection", default=Connection())  # noqa: B039 - it is immutable
"""The connection of the command that runs."""


def choose(
    profile: str | None, *, tls: bool | None, tls_ca: Path | None, client_cert: Path | None, client_key: Path | None
) -> None:
    """Sets how this command connects: what its options say, and for the rest its profile. Raises UserError."""
    kept = _read_profile(profile) if profile else _Profile()
    if kept.server is not None:
        # Each command reads its server from the environment unless --server names one.
        os.environ.setdefault("TRUESTOCK_SERVER", kept.server)
    current.set(
        Connection(
            tls=kept.tls if tls is None else tls,
            tls_ca=tls_ca or _path(kept.tls_ca),
            client_cert=client_cert or _path(kept.client_cert),
            client_key=client_key or _path(kept.client_key),
        )
    )


def moved_to_front(words: list[str]) -> list[str]:
    """The words of a command line with the options of connections before the command, where they are read."""
    front, rest = [], list(words)
    index = 0
    while index < len(rest) and rest[index] != "--":
        name = rest[index].partition("=")[0]
        length = 1 if name in FLAGS or "=" in rest[index] else 2
        if name in FLAGS | OPTIONS:
            front += rest[index : index + length]
            del rest[index : index + length]
        else:
            index += 1
    return front + rest


def profiles_file() -> Path:
    """Where a person keeps profiles."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / PROFILES


def _read_profile(name: str) -> _Profile:
    path = profiles_file()
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _usage(f"--profile {name}: {path} cannot be read: {_reason(error)}") from error
    if stat.S_IMODE(mode) & 0o077:
        raise _usage(f"{path} may hold secrets and others can read it; run: chmod 600 {path}")
    try:
        profiles = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise _usage(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(profiles, dict):
        raise _usage(f"{path} holds no profiles; write them as NAME: {{server: HOST:PORT, tls: true}}")
    if name not in profiles:
        known = sorted(map(str, profiles))
        near = near_name(name, known)
        hint = f"did you mean '{near}'?" if near else f"it has: {', '.join(known) or 'none'}"
        raise _usage(f"{path} has no profile '{name}'; {hint}")
    return _profile(profiles[name], f"{path}: {name}")


def _profile(values: object, where: str) -> _Profile:
    if not isinstance(values, dict):
        raise _usage(f"{where} is no profile; it may have {', '.join(_FIELDS)}")
    for field, value in values.items():
        kind = _FIELDS.get(field)
        if kind is None:
            raise _usage(f"{where} has no setting '{field}'; it may have {', '.join(_FIELDS)}")
        if not isinstance(value, kind):
            raise _usage(f"{where}.{field} must be {'true or false' if kind is bool else 'text'}")
    return _Profile(**values)


def _content(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise _usage(f"{path} cannot be read: {_reason(error)}") from error


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _usage(message: str) -> UserError:
    return UserError(message, code="USAGE", exit_code=EXIT_USAGE)
