"""Audit events as a table: who changed what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from service.cli.console import add_row, enum_word, format_time, new_table
from truestock.v1.audit_service_pb2 import AuditEvent


def print_audit_events(console: Console, events: Sequence[AuditEvent]) -> None:
    """Prints events."""
    if not events:
        console.print("No audit event matches.")
        return
    table = new_table("time", "who", "by", "from", "call", "what", "id", "change", "values")
    for event in events:
        add_row(
            table,
            format_time(event.event_time),
            f"{event.actor} via {event.principal}" if event.actor else event.principal,
            enum_word(AuditEvent.Credential, event.credential, "CREDENTIAL_"),
            event.peer or "-",
            event.rpc or "-",
            event.entity,
            event.entity_id,
            event.change,
            _values(event),
        )
    console.print(table)


def _values(event: AuditEvent) -> str:
    """What changed, such as `status: open → paused`."""
    before, after = (json.loads(text) if text else {} for text in (event.before_json, event.after_json))
    names = {**before, **after}
    return ", ".join(f"{name}: {_change(before, after, name)}" for name in names) or "-"


def _change(before: dict[str, Any], after: dict[str, Any], name: str) -> str:
    values = [_text(values.get(name)) for values in (before, after) if values]
    return " → ".join(values)


def _text(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
