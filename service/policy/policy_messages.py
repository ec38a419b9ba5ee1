"""Problems of rules as messages of the API."""

from __future__ import annotations

from policies.source.problems import Problem, terminal_safe
from truestock.v1 import policy_service_pb2 as policy_pb


def policy_problem(problem: Problem) -> policy_pb.PolicyProblem:
    """A problem of a rule file; it may quote characters of the file that are not valid text."""
    return policy_pb.PolicyProblem(
        file=terminal_safe(problem.file),
        line=problem.line,
        column=problem.column,
        code=problem.code,
        message=terminal_safe(problem.message),
        help=terminal_safe(problem.help),
        end_line=problem.end_line,
        end_column=problem.end_column,
    )
