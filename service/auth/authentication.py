"""Finds out who calls: by a token of the call, else by the certificate of its connection."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from service.auth.access_file import Access, AccessFileError, read_access
from service.auth.file_content import file_content
from service.auth.issuer import Issuer, KeysError
from service.auth.issuer_keys import KeySchedule, fetched_keys
from service.auth.principals import LOCAL, Principal
from service.auth.tokens import PREFIX
from service.background import every
from service.errors import Unauthenticated

if TYPE_CHECKING:
    import jwt

    from service.auth.json_web_tokens import JsonWebTokens

log = structlog.get_logger(__name__)

HEADER = "authorization"
SCHEME = "bearer "
LONGEST_TOKEN = 16 << 10
"""Characters of a token; gRPC bounds the metadata of a call to less."""
REMEMBERED_TOKENS = 10_000
"""Verified JSON Web Tokens that are remembered: a signature takes a tenth of a millisecond to verify."""
REMEMBERED_SECONDS = 10.0
"""How long a verified one is remembered; it may be used this much longer than it says."""
KEYS_SECONDS = 1.0
"""How often the service looks whether the keys of an issuer's host have to be fetched."""
LONGEST_PROBLEM = 300
"""Characters that the log shows of why keys were not fetched, which may repeat what a host answered."""
COMMON_NAME = "x509_common_name"
ALTERNATIVE_NAME = "x509_subject_alternative_name"
"""What gRPC calls the names in the certificate of a connection."""


@dataclass(frozen=True, slots=True)
class _InForce:
    """An access file that was read without problems, with the keys of its issuer."""

    access: Access
    json_web_tokens: JsonWebTokens | None


class Authentication:
    """Who may call, as the access file says now. Without one, everybody who can connect is `LOCAL`.

    A file that has come into force stays in force while the file has problems or is gone: a typing error must not
    open the service, nor close it.
    """

    def __init__(self, path: Path) -> None:
        """`path` need not exist. Raises AccessFileError or KeysError for a file that cannot be used."""
        self._path = path
        self._in_force: _InForce | None = None
        self._remembered: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._read: tuple[bytes, bytes] | None = None
        self._problem = ""
        self._schedule, self._keys_problem = KeySchedule(), ""
        content = self._contents()
        if content is not None:
            self._in_force = self._load(content[0])
            self._read = content

    @property
    def access(self) -> Access | None:
        """The access file in force; None without one."""
        return None if self._in_force is None else self._in_force.access

    @property
    def is_required(self) -> bool:
        """Whether callers have to say who they are."""
        return self._in_force is not None

    async def reload(self) -> None:
        """Reads the access file and the issuer's keys again, if they changed; logs what came of it.

        Beside the event loop: a file of 1,000 principals takes half a second to read, and the first that names an
        issuer a fifth of a second.
        """
        try:
            content = self._contents()
            if content is None or content == self._read:
                return
            before, self._read = self._in_force, content
            loaded = await asyncio.to_thread(self._load, content[0])
            if self._in_force is not before:
                # Keys of the issuer's host came into force meanwhile: read next time, with those.
                self._read = None
                return
            self._in_force = loaded
        except (AccessFileError, KeysError, OSError) as error:
            if str(error) != self._problem:
                # Keys that are missing are looked for every time, and said once.
                self._problem = str(error)
                log.error("the access file was refused; the last one stays in force", problem=self._problem)
            return
        self._problem = ""
        self._remembered.clear()
        log.info("access file in force", file=str(self._path), principals=len(loaded.access.principals))

    def by_metadata(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> Principal | None:
        """Whose token a call carries; None if it carries none. Raises Unauthenticated for one that is not valid."""
        in_force = self._in_force
        if in_force is None:
            return LOCAL
        values = [value for key, value in metadata or () if key == HEADER]
        if not values:
            return None
        value = values[0]
        if len(values) > 1 or not isinstance(value, str) or value[: len(SCHEME)].lower() != SCHEME:
            raise Unauthenticated()
        token = value[len(SCHEME) :].strip()
        principal = in_force.access.tokens.principal(token) if token.startswith(PREFIX) else None
        principal = principal or self._by_json_web_token(token, in_force)
        if principal is None:
            raise Unauthenticated()
        return principal

    def by_certificate(self, properties: Mapping[str, Sequence[bytes]]) -> Principal:
        """Whose certificate the connection has. Raises Unauthenticated if it has none, or nobody's."""
        in_force = self._in_force
        if in_force is None:
            return LOCAL
        for name in (*properties.get(COMMON_NAME, ()), *properties.get(ALTERNATIVE_NAME, ())):
            if principal := in_force.access.by_certificate.get(name.decode("utf-8", "replace")):
                return principal
        raise Unauthenticated()

    def _by_json_web_token(self, token: str, in_force: _InForce) -> Principal | None:
        if in_force.json_web_tokens is None or len(token) > LONGEST_TOKEN:
            return None
        digest, now = sha256(token.encode("utf-8", "surrogateescape")).digest(), monotonic()
        until, principal = self._remembered.get(digest, (0.0, None))
        if principal is not None and now < until:
            return principal
        subject = in_force.json_web_tokens.subject(token)
        principal = None if subject is None else in_force.access.by_subject.get(subject)
        if principal is not None:
            self._remembered[digest] = (now + REMEMBERED_SECONDS, principal)
            if len(self._remembered) > REMEMBERED_TOKENS:
                self._remembered.popitem(last=False)
        return principal

    def _contents(self) -> tuple[bytes, bytes] | None:
        """The bytes of the access file and of the issuer's keys, if it is known; None without an access file."""
        try:
            content = file_content(self._path)
        except FileNotFoundError:
            return None
        keys = b""
        issuer = self._in_force.access.issuer if self._in_force else None
        if issuer is not None and not issuer.has_host:
            keys = file_content(self._path.parent / issuer.keys)
        return content, keys

    def _load(self, content: bytes) -> _InForce:
        access = read_access(self._path.name, content)
        if access.issuer is None:
            return _InForce(access, None)
        # Takes a fifth of a second to import, which a service without an identity provider spares.
        from service.auth.json_web_tokens import JsonWebTokens

        if not access.issuer.has_host:
            return _InForce(access, JsonWebTokens.read(access.issuer, self._path.parent))
        before = self._in_force
        is_same = (
            before is not None and before.access.issuer is not None and before.access.issuer.keys == access.issuer.keys
        )
        known = before.json_web_tokens if before is not None and is_same else None
        # Without keys, tokens of the issuer are refused until they have been fetched.
        return _InForce(access, JsonWebTokens(access.issuer, {} if known is None else known.keys))

    async def follow_keys(self, stop: asyncio.Event) -> None:
        """Keeps the keys of the issuer's host up to date until `stop` is set."""
        await every(KEYS_SECONDS, stop, self.refresh_keys)

    async def refresh_keys(self) -> None:
        """Fetches the keys of the issuer's host, if that is due; logs what came of it."""
        in_force = self._in_force
        issuer = None if in_force is None else in_force.access.issuer
        if in_force is None or in_force.json_web_tokens is None or issuer is None or not issuer.has_host:
            return
        if not self._schedule.is_due(issuer, monotonic(), lacks_key=in_force.json_web_tokens.lacks_key):
            return
        from service.auth.json_web_tokens import keys_in

        try:
            keys = keys_in(await asyncio.to_thread(fetched_keys, issuer.keys), issuer.keys)
            if not keys:
                raise KeysError(f"{issuer.keys} has no key for signatures")
        except KeysError as error:
            self._schedule.attempted(monotonic(), succeeded=False)
            problem = str(error)[:LONGEST_PROBLEM]
            if problem != self._keys_problem:
                self._keys_problem = problem
                log.error("the issuer's keys were not fetched; the last ones stay in force", problem=problem)
            return
        self._schedule.attempted(monotonic(), succeeded=True)
        self._keys_problem = ""
        self._install(issuer, keys)

    def _install(self, issuer: Issuer, keys: Mapping[str, jwt.PyJWK]) -> None:
        """Puts fetched keys into force, unless the access file names another address by now."""
        from service.auth.json_web_tokens import JsonWebTokens

        in_force = self._in_force
        if in_force is None or in_force.access.issuer is None or in_force.access.issuer.keys != issuer.keys:
            return
        known = in_force.json_web_tokens.keys if in_force.json_web_tokens is not None else {}
        if keys.keys() != known.keys():
            log.info("keys of the issuer in force", issuer=issuer.issuer, keys=len(keys))
        self._in_force = _InForce(in_force.access, JsonWebTokens(in_force.access.issuer, keys))
        self._remembered.clear()
