"""Requests to PolicyService, checked and turned into plain values."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

from service import limits
from service.rpc.validation import Fields
from truestock.v1 import policy_service_pb2 as policy_pb


def candidate_files(request: policy_pb.TestPoliciesRequest) -> dict[str, bytes]:
    """The files of a rules folder by path. Raises InvalidFields."""
    fields = Fields()
    files: dict[str, bytes] = {}
    if fields.size("files", request.files, 1, limits.POLICY_FILES):
        for index, file in enumerate(request.files):
            field = f"files[{index}].path"
            _check_path(fields, field, file.path)
            if file.path in files:
                fields.wrong(field, f"'{file.path}' is sent twice")
            files[file.path] = file.content
    fields.finish()
    return files


def decision_id(text: str) -> UUID:
    """The id of a decision. Raises InvalidFields."""
    fields = Fields()
    id = fields.uuid("decision_id", text, required=True)
    fields.finish()
    assert id is not None
    return id


def _check_path(fields: Fields, field: str, path: str) -> None:
    """Checks that a file with this path would be read from a rules folder; hidden files are not."""
    if fields.text(field, path, required=True) is None:
        return
    pure = PurePosixPath(path)
    if pure.is_absolute() or str(pure) != path or any(part.startswith(".") for part in pure.parts):
        fields.wrong(field, f"'{path}' is not a path inside the rules folder, such as 'rules/buffers/a.yaml'")
