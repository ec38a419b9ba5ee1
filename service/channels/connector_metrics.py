"""Metrics of the connectors. Labels are accounts, kinds and fixed words: nothing that a shopper could choose."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from service.channels.accounts import Account
from service.metrics.kinds import MetricMaker

DELIVERY_RESULTS = ("new", "duplicate", "another_shop", "unreadable", "bad_signature", "refused")
CALL_RESULTS = ("worked", "away", "failed")


class ConnectorMetrics:
    """All metrics of one connector process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = MetricMaker(self.registry)
        self.deliveries = make.counter("channel_deliveries", "Webhooks, by what became of them.", "account", "result")
        self.reads = make.counter("channel_reads", "Orders, cancellations and returns read.", "account", "result")
        self.reads_saved = make.counter(
            "channel_reads_saved", "Hints that another hint's read has answered too.", "account"
        )
        self.left_out = make.counter("channel_left_out", "Orders that are none of Truestock's.", "account", "reason")
        self.oldest_hint = make.gauge(
            "channel_oldest_hint_seconds", "Age of the oldest hint that is not read yet.", "account"
        )
        self.waiting = make.gauge("channel_waiting", "Entities that are to be read.", "account")
        self.unmapped = make.gauge("channel_unmapped", "Entities that wait for a mapping.", "account")
        self.parked = make.gauge("channel_parked", "Entities that wait for a person.", "account")
        self.poll_behind = make.gauge(
            "channel_poll_behind_seconds", "Seconds since a poll was due that has not been done.", "account", "kind"
        )
        self.token_seconds = make.gauge(
            "channel_token_seconds", "Seconds until the access token ends; it is refreshed before.", "account"
        )
        self.unmet_checks = make.gauge(
            "channel_unmet_checks",
            "Scopes and webhooks that a person has to see to.",
            "account",
        )
        self.paused = make.gauge("channel_paused", "1 while an account is paused.", "account")
        self.silence = make.gauge("channel_silence_seconds", "Seconds since the channel sent a webhook.", "account")

    def start(self, accounts: Iterable[Account]) -> None:
        """Starts the counters of the accounts at 0, so that Prometheus sees their first increase."""
        for account in accounts:
            for result in DELIVERY_RESULTS:
                self.deliveries.labels(account.name, result)
            for result in CALL_RESULTS:
                self.reads.labels(account.name, result)
            self.reads_saved.labels(account.name)
