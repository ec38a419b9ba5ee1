"""Whether two messages are the same to the byte, and the first field in which they differ."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message


def serialized(message: Message) -> bytes:
    """The serialized message, the same bytes for equal messages."""
    return message.SerializeToString(deterministic=True)


def differing_field(first: Message, second: Message) -> str:
    """The path of the first field that differs between two messages of one type, such as `lines[2].unit_count`."""
    for descriptor in first.DESCRIPTOR.fields:
        left, right = getattr(first, descriptor.name), getattr(second, descriptor.name)
        if left == right and (
            not descriptor.has_presence or first.HasField(descriptor.name) == second.HasField(descriptor.name)
        ):
            continue
        return _path(descriptor.name, left, right)
    return "request"


def _path(name: str, left: object, right: object) -> str:
    if isinstance(left, Message) and isinstance(right, Message):
        return f"{name}.{differing_field(left, right)}" if left.DESCRIPTOR.fields else name
    if isinstance(left, str | bytes) or not isinstance(left, Sequence) or not isinstance(right, Sequence):
        return name
    for index, (left_entry, right_entry) in enumerate(zip(left, right, strict=False)):
        if left_entry != right_entry:
            return _path(f"{name}[{index}]", left_entry, right_entry)
    return f"{name}[{min(len(left), len(right))}]"
