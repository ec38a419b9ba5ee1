"""Settings of the service, from flags and from the environment (`TRUESTOCK_…`, `DATABASE_URL`), and addresses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_SERVER = "127.0.0.1:50051"
HIGHEST_PORT = 65_535
_SCHEMES = ("postgresql://", "postgres://", "postgresql+asyncpg://")


class Settings(BaseSettings):
    """How one service runs. Flags win over the environment; nothing is read from files."""

    model_config = SettingsConfigDict(env_prefix="TRUESTOCK_", populate_by_name=True)

    address: str = "127.0.0.1:50051"
    """Where gRPC is served; port 0 takes a free one."""
    metrics_address: str = "127.0.0.1:9464"
    """Where Prometheus scrapes, and /healthz and /readyz answer."""
    data_dir: Path = Path(".data/postgres")
    """Where the embedded PostgreSQL keeps its data."""
    database_url: str | None = Field(
        default=None, validation_alias=AliasChoices("database_url", "TRUESTOCK_DATABASE_URL", "DATABASE_URL")
    )
    """An external PostgreSQL 14 or later, instead of the embedded one."""
    rules: Path = Path("rules")
    """The folder that planners edit."""
    sample: bool | None = None
    """Load the sample retailer into an empty database; None means only into the embedded one."""
    database_pool_size: int = Field(default=10, ge=2, le=100)
    """Database connections of this process."""
    statement_cache_size: int = Field(default=200, ge=0, le=10_000)
    """Prepared statements that a connection keeps; 0 behind a PgBouncer older than 1.21 that pools transactions."""
    decision_retention_days: int = Field(default=90, ge=1, le=3_650)
    """How long decisions and what they were made from are kept."""
    drain_seconds: float = Field(default=10.0, ge=0, le=600)
    """How long calls in flight may take to end when the service stops."""

    verify_ledger_seconds: float = Field(default=300.0, ge=0, le=604_800)
    """How often the service proves its own ledger, for `truestock_ledger_differences`; 0 is never."""
    watch_poll_seconds: float = Field(default=0.25, gt=0, le=2)
    """How often changes are looked for while somebody watches."""
    watch_refresh_seconds: float = Field(default=12.0, gt=0, le=15)
    """How long it takes to look once at everything that is watched, for what the clock alone changes."""

    @field_validator("database_url")
    @classmethod
    def _is_postgresql(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(_SCHEMES):
            raise ValueError("is no PostgreSQL address, such as postgresql://user@host/database")
        return url


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `127.0.0.1:50051`, `[::1]:50051` or `localhost:50051`. Raises ValueError with what to write."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit() or int(port) > HIGHEST_PORT:
            raise ValueError(f"'{text}' is no address to listen on; write HOST:PORT, such as 127.0.0.1:50051")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
