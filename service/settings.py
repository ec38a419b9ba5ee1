"""Settings of one service, from flags and environment variables (`TRUESTOCK_…`, `DATABASE_URL`), and addresses."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_SERVER = "127.0.0.1:50051"
HIGHEST_PORT = 65_535
_SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")
TARGETS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
"""What `target_session_attrs` of a URL may ask of a server, as in libpq."""
_TLS_FILES = {"sslcert", "sslkey", "sslrootcert", "sslcrl"}
_HOSTS = re.compile(r"|(\[[^\[\]]+\]|[^\[\]:,]*)(:\d*)?(,(\[[^\[\]]+\]|[^\[\]:,]*)(:\d*)?)*")
"""Hosts of a URL, separated by commas, each with or without a port; none if the URL has them in its options."""
_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:,]*)(?::(\d*))?")
_DEFAULT_PORT = "5432"


class Settings(BaseSettings):
    """Settings of one service. Flags override environment variables; only secrets are read from files."""

    # A refused setting is not repeated in the error: it may be the URL of the database, with its password.
    model_config = SettingsConfigDict(env_prefix="TRUESTOCK_", populate_by_name=True, hide_input_in_errors=True)

    address: str = "127.0.0.1:50051"
    """Address of the gRPC server; port 0 picks a free port."""
    workers: int = Field(default=1, ge=1, le=64)
    """Processes that answer calls, on one address."""
    metrics_address: str = "127.0.0.1:9464"
    """Address of /metrics for Prometheus, /healthz and /readyz."""
    tls_cert: Path | None = None
    """The certificate of gRPC and metrics with its chain, in PEM format; None means that neither has TLS."""
    tls_key: Path | None = None
    """The private key of `tls_cert`, without a password."""
    client_ca: Path | None = None
    """The authorities of client certificates; each caller must then show one (mutual TLS)."""
    insecure: bool = False
    """Whether the service may listen without TLS or an access file on addresses that other machines reach."""
    access: Path = Path("access.yaml")
    """The principals that may call, with their roles; without the file, everybody who can connect may do everything."""
    data_dir: Path = Path(".data/postgres")
    """Data folder of the embedded PostgreSQL."""
    database_url: str | None = Field(
        default=None,
        repr=False,
        validation_alias=AliasChoices("database_url", "TRUESTOCK_DATABASE_URL", "DATABASE_URL"),
    )
    """An external PostgreSQL 14 or later, instead of the embedded one; it may have a password."""
    database_url_file: Path | None = None
    """A file with nothing but that URL, instead of `database_url`, which then is what the file has."""
    read_database_url: str | None = Field(default=None, repr=False)
    """A streaming replica of that PostgreSQL, which answers what promises nothing."""
    read_database_url_file: Path | None = None
    """A file with nothing but that URL, instead of `read_database_url`, which then is what the file has."""
    read_max_lag_seconds: float = Field(default=5.0, ge=0.5, le=3_600)
    """How old at most what the replica lacks may be; else the database answers."""
    rules: Path = Path("rules")
    """The rules folder that planners edit."""
    require_tests: bool = False
    """Whether a rules folder with failing tests or untested rules is refused like one with problems."""
    sample: bool | None = None
    """Whether to load the sample retailer into an empty database; None means only if it is embedded."""
    sample_orders: bool = True
    """Whether a sample retailer that is loaded gets its first orders too."""
    database_pool_size: int = Field(default=10, ge=2, le=100)
    """Connections of this service to the database. Its workers share them out, and each has 2 at least."""
    statement_cache_size: int = Field(default=200, ge=0, le=10_000)
    """Prepared statements cached per direct connection; behind a connection pooler none is prepared by name."""
    decision_retention_days: int = Field(default=90, ge=1, le=3_650)
    """Days for which decisions and their inputs are kept."""
    destination_retention_days: int = Field(default=30, ge=1, le=3_650)
    """Days after an order is finished for which its destination is kept; its country and region stay."""
    publication_retention_days: int = Field(default=30, ge=1, le=3_650)
    """Days for which figures published to channels are kept; the last one of each product stays."""
    demand_retention_days: int = Field(default=730, ge=1, le=3_650)
    """Days for which unmet demand is kept."""
    policy_history_retention_days: int = Field(default=730, ge=1, le=3_650)
    """Days for which it is kept which rules were in force when."""
    catalog_history_retention_days: int = Field(default=730, ge=1, le=3_650)
    """Days for which changes of the catalog are kept."""
    audit_retention_days: int = Field(default=730, ge=1, le=3_650)
    """Days for which audit events are kept; without `audit_key` they are kept for good."""
    audit_key: Path | None = None
    """The Ed25519 private key in PEM format that signs the audit log; None means that it is not signed."""
    instance: str | None = Field(default=None, min_length=1, max_length=128)
    """The name of this service in the history of rules; None means the name of its host."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """Seconds that calls in flight get to finish when the service stops."""

    log_format: Literal["auto", "json", "logfmt"] = "auto"
    """How lines of the log are written; auto means JSON unless standard error is a terminal."""
    log_calls_per_second: float = Field(default=20.0, ge=0, le=10_000)
    """Lines a second about ordinary calls, and as many about slow and failed ones; 0 turns both off."""
    slow_call_seconds: float = Field(default=1.0, gt=0, le=3_600)
    """From how many seconds on a call is logged as slow, with the part that took longest."""
    otel_endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/]+$")
    """Where traces are sent by OTLP over gRPC, such as http://127.0.0.1:4317; None means that nothing is traced."""
    otel_sample_ratio: float = Field(default=0.1, ge=0, le=1)
    """The part of the calls that is traced, of those whose caller does not say whether they are."""

    verify_ledger_seconds: float = Field(default=300.0, ge=0, le=604_800)
    """Seconds between ledger checks, which set `truestock_ledger_differences`; 0 turns them off."""
    watch_poll_seconds: float = Field(default=0.25, gt=0, le=2)
    """Seconds between polls for changes while a caller watches."""
    watch_refresh_seconds: float = Field(default=12.0, gt=0, le=15)
    """Seconds in which all watched availability is refreshed once, for changes by time alone."""

    @field_validator("database_url", "read_database_url")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        if url is not None:
            check_database_url(url)
        return url

    @model_validator(mode="after")
    def _read_database_urls(self) -> Self:
        for name in ("database_url", "read_database_url"):
            path = getattr(self, f"{name}_file")
            if path is not None:
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} and {name}_file both name a database; give one of them")
                setattr(self, name, _url_in(f"{name}_file", path))
        if self.read_database_url is not None and self.database_url is None:
            raise ValueError("read_database_url names a replica of database_url, which is not given")
        if self.read_database_url is not None and database_hosts(self.read_database_url):
            raise ValueError("read_database_url lists several servers; name one replica")
        return self


def check_database_url(url: str) -> None:
    """Raises ValueError unless it is a PostgreSQL URL that drivers read as it is meant. The error never repeats it.

    Drivers take a password with `/`, `?` or `#` for other parts of the URL, and repeat these in their errors.
    """
    if not url.startswith(_SCHEMES):
        raise ValueError("is not a PostgreSQL URL; write it such as postgresql://user@host/database")
    try:
        parts = urlsplit(url)
        options = parse_qsl(parts.query, strict_parsing=bool(parts.query))
        is_clear = "@" not in parts.path and not parts.fragment and _HOSTS.fullmatch(parts.netloc.rpartition("@")[2])
    except ValueError:
        is_clear, options = None, []
    if not is_clear:
        raise ValueError(
            "has no host and port where they are expected; in a password, write / ? # [ ] @ : as "
            "%2F %3F %23 %5B %5D %40 %3A"
        )
    _check_files(options)
    if dict(options).get("target_session_attrs", "any") not in TARGETS:
        raise ValueError(f"has another target_session_attrs than {', '.join(TARGETS)}")
    database_hosts(url)


def database_hosts(url: str) -> list[tuple[str, int]]:
    """The hosts that a URL lists, each with its port; none unless there are several. Raises ValueError.

    A host that begins with / is the folder of a socket.
    """
    parts = urlsplit(url)
    listed = parts.netloc.rpartition("@")[2]
    hosts, ports = _hosts_and_ports(listed) if listed else _hosts_in_options(dict(parse_qsl(parts.query)))
    if len(hosts) < 2:
        return []
    if not all(hosts):
        raise ValueError(f"lists {len(hosts)} hosts, of which number {hosts.index('') + 1} is empty")
    wrong = [number for number, port in enumerate(ports, 1) if not (port.isdigit() and 0 < int(port) <= HIGHEST_PORT)]
    if wrong:
        raise ValueError(
            f"lists {len(hosts)} hosts, of which number {wrong[0]} has no port after its colon; write them such as "
            "db1:5432,db2:5432"
        )
    return [(unquote(host), int(port)) for host, port in zip(hosts, ports, strict=True)]


def _hosts_and_ports(listed: str) -> tuple[list[str], list[str]]:
    parted = [_HOST.fullmatch(text) for text in listed.split(",")]
    matches = [match for match in parted if match is not None]
    return [match[1].strip("[]") for match in matches], [
        _DEFAULT_PORT if match[2] is None else match[2] for match in matches
    ]


def _hosts_in_options(options: dict[str, str]) -> tuple[list[str], list[str]]:
    """Hosts of `?host=db1,db2&port=5432,5433`; one port is that of all hosts."""
    hosts = options.get("host", "").split(",")
    ports = options.get("port", _DEFAULT_PORT).split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ValueError(f"has {len(ports)} ports for {len(hosts)} hosts; give each host its port, or one to all")
    return hosts, ports


def _check_files(options: list[tuple[str, str]]) -> None:
    """Raises ValueError if a file of TLS cannot be read: drivers do not say which."""
    for name, value in options:
        if name in _TLS_FILES and value != "system" and not os.access(value, os.R_OK):
            raise ValueError(f"names {value} as {name}, which cannot be read")


def _url_in(name: str, path: Path) -> str:
    """The URL that is all of a file, which the setting names. Raises ValueError."""
    try:
        url = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{name} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{name} {path} is not UTF-8 text") from None
    try:
        check_database_url(url)
    except ValueError as error:
        raise ValueError(f"the URL in {path} {error}") from None
    return url


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 picks a free port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `127.0.0.1:50051`, `[::1]:50051` or `localhost:50051`. Raises ValueError otherwise."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or int(port) > HIGHEST_PORT:
            raise ValueError(f"'{text}' is not an address; write HOST:PORT, such as 127.0.0.1:50051")
        return cls(host.strip("[]"), int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it. A name other than localhost may stand for any machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def family(self) -> socket.AddressFamily:
        """That of its sockets."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
