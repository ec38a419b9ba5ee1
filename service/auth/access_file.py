"""Reads `access.yaml`: principals with roles, tokens and certificates. Problems have lines and columns, as in rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

from policies.source.problems import Problem, Source
from policies.source.rule_file import RuleFile, described, suggestion
from policies.source.yaml_nodes import Node, UnreadableFile, parse
from service.auth.issuer import Issuer, is_safe_url
from service.auth.principals import Principal, Role
from service.auth.tokens import Token, Tokens

MOST_PRINCIPALS = 1_000
MOST_TOKENS = 20
"""Tokens, certificates or subjects of one principal."""
MOST_IDS = 1_000
"""Channels or locations of one principal."""
HIGHEST_LIMIT = 1_000_000
"""Calls of one principal, a second or in progress."""
LONGEST_NAME = 200

_KEYS = (
    *("name", "roles", "channels", "locations", "tokens", "certificates", "subjects", "on_behalf_of"),
    *("calls_per_second", "calls_in_progress"),
)
_TOKEN_KEYS = ("sha256", "created", "expires")
_ISSUER_KEYS = ("issuer", "audience", "keys")
_DIGEST = re.compile("[0-9a-f]{64}")
_FILE_HELP = "see SECURITY.md, or let `truestock access add` write it."


@dataclass(frozen=True, slots=True)
class Access:
    """What an access file says: whose tokens, certificates and subjects are whose."""

    tokens: Tokens = field(default_factory=Tokens)
    by_certificate: Mapping[str, Principal] = field(default_factory=dict)
    """Principals by a name in their certificate."""
    by_subject: Mapping[str, Principal] = field(default_factory=dict)
    """Principals by the subject of their JSON Web Tokens."""
    issuer: Issuer | None = None
    principals: tuple[Principal, ...] = ()


class AccessFileError(Exception):
    """The access file has problems; nothing of it is in force."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.file}:{p.line}:{p.column}: {p.message}" for p in problems))
        self.problems = problems


def read_access(name: str, content: bytes) -> Access:
    """The access that a file gives; `name` is the file's in problems. Raises AccessFileError."""
    try:
        node, problems = parse(name, content)
    except UnreadableFile as error:
        raise AccessFileError(error.problems) from error
    file = RuleFile(name, list(problems))
    access = _Reader(file).read(node)
    if file.problems:
        raise AccessFileError(sorted(set(file.problems)))
    return access


class _Reader:
    def __init__(self, file: RuleFile) -> None:
        self._file = file
        self._names: dict[str, Source] = {}
        self._used: dict[str, Source] = {}
        self._tokens: list[Token] = []
        self._certificates: dict[str, Principal] = {}
        self._subjects: dict[str, Principal] = {}

    def read(self, node: Node) -> Access:
        fields = self._file.fields(node, "the access file", ("principals", "jwt"), ("principals",)) or {}
        entries = (
            self._file.items(fields["principals"], "'principals'", at_most=MOST_PRINCIPALS)
            if "principals" in fields
            else ()
        )
        principals = [principal for entry in entries if (principal := self._principal(entry))]
        issuer = self._issuer(fields["jwt"]) if "jwt" in fields else None
        return Access(
            Tokens(self._tokens), self._certificates, self._subjects, issuer=issuer, principals=tuple(principals)
        )

    def _principal(self, node: Node) -> Principal | None:
        fields = self._file.fields(node, "a principal", _KEYS, ("name", "roles"))
        if fields is None or "name" not in fields or "roles" not in fields:
            return None
        name = self._file.name(fields["name"], "'name'")
        if name is not None:
            self._file.unique(fields["name"], "a principal named", name, self._names)
        roles = [
            self._file.choice(entry, "a role", tuple(Role), {"fulfill": "fulfil", "fulfillment": "fulfil"})
            for entry in self._file.items(fields["roles"], "'roles'", "roles: [read, allocate]", at_most=len(Role))
        ]
        on_behalf_of = "on_behalf_of" in fields and self._file.flag(fields["on_behalf_of"], "'on_behalf_of'")
        principal = Principal(
            name or "",
            frozenset(Role(role) for role in roles if role),
            bool(on_behalf_of),
            self._ids(fields, "channels"),
            self._ids(fields, "locations"),
            self._limit(fields, "calls_per_second"),
            self._limit(fields, "calls_in_progress"),
        )
        for entry in self._entries(fields, "tokens"):
            self._token(entry, principal)
        for key, known in (("certificates", self._certificates), ("subjects", self._subjects)):
            for entry in self._entries(fields, key):
                self._peer(entry, f"an entry of '{key}'", known, principal)
        return principal

    def _ids(self, fields: Mapping[str, Node], key: str) -> frozenset[str] | None:
        if key not in fields:
            return None
        entries = self._file.items(fields[key], f"'{key}'", f"{key}: [shopify]", at_most=MOST_IDS)
        return frozenset(
            id for entry in entries if (id := self._file.text(entry, f"an entry of '{key}'", at_most=LONGEST_NAME))
        )

    def _limit(self, fields: Mapping[str, Node], key: str) -> int | None:
        return self._file.integer(fields[key], f"'{key}'", 1, HIGHEST_LIMIT) if key in fields else None

    def _entries(self, fields: Mapping[str, Node], key: str) -> Iterable[Node]:
        return self._file.items(fields[key], f"'{key}'", at_most=MOST_TOKENS) if key in fields else ()

    def _token(self, node: Node, principal: Principal) -> None:
        fields = self._file.fields(node, "a token", _TOKEN_KEYS, ("sha256",)) or {}
        digest = self._file.text(fields["sha256"], "'sha256'") if "sha256" in fields else None
        expires = self._date(fields["expires"], "'expires'") if "expires" in fields else None
        if "created" in fields:
            self._date(fields["created"], "'created'")
        if digest is None:
            return
        if not _DIGEST.fullmatch(digest):
            help = f"write the 64 digits that `truestock access add` prints, never the token itself; {_FILE_HELP}"
            self._file.note(fields["sha256"], "wrong-type", "'sha256' is no SHA-256 digest in lower case", help)
            return
        self._file.unique(fields["sha256"], "a token with the digest", digest, self._used)
        self._tokens.append(Token(bytes.fromhex(digest), principal, expires))

    def _peer(self, node: Node, what: str, known: dict[str, Principal], principal: Principal) -> None:
        text = self._file.text(node, what, at_most=LONGEST_NAME)
        if text is not None:
            self._file.unique(node, what, f"{what}/{text}", self._used)
            known[text] = principal

    def _date(self, node: Node, what: str) -> date | None:
        text = self._file.text(node, what)
        if text is None:
            return None
        try:
            return date.fromisoformat(text)
        except ValueError:
            self._file.note(node, "no-such-time", f"{what} must be a date, not {described(node)}", "write YYYY-MM-DD.")
            return None

    def _issuer(self, node: Node) -> Issuer | None:
        fields = self._file.fields(node, "'jwt'", _ISSUER_KEYS, _ISSUER_KEYS) or {}
        texts = {key: self._file.text(value, f"'{key}'", at_most=LONGEST_NAME) for key, value in fields.items()}
        issuer, audience, keys = (texts.get(key) for key in _ISSUER_KEYS)
        if keys and "://" in keys and not is_safe_url(keys):
            advice = "write https://HOST/PATH, without a user; http:// is for hosts such as 127.0.0.1 alone."
            self._file.note(fields["keys"], "no-such-address", f"'keys' cannot be fetched from {keys}", advice)
            return None
        return Issuer(issuer, audience, keys) if issuer and audience and keys else None


def role_advice(word: str) -> str:
    """What was probably meant by a word that is no role, and the roles."""
    return f"{suggestion(word, tuple(Role))}the roles are: {', '.join(Role)}"
