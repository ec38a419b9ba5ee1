"""`truestock access`: who may call a service, in its access file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from policies.source.problems import render
from service.auth.access_file import Access, AccessFileError, read_access, role_advice
from service.auth.principals import Role
from service.auth.tokens import digest_of, new_token
from service.cli import options
from service.cli.console import UserError, add_row, new_table, print_json, print_line, say, stdout_console

app = typer.Typer(
    name="access", help="Shows and adds who may call a service, in its access file.", no_args_is_help=True
)

LONGEST_DAYS = 3_650

File = Annotated[Path, typer.Option("--file", envvar="TRUESTOCK_ACCESS", help="The access file.")]
FILE = Path("access.yaml")
_HEADER = """# Who may call Truestock. SECURITY.md says what each entry means; a running service reads changes.
principals:
"""


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a program or a person, such as shopify-adapter.")],
    roles: Annotated[list[str], typer.Option("--role", help="What it may do, such as read; repeatable.")],
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, max=LONGEST_DAYS, help="Days until the token expires; never by default."),
    ] = None,
    channels: Annotated[
        list[str] | None, typer.Option("--channel", help="It sees and sells for this channel only; repeatable.")
    ] = None,
    locations: Annotated[
        list[str] | None, typer.Option("--location", help="It sees and works for this location only; repeatable.")
    ] = None,
    on_behalf_of: Annotated[
        bool, typer.Option("--on-behalf-of", help="It may name the person for whom it calls.")
    ] = False,
    file: File = FILE,
) -> None:
    """Adds a principal to the access file, and prints its new token. The token is shown this once.

    \b
    Examples:
      truestock access add ops --role admin
      truestock access add shopify-adapter --role read --role allocate --days 365
      truestock access add tablet --role fulfil --location store-denver
    """
    for role in roles:
        if role not in tuple(Role):
            raise typer.BadParameter(f"there is no role '{role}'; {role_advice(role)}")
    content = file.read_bytes() if file.exists() else b""
    known = _read(file, content) if content.strip() else Access()
    if name in {principal.name for principal in known.principals}:
        raise UserError(f"{file} has the principal {name} already; choose another name, or edit its entry")
    token = new_token()
    text = content.decode("utf-8").rstrip("\n") + "\n" if content.strip() else _HEADER
    lists = {"roles": roles, "channels": channels or [], "locations": locations or []}
    entry = _entry(name, lists, digest_of(token).hex(), days, on_behalf_of=on_behalf_of)
    changed = _with_entry(text, entry)
    _read(file, changed.encode())
    _replace(file, changed)
    print_line(token)
    say(f"Added {name} to {file}. This is its token; only its digest is kept, so store it now.")


@app.command("list")
def list_principals(file: File = FILE, as_json: options.Json = False) -> None:
    """Lists the principals of the access file with their roles.

    \b
    Examples:
      truestock access list
      truestock access list --file /etc/truestock/access.yaml --json
    """
    if not file.exists():
        raise UserError(f"there is no {file}; `truestock access add` makes it")
    principals = _read(file, file.read_bytes()).principals
    if as_json:
        print_json(
            [
                {
                    "name": who.name,
                    "roles": sorted(who.roles),
                    "channels": None if who.channel_ids is None else sorted(who.channel_ids),
                    "locations": None if who.location_ids is None else sorted(who.location_ids),
                    "on_behalf_of": who.on_behalf_of,
                }
                for who in principals
            ]
        )
        return
    table = new_table("principal", "roles", "channels", "locations", "on behalf of others")
    for who in principals:
        bound = ("all" if ids is None else ", ".join(sorted(ids)) for ids in (who.channel_ids, who.location_ids))
        add_row(table, who.name, ", ".join(sorted(who.roles)), *bound, "yes" if who.on_behalf_of else "")
    stdout_console().print(table)


def _read(file: Path, content: bytes) -> Access:
    try:
        return read_access(file.name, content)
    except AccessFileError as error:
        raise UserError(render(error.problems, {file.name: content}).rstrip("\n")) from error


def _entry(name: str, lists: Mapping[str, list[str]], digest: str, days: int | None, *, on_behalf_of: bool) -> str:
    today = datetime.now(UTC).date()
    expires = f", expires: {today + timedelta(days=days)}" if days else ""
    lines = [
        f"  - name: {name}",
        *(f"    {key}: {json.dumps(list(dict.fromkeys(words)))}" for key, words in lists.items() if words),
        *(["    on_behalf_of: true"] if on_behalf_of else []),
        "    tokens:",
        f"      - {{sha256: {digest}, created: {today}{expires}}}",
    ]
    return "\n".join(lines) + "\n"


def _with_entry(text: str, entry: str) -> str:
    """The text with the entry as the first of `principals`, where no later key can be in its way."""
    found = re.search(r"^principals:[ \t]*(#.*)?$", text, re.MULTILINE)
    if found is None:
        raise UserError(
            "the access file has no line `principals:` followed by a list of entries that begin with `-`; add this to "
            f"it yourself:\n{entry}"
        )
    end = found.end() + 1
    return f"{text[:end]}{entry}{text[end:]}"


def _replace(file: Path, text: str) -> None:
    """Replaces the file at once, so that a running service never reads half of it; it stays with its owner."""
    temporary = file.with_name(f".{file.name}.new")
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    temporary.touch(mode=0o600)
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(mode)
    temporary.replace(file)
