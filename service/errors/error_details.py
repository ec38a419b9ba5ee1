"""What an error carries besides its message, cut so that it fits into the trailers that every client takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2

TRAILER_BYTES = 7_000
"""What the trailers of an error take at most: clients refuse more than 8 KiB, and then show no error of ours at all."""
MESSAGE_BYTES = 2_000
"""What its message takes of them, percent-encoded."""
ENVELOPE_BYTES = 400
"""What types and lengths of the details take in a status."""
METADATA_BYTES = 1_200
"""What the values of an error's metadata take together; names beyond it stay away."""
VIOLATION_BYTES = 600
"""What the field, and what the description, of an invalid field takes."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid field: its path in the request, such as `lines[2].unit_count`, and what is wrong with it."""

    field: str
    description: str


def shortened(message: str) -> str:
    """The message, cut where it would take more than its share of the trailers: names in it may be long."""
    # Of a character, at most twelve bytes are sent: four, each as %XX.
    if 12 * len(message) <= MESSAGE_BYTES or len(quote(message)) <= MESSAGE_BYTES:
        return message
    kept = message[: MESSAGE_BYTES // 12]
    while len(quote(message[: len(kept) + 20])) < MESSAGE_BYTES:
        kept = message[: len(kept) + 20]
    return f"{kept}…"


def _cut(text: str, byte_count: int) -> str:
    """The text, or where it takes more than `byte_count` bytes, as many of its first characters as fit with an …"""
    encoded = text.encode()
    if len(encoded) <= byte_count:
        return text
    return encoded[: byte_count - len("…".encode())].decode(errors="ignore") + "…"


def shared_out(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata with its long values cut, so that all fit into the trailers."""
    short = METADATA_BYTES // max(1, len(metadata))
    rest = METADATA_BYTES - sum(min(len(value.encode()), short) for value in metadata.values())
    shared = {}
    for key, value in metadata.items():
        shared[key] = _cut(value, short + rest)
        rest -= max(0, len(shared[key].encode()) - short)
    return shared


def fitting(names: Sequence[str]) -> list[str]:
    """The first names, as many as fit into the metadata of an error; at least one."""
    room = METADATA_BYTES - 200
    fitting: list[str] = []
    for name in names[:50]:
        room -= len(name.encode()) + 1
        if fitting and room < 0:
            break
        fitting.append(name)
    return fitting


def room(message: str, details: Sequence[Message]) -> int:
    """Bytes that the trailers of an error have for its violations.

    They carry the message twice: percent-encoded, and in the status, of which three bytes take four.
    """
    status = len(message.encode()) + sum(detail.ByteSize() for detail in details)
    return (TRAILER_BYTES - len(quote(message))) * 3 // 4 - status - ENVELOPE_BYTES


def bad_request(violations: Sequence[Violation], room: int) -> error_details_pb2.BadRequest:
    """The first violations, as many as fit into `room` bytes; at least one."""
    request = error_details_pb2.BadRequest()
    for violation in violations:
        request.field_violations.add(
            field=_cut(violation.field, VIOLATION_BYTES), description=_cut(violation.description, VIOLATION_BYTES)
        )
        if request.ByteSize() > room and len(request.field_violations) > 1:
            del request.field_violations[-1]
            break
    return request


def packed(detail: Message) -> any_pb2.Any:
    """A detail in the form in which a status carries it."""
    any_detail = any_pb2.Any()
    any_detail.Pack(detail)
    return any_detail
