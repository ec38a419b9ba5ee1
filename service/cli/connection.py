"""How commands connect to the service: TLS, the certificate or token to show, and profiles that keep them by name."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
import yaml
from grpc import aio

from policies.domain.near_names import near_name
from service.cli.console import EXIT_USAGE, UserError
from service.settings import Address

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
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", envvar="TRUESTOCK_TOKEN_FILE", metavar="FILE", help="File with the token to send."),
]

FLAGS = frozenset({"--tls"})
OPTIONS = frozenset({"--profile", "--tls-ca", "--client-cert", "--client-key", "--token-file"})
"""What may stand before the command or after it; FLAGS take no value."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """One profile of the file: the server, and the options of the same names."""

    server: str | None = None
    tls: bool = False
    tls_ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    token: str | None = None
    token_file: str | None = None


_FIELDS = {field.name: bool if field.name == "tls" else str for field in fields(_Profile)}


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect; `tls_ca`, `client_cert` and `client_key` are files in PEM format."""

    tls: bool = False
    tls_ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    token: str | None = None

    def channel(self, server: str, options: Sequence[tuple[str, Any]]) -> aio.Channel:
        """A new channel to the server. Raises UserError, also before a token would be sent where others can read it."""
        credentials = self.credentials()
        if credentials is None:
            if self.token is not None and not _is_this_machine(server):
                raise _usage(f"a token is sent to {server} only with TLS, where nobody else can read it; add --tls")
            return aio.insecure_channel(server, options, interceptors=_interceptors(self.token))
        if self.token is not None:
            credentials = grpc.composite_channel_credentials(
                credentials, grpc.access_token_call_credentials(self.token)
            )
        return aio.secure_channel(server, credentials, options)

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
    profile: str | None,
    *,
    tls: bool | None,
    tls_ca: Path | None,
    client_cert: Path | None,
    client_key: Path | None,
    token_file: Path | None,
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
            token=_token(token_file or _path(kept.token_file)) or kept.token,
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


def _token(path: Path | None) -> str | None:
    return None if path is None else token_in(path)


def token_in(path: Path) -> str:
    """The token in a file of one line. Raises UserError."""
    content = _content(path) or b""
    text = content.decode("ascii", "replace").strip()
    if not text or not text.isprintable() or not text.isascii() or " " in text:
        raise _usage(f"{path} holds no token; `truestock access add` prints one, to be kept in a file of one line")
    return text


def _is_this_machine(server: str) -> bool:
    """`server` is checked: HOST:PORT or unix:PATH."""
    return server.startswith("unix:") or Address.parse(server).is_loopback


def _interceptors(token: str | None) -> list[Any]:
    """What sends a token without TLS, for which gRPC has no credentials."""
    return [] if token is None else [kind(token) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]


class _Sender:
    """Adds a token to the metadata of calls."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    async def send(self, continuation: Any, details: Any, request: Any) -> Any:
        """The call, with the token."""
        metadata = details.metadata or aio.Metadata()
        metadata.add("authorization", self._value)
        return await continuation(details._replace(metadata=metadata), request)


# gRPC looks for exactly one of these base classes in each interceptor.
class _UnaryUnary(_Sender, aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self.send(continuation, client_call_details, request)


class _UnaryStream(_Sender, aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await self.send(continuation, client_call_details, request)


class _StreamUnary(_Sender, aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self.send(continuation, client_call_details, request_iterator)


class _StreamStream(_Sender, aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await self.send(continuation, client_call_details, request_iterator)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser()


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _usage(message: str) -> UserError:
    return UserError(message, code="USAGE", exit_code=EXIT_USAGE)
