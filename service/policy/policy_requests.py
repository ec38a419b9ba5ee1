"""What PolicyService is asked, checked."""

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
    made = fields.uuid("decision_id", text, required=True)
    fields.finish()
    assert made is not None
    return made


def _check_path(fields: Fields, field: str, path: str) -> None:
    """A path that a file in a rules folder could have, and that is read there: hidden ones are not."""
    if fields.text(field, path, required=True) is None:
        return
    pure = PurePosixPath(path)
    if pure.is_absolute() or str(pure) != path or any(part.startswith(".") for part in pure.parts):
        fields.wrong(field, f"'{path}' is not a plain path from the rules folder on, such as 'rules/buffers/a.yaml'")
