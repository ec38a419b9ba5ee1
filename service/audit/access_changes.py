"""What a change of the access file did: which principals came, went or got other rights. No token, no digest of one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from service.audit.audit_log import ACCESS, AuditedChange
from service.auth.access_file import Access

FINGERPRINT_DIGITS = 16
_TOKENS, _CERTIFICATES, _SUBJECTS = _KINDS = ("tokens", "certificates", "subjects")
_Rights = dict[str, dict[str, Any]]


def access_changes(before: Access | None, after: Access, service: Mapping[str, Any]) -> list[AuditedChange]:
    """The changes from one access file to another; `service` says where it is in force."""
    old, new = {} if before is None else _rights(before), _rights(after)
    shown = {} if before is None else _credentials(before), _credentials(after)
    changes = []
    for name in sorted(old.keys() | new.keys()):
        values = old.get(name), new.get(name)
        if values[0] != values[1]:
            changes.append(_change("principal", name, *values, service))
        elif shown[0].get(name) != shown[1].get(name):
            # As many as before, and others.
            replaced = {"credentials": "replaced"}
            changes.append(AuditedChange(ACCESS, "principal", name, "updated", None, {**replaced, **service}))
    issuers = None if before is None else _issuer(before), _issuer(after)
    if issuers[0] != issuers[1]:
        changes.append(_change("issuer", (issuers[1] or issuers[0] or {})["issuer"], *issuers, service))
    return changes


def access_in_force(access: Access | None, service: Mapping[str, Any]) -> AuditedChange:
    """What a service that starts has in force.

    The fingerprint is another one if anybody's rights changed since another start, even while no service ran.
    """
    if access is None:
        values: dict[str, Any] = {"principals": "everybody may do everything"}
    else:
        rights = json.dumps([_rights(access), _issuer(access)], sort_keys=True).encode()
        values = {
            "principals": len(access.principals),
            "fingerprint": sha256(rights).hexdigest()[:FINGERPRINT_DIGITS],
        }
    return AuditedChange(ACCESS, "access_file", "access", "started", None, {**values, **service})


def _change(
    entity: str, name: str, old: dict[str, Any] | None, new: dict[str, Any] | None, service: Mapping[str, Any]
) -> AuditedChange:
    change = "created" if old is None else "deleted" if new is None else "updated"
    if old is not None and new is not None:
        names = [key for key in old if old[key] != new[key]]
        old, new = ({key: values[key] for key in names} for values in (old, new))
    return AuditedChange(ACCESS, entity, name, change, old, {**(new or {}), **service})


def _rights(access: Access) -> _Rights:
    """What each principal may do, and how many credentials of each kind it has, by name."""
    rights: _Rights = {}
    credentials = _credentials(access)
    for principal in access.principals:
        values = asdict(principal)
        del values["name"]
        rights[principal.name] = {
            key: sorted(value) if isinstance(value, frozenset) else value for key, value in values.items()
        }
        for kind in _KINDS:
            rights[principal.name][kind] = len(credentials.get(principal.name, {}).get(kind, ()))
    return rights


def _credentials(access: Access) -> dict[str, dict[str, set[object]]]:
    """What each principal can show, by kind; to be compared only, never to be kept."""
    found: dict[str, dict[str, set[object]]] = defaultdict(lambda: defaultdict(set))
    for token in access.tokens.all():
        found[token.principal.name][_TOKENS].add((token.sha256, token.expires))
    for kind, names in ((_CERTIFICATES, access.by_certificate), (_SUBJECTS, access.by_subject)):
        for text, principal in names.items():
            found[principal.name][kind].add(text)
    return found


def _issuer(access: Access) -> dict[str, Any] | None:
    return None if access.issuer is None else asdict(access.issuer)
