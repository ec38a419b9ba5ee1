"""The rules with which a service starts."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from service.app.listening import StartError
from service.errors import NotReady, Overloaded
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies, RulesFolderError
from service.policy.rule_sandbox import RuleSandbox
from service.policy.rule_tests import tested
from service.policy.rules_folder import problems_text
from service.settings import Settings

log = structlog.get_logger(__name__)


async def first_rules(settings: Settings, metrics: Metrics, kept: Mapping[str, bytes] | None = None) -> ActivePolicies:
    """The rules of the folder, or, where it is refused, those of the files that were kept.

    The watcher of the folder then reports what is wrong with it. Raises RulesFolderError and StartError.
    """
    try:
        active_policies = ActivePolicies(settings.rules, metrics)
        if settings.require_tests:
            await _require_tests(active_policies)
    except (RulesFolderError, StartError):
        if kept is None:
            raise
        log.warning("the rules folder is refused, so the last valid rules come into force again")
        return ActivePolicies.kept(settings.rules, kept, metrics)
    return active_policies


async def _require_tests(active_policies: ActivePolicies) -> None:
    """Raises StartError if the rules folder has failing tests or rules without a test."""
    files = active_policies.current.files
    try:
        problems = (await tested(RuleSandbox(), files)).problems
    except (NotReady, Overloaded) as error:
        raise StartError(f"the tests of the rules could not be run: {error}") from error
    if problems:
        raise StartError(
            f"{problems_text(problems, dict(files))}\n"
            f"--require-tests refuses {active_policies.folder}; correct what fails, test what is untested, or start "
            "without it"
        )
