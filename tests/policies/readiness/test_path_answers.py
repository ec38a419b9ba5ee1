"""What is said of the paths that an order may go otherwise than planned."""

from datetime import timedelta

from policies.readiness.answers import Result
from policies.readiness.path_answers import CANCELLATION, PATHS, REFUND, Exercise, PathRun, path_answers
from tests.policies.small_retailer import NOW

RUNS = {path: PathRun(outcome="it went well") for path in PATHS}


def test_a_path_says_how_it_ended_and_when_an_order_last_went_it() -> None:
    exercise = Exercise(NOW - timedelta(minutes=3), RUNS)

    first, *others = path_answers(exercise, {CANCELLATION: NOW - timedelta(days=4)}, NOW)

    assert first.finding == "exercised 3 minutes ago: it went well; for real 4 days ago"
    assert {answer.result for answer in (first, *others)} == {Result.PASS}


def test_a_path_that_ended_wrongly_fails_and_the_others_do_not() -> None:
    exercise = Exercise(NOW, {**RUNS, REFUND: PathRun(error="a refund changed the stock by 1")})

    failed = [x.question.name for x in path_answers(exercise, {}, NOW) if x.result is Result.FAIL]

    assert failed == ["path_refund"]


def test_paths_that_could_not_be_exercised_warn_and_say_what_to_do() -> None:
    answers = path_answers(Exercise(NOW, not_run="another service is at it", advice="check again."), {}, NOW)

    assert {(answer.result, answer.advice) for answer in answers} == {(Result.WARN, "check again.")}
