"""The running service: whether it is watched, whether its ledger adds up, and whether its rules are the saved ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.readiness import questions
from policies.readiness.answers import Answer, counted, fails, passes, warns
from policies.readiness.stock_answers import ago_text

SCRAPED_WITHIN = timedelta(minutes=5)
VERIFIED_WITHIN = timedelta(days=1)
ALERTS = (
    "TruestockOversellBurnsFast",
    "TruestockOversellBurnsSlowly",
    "TruestockShipmentsLateFast",
    "TruestockShipmentsLateSlowly",
    "TruestockFeedSilent",
    "TruestockReloadRefused",
    "TruestockLedgerUnbalanced",
    "TruestockAuditBroken",
    "TruestockAuditUnsealed",
    "TruestockExceptionsOverdue",
    "TruestockCancellationHeadroomLow",
    "TruestockShedding",
    "TruestockEventLoopBlocked",
    "TruestockDatabaseAway",
    "TruestockReplicaUnused",
    "TruestockWorkersRestart",
)
"""The alerts of `deploy/prometheus/alerts.yml` that every service needs; those of connectors are for who runs one."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """The last time that somebody read the metrics."""

    time: datetime
    by: str


@dataclass(frozen=True, slots=True)
class PrometheusState:
    """What a Prometheus says of its alerting rules; `error` is why it could not be asked."""

    error: str = ""
    alert_names: tuple[str, ...] = ()
    failing_alert_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerResult:
    """The last check of the ledger: differences found."""

    time: datetime
    difference_count: int


@dataclass(frozen=True, slots=True)
class ReloadState:
    """The rules in force: since when, of which revision, and the problems for which a newer folder was refused."""

    revision: str
    load_time: datetime
    refuse_time: datetime | None = None
    problems: tuple[str, ...] = ()


def metrics_scraped(scrape: Scrape | None, now: datetime) -> Answer:
    """Whether the metrics of this service were read lately."""
    question = questions.METRICS_SCRAPED
    advice = "have Prometheus scrape /metrics of this service; deploy/prometheus/ has its rules."
    if scrape is None:
        return fails(question, "nobody has read the metrics of this service since it started", advice)
    finding = f"last read {ago_text(now - scrape.time)} by {scrape.by}"
    return passes(question, finding) if now - scrape.time <= SCRAPED_WITHIN else fails(question, finding, advice)


def alerts_loaded(prometheus: PrometheusState | None) -> Answer:
    """Whether a Prometheus has loaded each of ALERTS and can evaluate it."""
    question = questions.ALERTS_LOADED
    if prometheus is None:
        return warns(question, "no Prometheus was asked", "name it with `truestock readiness --prometheus URL`.")
    if prometheus.error:
        return fails(question, prometheus.error, "correct the URL, or start that Prometheus.")
    missing = sorted(set(ALERTS).difference(prometheus.alert_names))
    if missing:
        finding = f"{len(missing):,} of {counted(len(ALERTS), 'alert')} not loaded"
        return fails(question, finding, "add deploy/prometheus/alerts.yml to its `rule_files`.", missing)
    failing = sorted(set(ALERTS).intersection(prometheus.failing_alert_names))
    if failing:
        advice = "see its page of rules for the error of each."
        return fails(question, f"{counted(len(failing), 'alert')} cannot be evaluated", advice, failing)
    return passes(question, f"{counted(len(ALERTS), 'alert')} loaded")


def ledger_verified(ledger: LedgerResult | None, now: datetime) -> Answer:
    """Whether the ledger was verified lately, and added up."""
    question = questions.LEDGER_VERIFIED
    advice = "run `truestock verify-ledger`, which lists the differences."
    if ledger is None:
        return fails(question, "the ledger could not be verified beside the running service", advice)
    if ledger.difference_count:
        return fails(
            question, f"{counted(ledger.difference_count, 'difference')} between figures and movements", advice
        )
    finding = f"verified {ago_text(now - ledger.time)} without differences"
    return passes(question, finding) if now - ledger.time <= VERIFIED_WITHIN else warns(question, finding, advice)


def rules_reload(state: ReloadState) -> Answer:
    """Whether the folder as it was saved last is in force."""
    question = questions.RULES_RELOAD
    if state.problems:
        finding = (
            f"the folder was refused with {counted(len(state.problems), 'problem')}; {state.revision} stays in force"
        )
        return fails(question, finding, "run `truestock check` and correct what it lists.", state.problems)
    return passes(question, f"revision {state.revision}, in force since {state.load_time:%Y-%m-%d %H:%M} UTC")


def scraped_by(agent: str, address: str) -> str:
    """Who read the metrics, such as `Prometheus/3.5.0 from 10.0.0.7`."""
    return f"{agent or 'a program without a name'} from {address}"
