"""Each known trap of durable-rules has a test that shows that our code avoids it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import durable_rules_engine as durable
import pytest

from policies.engine.rule_engine import (
    MAX_MATCHES_AT_ONCE,
    MAX_PROPERTIES,
    MAX_TESTS_AT_A_NODE,
    Engine,
    EngineConjunction,
    EngineFailed,
    EngineOperator,
    Test,
)


def equal(property_number: int, constant: int) -> Test:
    return Test(property_number, EngineOperator.EQUAL, constant)


def at_least(property_number: int, constant: int) -> Test:
    return Test(property_number, EngineOperator.AT_LEAST, constant)


def at_most(property_number: int, constant: int) -> Test:
    return Test(property_number, EngineOperator.AT_MOST, constant)


def engine(*rules: EngineConjunction) -> Engine:
    return Engine([[rule] for rule in rules])


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def test_every_rule_that_is_true_fires() -> None:
    rules = engine((equal(0, 1),), (at_least(0, 1), at_most(0, 4), equal(1, 2)), (at_most(1, 1),))

    assert rules.fired([1, 2]) == {0, 1}
    assert rules.fired([4, 2]) == {1}
    assert rules.fired([5, 0]) == {2}


def test_no_rule_fires_if_none_is_true() -> None:
    assert engine((equal(0, 1),)).fired([0]) == frozenset()


def test_without_rules_nothing_fires() -> None:
    assert Engine([]).fired([]) == frozenset()


def test_a_rule_fires_once_however_many_of_its_alternatives_are_true() -> None:
    rules = Engine([[(equal(0, 1),), (equal(1, 1),), (at_least(0, 1),)]])

    assert sorted(rules.fired([1, 1])) == [0]


def test_two_thousand_rules_with_the_same_condition_all_fire() -> None:
    # durable-rules itself accepts at most 256 rules with the same condition.
    assert len(engine(*[(equal(0, 1),)] * 2_000).fired([1])) == 2_000


def test_more_constants_than_one_ruleset_can_hold_are_spread_over_several() -> None:
    rules = engine(*[(equal(0, constant),) for constant in range(2_000)])

    assert rules.ruleset_count > 2_000 // 512
    assert [rules.fired([constant]) for constant in (0, 1_999, 2_000)] == [{0}, {1_999}, frozenset()]


def test_more_rules_than_the_engines_stack_holds_can_be_true_at_once() -> None:
    rules = engine(*[(at_least(0, constant),) for constant in range(500)])

    assert rules.fired([499]) == frozenset(range(500))
    assert rules.fired([9]) == frozenset(range(10))


def test_branches_below_shared_tests_count_towards_the_matches_at_once() -> None:
    rules = engine(*[(equal(0, 1), at_least(1, left), at_least(2, right)) for left in range(15) for right in range(15)])

    assert len(rules.fired([1, 14, 14])) == 225


def test_more_properties_than_one_object_can_hold_are_spread_over_rulesets() -> None:
    rules = engine(*[(equal(number, 1),) for number in range(1_000)])

    assert rules.fired([1] * 1_000) == frozenset(range(1_000))


def test_a_rule_with_the_most_tests_allowed_works() -> None:
    rules = engine(tuple(equal(number, 1) for number in range(MAX_PROPERTIES)))

    assert rules.fired([1] * MAX_PROPERTIES) == {0}
    assert rules.fired([1] * (MAX_PROPERTIES - 1) + [0]) == frozenset()


def test_a_rule_with_too_many_tests_is_refused_before_the_engine_is_called() -> None:
    with pytest.raises(ValueError, match="241 tests"):
        engine(tuple(equal(number, 1) for number in range(MAX_PROPERTIES + 1)))


def test_more_evaluations_than_the_engine_has_sessions_give_correct_answers() -> None:
    rules = engine((equal(0, 1),), (at_least(0, 2),))
    answers = {frozenset(rules.fired([count % 4])) for count in range(1_100)}

    assert answers == {frozenset(), frozenset({0}), frozenset({1})}


def test_a_failing_evaluation_leaves_no_state_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("policies.engine.rule_engine.MAX_MATCHES_AT_ONCE", 100)
    rules = engine(*[(at_least(0, constant),) for constant in range(70)])

    for _ in range(1_100):
        with pytest.raises(EngineFailed, match="error code: 303"):
            rules.fired([69])
        assert rules.fired([2]) == {0, 1, 2}


def test_an_engine_that_never_fired_can_be_evaluated_and_dropped() -> None:
    # durable-rules frees memory that it sets only when a rule fires. Without priming, this crashed the process.
    for _ in range(200):
        rules = engine((equal(0, 1), equal(1, 2), at_least(2, 1), at_least(3, 2)))
        assert rules.fired([1, 2, 0, 0]) == frozenset()


def test_no_threads_are_started() -> None:
    before = threading.active_count()
    engine((equal(0, 1),)).fired([1])

    assert threading.active_count() == before


def test_three_hundred_reloads_do_not_increase_memory() -> None:
    def reload() -> None:
        rules = engine(*[(equal(0, constant), at_least(1, constant)) for constant in range(50)])
        rules.fired([7, 49])

    for _ in range(30):
        reload()
    gc.collect()
    before = resident_kib()
    for _ in range(300):
        reload()
    gc.collect()

    assert resident_kib() - before < 2_048


def test_rulesets_are_deleted_when_the_engine_is_dropped() -> None:
    rules = engine((equal(0, 1),))
    handle = rules._rulesets[0]._handle
    del rules

    with pytest.raises(durable.error):
        durable.assert_fact(handle, '{"sid": "s", "f0": 1}')


PROBE = """
import durable_rules_engine as durable, json
rules = {RULES}
handle = durable.create_ruleset("probe", json.dumps({f"r{i}": {"all": [{"m": rule}]} for i, rule in enumerate(rules)}))
print(durable.assert_fact(handle, json.dumps({"sid": "s", **{FACT}}))[0])
"""


def probe(rules: str, fact: str) -> str:
    """The output of durable-rules alone, in its own process because it may never return."""
    code = PROBE.replace("{RULES}", rules).replace("{FACT}", fact)
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    return process.stdout.strip() or process.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("rules", "fact"),
    [
        (f"[{{'f0': i}} for i in range({MAX_TESTS_AT_A_NODE} + 1)]", "{'f0': 7}"),
        (f"[{{'$gte': {{'f0': i}}}} for i in range({MAX_MATCHES_AT_ONCE} + 1)]", "{'f0': 99}"),
        (
            f"[{{'$and': [{{f'f{{i}}': 1}} for i in range({MAX_PROPERTIES})]}}]",
            f"{{f'f{{i}}': 1 for i in range({MAX_PROPERTIES})}}",
        ),
    ],
)
def test_durable_rules_works_at_our_bounds(rules: str, fact: str) -> None:
    assert probe(rules, fact) == "0"


@pytest.mark.parametrize(
    ("rules", "fact", "error"),
    [
        ("[{'$gte': {'f0': i}} for i in range(65)]", "{'f0': 99}", "303"),
        ("[{'f0': 1}] * 300", "{'f0': 1}", "108"),
        ("[{'f0': 1}]", "{f'f{i}': 1 for i in range(253)}", "302"),
    ],
)
def test_durable_rules_fails_beyond_its_own_bounds(rules: str, fact: str, error: str) -> None:
    assert error in probe(rules, fact)


def test_durable_rules_never_returns_from_a_full_table() -> None:
    code = PROBE.replace("{RULES}", "[{'f0': i} for i in range(512)]").replace("{FACT}", "{'f0': 7}")

    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=2, check=False)


def test_an_engine_that_was_built_without_the_flag_for_python_3_13_says_how_to_build_it(tmp_path: Path) -> None:
    (tmp_path / "durable_rules_engine.py").write_text(
        "raise ImportError('durable_rules_engine.so: undefined symbol: PyEval_CallObject')"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from service.__main__ import main; main()"

    command = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert command.returncode == 1
    assert "CPPFLAGS=-DPyEval_CallObject=PyObject_CallObject" in command.stderr
    assert "Traceback" not in command.stderr
