"""The password of an embedded server's user, and the rules by which the server asks for it.

Without one, every process of the server's account could connect, which is `postgres` or `nobody` for a service that
runs as root. The password is random and in a file that only the service's user reads; PostgreSQL has its verifier.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from service.database.embedded.location import ServerFolder
from service.database.scram import verifier

PASSWORD_BYTES = 32
ITERATIONS = 1
"""More of them only slow guesses of passwords that people choose; each connection would pay for them."""

ACCESS_RULES = """# Written by Truestock at each start: every connection needs a password.
local all all scram-sha-256
# For pg_basebackup.
local replication all scram-sha-256
"""


def new_password() -> str:
    """A random password of 256 bits, of letters, digits, `-` and `_`."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def password_statement(user: str, password: str) -> str:
    """Sets the password of a user. The statement has no secret: whoever knows a verifier cannot log in with it."""
    return f"ALTER ROLE {user} PASSWORD '{verifier(password, ITERATIONS)}'"


def write_password(server_folder: ServerFolder, user: str, password: str) -> None:
    """Writes the password file, whole or not at all."""
    _write(server_folder.password_file, f"*:*:*:{user}:{password}\n", 0o600)


def write_access_rules(server_folder: ServerFolder) -> None:
    """Writes the rules, which have no secret and which the server's account must be able to read."""
    _write(server_folder.access_rules, ACCESS_RULES, 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(file, "w") as stream:
        os.fchmod(file, mode)
        stream.write(text)
        stream.flush()
        os.fsync(file)
    unfinished.rename(path)
