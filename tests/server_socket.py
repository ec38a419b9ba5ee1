"""The socket that a URL of the embedded server names, for tests that put something in between."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


def options_of(url: str) -> dict[str, str]:
    """The options of the URL: `host`, `port` and `passfile`."""
    return dict(parse_qsl(urlsplit(url).query))


def socket_of(url: str) -> Path:
    """The server's socket."""
    options = options_of(url)
    return Path(options["host"], f".s.PGSQL.{options['port']}")


def url_by(folder: Path, url: str) -> str:
    """The same URL by a socket of the same name in another folder."""
    return url.replace(f"host={options_of(url)['host']}", f"host={folder}")
