"""PolicyService: which rules are in force, and what is wrong with a folder that was refused."""

from __future__ import annotations

from typing import Any

from policies.problems import Problem
from service import answers
from service.policy_folder import PolicyFolder
from truestock.v1 import policy_service_pb2 as policy_pb, policy_service_pb2_grpc as policy_grpc


class PolicyServicer(policy_grpc.PolicyServiceServicer):
    """For the people who write rules."""

    def __init__(self, folder: PolicyFolder) -> None:
        self._folder = folder

    async def GetPolicySet(
        self, request: policy_pb.GetPolicySetRequest, context: Any
    ) -> policy_pb.GetPolicySetResponse:
        loaded = self._folder.current
        return policy_pb.GetPolicySetResponse(
            policy_revision=loaded.policy_set.revision,
            files=[policy_pb.PolicyFile(path=path) for path in loaded.policy_set.files],
            load_time=answers.timestamp(loaded.load_time),
            problems=[_message(problem) for problem in loaded.problems],
            refuse_time=answers.timestamp(loaded.refuse_time),
        )


def _message(problem: Problem) -> policy_pb.PolicyProblem:
    return policy_pb.PolicyProblem(
        file=problem.file,
        line=problem.line,
        column=problem.column,
        code=problem.code,
        message=problem.message,
        help=problem.help,
    )
