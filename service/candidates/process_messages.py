"""What the service and a process that answers by other rules send each other: messages with their length before them.

The service sends a `ProcessStart`, then (method, request) for each call. The process replies to each with its kind and
its content.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import IO

from service.settings import Settings

_LENGTH = struct.Struct(">I")


class ReplyKind(IntEnum):
    """The kind of a reply, its first byte."""

    ANSWER = 0
    """The bytes of a response."""
    STATUS = 1
    """The bytes of a google.rpc.Status for the caller."""
    DEFECT = 2
    """A traceback for the log."""


@dataclass(frozen=True, slots=True)
class ProcessStart:
    """The rules of a process, by path, its settings with the URL of the database, and its CPU time for each call."""

    revision: str
    files: Mapping[str, bytes]
    settings: Settings
    call_seconds: int


def send(stream: IO[bytes], content: bytes) -> None:
    """Writes one message. Raises OSError if the other side has ended."""
    stream.write(_LENGTH.pack(len(content)))
    stream.write(content)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """Reads one message. Raises EOFError if the other side has ended."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    return _exactly(stream, length)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content
