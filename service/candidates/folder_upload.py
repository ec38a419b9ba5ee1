"""A rules folder that a caller sends in parts: put together in bounded memory, and used only once it is complete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

from policies.reading.rules_reader import MAX_FILES, MAX_FOLDER_BYTES, has_suite_name
from service import limits
from service.errors import InvalidFields, Overloaded, Violation
from service.policy.policy_requests import check_path
from service.rpc.validation import Fields
from truestock.v1 import policy_service_pb2 as policy_pb


class FolderUploads:
    """Receives a few folders at a time: each may take up 16 MiB of memory until it is tested."""

    def __init__(self) -> None:
        self._count = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Counts a folder until it is tested and kept. Raises Overloaded if there are too many."""
        if self._count >= limits.FOLDERS_AT_ONCE:
            raise Overloaded(self._count, timedelta(seconds=limits.SANDBOX_SECONDS), "rules folders")
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


async def received_files(messages: AsyncIterator[policy_pb.StreamTestPoliciesRequest]) -> dict[str, bytes]:
    """The files of the folder, by path, once the caller has ended the stream. Raises InvalidFields."""
    folder = _PartialFolder()
    try:
        async with asyncio.timeout(limits.FOLDER_SECONDS):
            async for message in messages:
                folder.add(message)
    except TimeoutError as error:
        advice = (
            f"did not end within {limits.FOLDER_SECONDS} seconds; send the whole folder at once, then end the stream"
        )
        raise InvalidFields([Violation("parts", advice)]) from error
    return folder.files()


class _PartialFolder:
    """The parts of a folder received so far."""

    def __init__(self) -> None:
        self._contents: dict[str, bytearray] = {}
        self._path = ""
        self._byte_count = self._part_count = 0

    def add(self, message: policy_pb.StreamTestPoliciesRequest) -> None:
        """Adds the parts of a message. Raises InvalidFields with all that is wrong with them."""
        fields = Fields()
        if fields.size("parts", message.parts, 1, limits.POLICY_FILES):
            for part in message.parts:
                self._add(fields, f"parts[{self._part_count}]", part)
                self._part_count += 1
        fields.finish()

    def files(self) -> dict[str, bytes]:
        """The files by path. Raises InvalidFields if there is none."""
        if not self._contents:
            raise InvalidFields([Violation("parts", "must not be empty; send at least one file")])
        return {path: bytes(content) for path, content in self._contents.items()}

    def _add(self, fields: Fields, field: str, part: policy_pb.CandidateFilePart) -> None:
        self._byte_count += len(part.content)
        if self._byte_count > MAX_FOLDER_BYTES:
            fields.wrong("parts", f"have more than {MAX_FOLDER_BYTES:,} bytes together; at most so many are read")
            # Nothing more is kept of a folder that is too large, whatever else is wrong with it.
            fields.finish()
        if part.continued:
            if not self._path or part.path != self._path:
                before = f"that is '{self._path}'" if self._path else "there is none"
                fields.wrong(f"{field}.continued", f"'{part.path}' must continue the file of the part before; {before}")
                return
        else:
            check_path(fields, f"{field}.path", part.path)
            if part.path in self._contents:
                fields.wrong(f"{field}.path", f"'{part.path}' is sent twice; mark a further part of it as continued")
        self._path = part.path
        self._contents.setdefault(part.path, bytearray()).extend(part.content)
        suite_count = sum(map(has_suite_name, self._contents)) if len(self._contents) > MAX_FILES else 0
        if max(suite_count, len(self._contents) - suite_count) > MAX_FILES:
            fields.wrong("parts", f"have more than {MAX_FILES:,} rule files or test suites; at most so many are read")
            fields.finish()
