"""Metrics of the rules in force and of the decisions that are stored."""

from __future__ import annotations

from service.metrics.kinds import MetricMaker
from service.metrics.labels import RELOAD_RESULTS, TEST_RUN_RESULTS


class PolicyMetrics:
    """Loads of the rules folder, its tests, and stored decisions."""

    def __init__(self, make: MetricMaker) -> None:
        self.policy_reloads = make.counter("policy_reloads", "Loads of the rules folder, by result.", "result")
        self.policy_info = make.gauge(
            "policy_info", "Always 1; the label names the revision of the rules in force.", "revision"
        )
        self.policy_problems = make.gauge(
            "policy_problems", "Problems in the rules folder if it was refused; 0 if it was accepted."
        )
        self.policy_failed_tests = make.gauge(
            "policy_failed_tests", "Failing tests beside the rules in force, as of their last run."
        )
        self.policy_untested_rules = make.gauge("policy_untested_rules", "Rules in force that no test makes fire.")
        self.policy_test_runs = make.counter(
            "policy_test_runs", "Runs of the tests beside the rules in force, by result.", "result"
        )
        self.policy_warnings = make.gauge(
            "policy_warnings", "Values that the rules in force name and the catalog does not have."
        )
        self.decisions_stored_bytes = make.counter(
            "decisions_stored_bytes", "Bytes of decisions stored, with their inputs."
        )
        self.decisions_purged = make.counter(
            "decisions_purged", "Decisions purged after retention, in full or their inputs only."
        )
        for result in TEST_RUN_RESULTS:
            self.policy_test_runs.labels(result)
        for result in RELOAD_RESULTS:
            self.policy_reloads.labels(result)

    def policy_in_force(self, revision: str) -> None:
        """Sets the revision of the rules in force."""
        self.policy_info.clear()
        self.policy_info.labels(revision).set(1)
