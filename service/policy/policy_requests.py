"""Requests to PolicyService, checked and turned into plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

from policies.facts.fact_table import find_fact
from policies.source.rule_file import MAX_TEXT_LENGTH
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import policy_service_pb2 as policy_pb


def candidate_files(request: policy_pb.TestPoliciesRequest) -> dict[str, bytes]:
    """The files of a rules folder by path. Raises InvalidFields."""
    fields = Fields()
    files = read_files(fields, request.files)
    fields.finish()
    return files


def read_files(fields: Fields, candidates: Sequence[policy_pb.CandidateFile]) -> dict[str, bytes]:
    """The files of a rules folder by path; violations are added to `fields`."""
    files: dict[str, bytes] = {}
    if fields.size("files", candidates, 1, limits.POLICY_FILES):
        for index, file in enumerate(candidates):
            field = f"files[{index}].path"
            check_path(fields, field, file.path)
            if file.path in files:
                fields.wrong(field, f"'{file.path}' is sent twice")
            files[file.path] = file.content
    return files


@dataclass(frozen=True, slots=True)
class PolicySetRequest:
    """A checked GetPolicySet request; `revision` and `paths` may be empty."""

    revision: str
    has_contents: bool
    paths: tuple[str, ...]


def policy_set_request(request: policy_pb.GetPolicySetRequest) -> PolicySetRequest:
    """Checks a GetPolicySet request. Raises InvalidFields."""
    fields = Fields()
    fields.text("policy_revision", request.policy_revision, longest=limits.ID_LENGTH)
    if fields.size("paths", request.paths, 0, limits.POLICY_FILES):
        for index, path in enumerate(request.paths):
            check_path(fields, f"paths[{index}]", path)
    fields.finish()
    return PolicySetRequest(request.policy_revision, request.include_contents, tuple(request.paths))


def named_values(request: policy_pb.FindFactValuesRequest) -> dict[str, set[str]]:
    """The values to look up, by fact. Raises InvalidFields."""
    fields = Fields()
    named: dict[str, set[str]] = {}
    if fields.size("facts", request.facts, 1, limits.NAMED_FACTS):
        for index, fact in enumerate(request.facts):
            field = f"facts[{index}]"
            if find_fact(fact.fact) is None:
                fields.wrong(f"{field}.fact", f"'{fact.fact}' is not a fact; `truestock facts` lists them")
            for number, value in enumerate(fact.values):
                fields.text(f"{field}.values[{number}]", value, longest=MAX_TEXT_LENGTH, required=True)
            named.setdefault(fact.fact, set()).update(fact.values)
        count = sum(len(values) for values in named.values())
        if count > limits.FACT_VALUES:
            fields.wrong("facts", f"have {count:,} values; at most {limits.FACT_VALUES:,} are allowed")
    fields.finish()
    return named


def decision_id(text: str) -> UUID:
    """The id of a decision. Raises InvalidFields."""
    fields = Fields()
    id = fields.uuid("decision_id", text, required=True)
    fields.finish()
    assert id is not None
    return id


def check_path(fields: Fields, field: str, path: str) -> None:
    """Checks that a file with this path would be read from a rules folder; hidden files are not."""
    if fields.text(field, path, required=True) is None:
        return
    pure = PurePosixPath(path)
    if pure.is_absolute() or str(pure) != path or any(part.startswith(".") for part in pure.parts):
        fields.wrong(field, f"'{path}' is not a path inside the rules folder, such as 'rules/buffers/a.yaml'")
