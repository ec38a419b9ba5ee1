"""Reads `channels.yaml`: accounts, and where their secrets are. Problems have lines and columns, as in rules."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Literal
from urllib.parse import urlsplit

from policies.source.problems import Problem, Source
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node, UnreadableFile, parse
from service.channels.accounts import Account, Accounts, Disposition, SecretSource
from service.channels.adapter import Platform
from service.channels.copies import Copies
from service.channels.copies_file import read_copies
from service.settings import Address

MOST_ACCOUNTS = 100

_KEYS = ("name", "platform", "channel", "shop", "public_url", "mode", "secrets", "returns", "copies", "api_url")
_REQUIRED = ("name", "platform", "channel", "shop", "public_url", "secrets")
_CHANNEL_ID = re.compile("[a-z0-9_-]{1,64}")
_SHOP = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")


class AccountsFileError(Exception):
    """The accounts file has problems; nothing of it is used."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{p.file}:{p.line}:{p.column}: {p.message}; {p.help}" for p in problems))
        self.problems = problems


def read_accounts(name: str, content: bytes, platforms: Mapping[str, Platform]) -> Accounts:
    """The accounts that a file states; `name` is the file's in problems. Raises AccountsFileError."""
    try:
        node, problems = parse(name, content)
    except UnreadableFile as error:
        raise AccountsFileError(error.problems) from error
    file = RuleFile(name, list(problems))
    accounts = _Reader(file, platforms).read(node)
    if file.problems:
        raise AccountsFileError(sorted(set(file.problems)))
    return accounts


class _Reader:
    def __init__(self, file: RuleFile, platforms: Mapping[str, Platform]) -> None:
        self._file = file
        self._platforms = platforms
        self._names: dict[str, Source] = {}
        self._channels: dict[str, Source] = {}

    def read(self, node: Node) -> Accounts:
        keys = ("token_keys", "accounts")
        fields = self._file.fields(node, "the accounts file", keys, keys) or {}
        token_keys = self._source(fields["token_keys"], "'token_keys'") if "token_keys" in fields else None
        entries = (
            self._file.items(fields["accounts"], "'accounts'", at_most=MOST_ACCOUNTS) if "accounts" in fields else ()
        )
        accounts = tuple(account for entry in entries if (account := self._account(entry)))
        return Accounts(accounts, token_keys or SecretSource("env", ""))

    def _account(self, node: Node) -> Account | None:
        fields = self._file.fields(node, "an account", _KEYS, _REQUIRED)
        if fields is None:
            return None
        name = self._file.name(fields["name"], "'name'") if "name" in fields else None
        if name is not None:
            self._file.unique(fields["name"], "an account named", name, self._names)
        platform = self._platform(fields)
        self._mode(fields)
        location, disposition = self._returns(fields)
        return Account(
            name or "",
            platform or "",
            self._channel(fields),
            self._matching(fields, "shop", _SHOP, "write the platform's own id of the shop, in quotes"),
            self._public_url(fields),
            self._secrets(fields, platform),
            location,
            disposition,
            self._copies(fields, platform),
            self._api_url(fields),
        )

    def _platform(self, fields: Mapping[str, Node]) -> str | None:
        if "platform" not in fields:
            return None
        return self._file.choice(fields["platform"], "'platform'", sorted(self._platforms))

    def _mode(self, fields: Mapping[str, Node]) -> None:
        if "mode" not in fields:
            return
        mode = self._file.choice(fields["mode"], "'mode'", ("observe", "publish"))
        if mode == "publish":
            help = "write 'mode: observe', which reads everything and writes nothing to the channel."
            self._file.note(fields["mode"], "unknown-value", "'mode' cannot be 'publish' yet", help)

    def _channel(self, fields: Mapping[str, Node]) -> str:
        help = "write the id of a channel in Truestock's catalog: lower-case letters, digits, - and _"
        channel_id = self._matching(fields, "channel", _CHANNEL_ID, help)
        if channel_id:
            self._file.unique(fields["channel"], "an account of the channel", channel_id, self._channels)
        return channel_id

    def _returns(self, fields: Mapping[str, Node]) -> tuple[str | None, Disposition]:
        if "returns" not in fields:
            return None, Disposition.INSPECT
        keys = ("location", "disposition")
        returns = self._file.fields(fields["returns"], "'returns'", keys, ("location",)) or {}
        location = self._matching(returns, "location", re.compile(".{1,64}"), "write the id of a location") or None
        words = tuple(Disposition)
        chosen = self._file.choice(returns["disposition"], "'disposition'", words) if "disposition" in returns else None
        return location, Disposition(chosen) if chosen else Disposition.INSPECT

    def _copies(self, fields: Mapping[str, Node], platform: str | None) -> tuple[Copies, ...]:
        if "copies" not in fields or platform is None:
            return ()
        if not self._platforms[platform].has_copies:
            help = "leave it out: orders of this platform are all its own."
            self._file.note(fields["copies"], "unknown-value", f"'copies' cannot be stated of {platform}", help)
            return ()
        return read_copies(self._file, fields["copies"])

    def _secrets(self, fields: Mapping[str, Node], platform: str | None) -> dict[str, SecretSource]:
        if "secrets" not in fields or platform is None:
            return {}
        required: Collection[str] = self._platforms[platform].secret_names
        known = [*required, *self._platforms[platform].optional_secret_names]
        secrets = self._file.fields(fields["secrets"], "'secrets'", known, required) or {}
        sources = {name: self._source(node, f"'{name}'") for name, node in secrets.items()}
        return {name: source for name, source in sources.items() if source is not None}

    def _source(self, node: Node, what: str) -> SecretSource | None:
        help = f"write where {what} is, never the secret itself: {{env: NAME}} or {{file: PATH}}."
        if not isinstance(node, MappingNode) or len(node.entries) != 1 or not set(node.entries) <= {"env", "file"}:
            # The node may be the secret itself, which no message repeats.
            self._file.note(node, "wrong-type", f"{what} does not say where the secret is", help)
            return None
        kind: Literal["env", "file"] = "env" if "env" in node.entries else "file"
        _, value = node.entries[kind]
        name = self._file.text(value, f"'{kind}'")
        if name is not None and kind == "env" and not _VARIABLE.fullmatch(name):
            self._file.note(value, "bad-name", "'env' is not the name of an environment variable", help)
            return None
        return None if name is None else SecretSource(kind, name)

    def _matching(self, fields: Mapping[str, Node], key: str, pattern: re.Pattern[str], help: str) -> str:
        if key not in fields:
            return ""
        text = self._file.text(fields[key], f"'{key}'")
        if text is not None and not pattern.fullmatch(text):
            self._file.note(fields[key], "bad-name", f"'{key}' cannot be '{text[:60]}'", f"{help}.")
            return ""
        return text or ""

    def _public_url(self, fields: Mapping[str, Node]) -> str:
        text = self._file.text(fields["public_url"], "'public_url'") if "public_url" in fields else None
        if text is None:
            return ""
        if not _is_plain_url(text) or not (text.startswith("https://") or _is_this_machine(text)):
            help = "write it such as https://hooks.example.com, without a path; http only on this machine."
            self._file.note(fields["public_url"], "wrong-type", "'public_url' is not an https address", help)
        return text.rstrip("/")

    def _api_url(self, fields: Mapping[str, Node]) -> str | None:
        text = self._file.text(fields["api_url"], "'api_url'") if "api_url" in fields else None
        if text is not None and not (_is_plain_url(text) and _is_this_machine(text)):
            help = (
                "leave it out: the platform's own address is used. It is for stand-ins such as http://127.0.0.1:9000."
            )
            self._file.note(fields["api_url"], "wrong-type", "'api_url' is not an address on this machine", help)
        return text.rstrip("/") if text else None


def _is_plain_url(text: str) -> bool:
    parts = urlsplit(text)
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare


def _is_this_machine(text: str) -> bool:
    host = urlsplit(text).hostname
    return host is not None and Address(host, 0).is_loopback
