"""What is looked after beside the work itself: pauses, tokens before they end, exceptions, figures, old rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

from service.background import FailureLog
from service.channels.connector_metrics import ConnectorMetrics
from service.channels.errors import AuthorizationLost, Away, Unmapped, Unreadable
from service.channels.running_account import RunningAccount
from service.channels.store.connector_store import ConnectorStore
from service.channels.store.inbox import Failed
from service.channels.truestock_api import failure_kind

REPORT_SECONDS = 60.0
"""How often readiness is told how an account is where nothing changes."""
KEPT = timedelta(days=30)
"""How long deliveries are known by their keys: longer than any platform sends them again."""


class Upkeep:
    """Looks after all accounts of a process. Every method raises Away where the database is."""

    def __init__(
        self,
        running: Mapping[str, RunningAccount],
        store: ConnectorStore,
        metrics: ConnectorMetrics,
    ) -> None:
        self._running = running
        self._store = store
        self._metrics = metrics
        self._failures, self._report_failures = FailureLog(), FailureLog()
        self._reported: dict[str, tuple[Any, float]] = {}
        """By account, what was reported last, and when by the clock of this process."""
        self.is_ready = False
        """Whether the database answered last time."""

    async def look(self) -> None:
        """Reads which accounts are paused, and tells people about pauses and failures."""
        try:
            states = {row["account"]: row for row in await self._store.states.listed()}
        except Away:
            self.is_ready = False
            raise
        self.is_ready = True
        for name, running in self._running.items():
            state = states.get(name)
            is_paused = state is None or not state["has_tokens"] or state["pause_reason"] != ""
            if not is_paused and running.start_time is None:
                running.start_time = await self._store.states.start(name)
            running.is_paused = is_paused
            self._measure(name, state)
            await self._tell(running, state)

    async def refresh_tokens(self) -> None:
        """Refreshes tokens that have lived through most of their life."""
        for name, running in self._running.items():
            if running.is_paused:
                continue
            try:
                await running.tokens.refresh_if_due()
            except AuthorizationLost as error:
                await self._store.states.pause(name, str(error))
                running.is_paused = True
            except Away as error:
                # Its platform is away, or its key is; the other accounts' tokens end no later for that.
                self._failures.failed("tokens cannot be refreshed", error, traceback=False, account=name)

    async def count(self) -> None:
        """Sets the gauges of what waits."""
        counts = await self._store.inbox.counts()
        for name in self._running:
            own = [row for row in counts if row["account"] == name]
            gauges = (
                (self._metrics.waiting, "waiting"),
                (self._metrics.unmapped, "unmapped"),
                (self._metrics.parked, "parked"),
            )
            for gauge, state in gauges:
                gauge.labels(name).set(sum(row["count"] for row in own if row["state"] == state))
            ages = [float(row["oldest_seconds"]) for row in own if row["oldest_seconds"] and row["state"] == "waiting"]
            self._metrics.oldest_hint.labels(name).set(max(ages, default=0.0))
        for row in await self._store.cursors.listed():
            if row["account"] in self._running:
                gauge = self._metrics.poll_behind.labels(row["account"], row["kind"])
                gauge.set(max(0.0, float(row["behind_seconds"])))

    async def report(self) -> None:
        """Tells Truestock how each account is, every minute and when its pause or its tokens change."""
        states = {row["account"]: row for row in await self._store.states.listed()}
        for name, running in self._running.items():
            state = states.get(name)
            if state is None or not self._is_news(name, state):
                continue
            try:
                await running.api.reports.send(state)
            except (Away, Unmapped, Unreadable) as error:
                self._reported.pop(name, None)
                self._report_failures.failed("readiness is not told", error, traceback=False, account=name)
            else:
                self._report_failures.worked("readiness is told again", account=name)

    def _is_news(self, name: str, state: Any) -> bool:
        said = (state["pause_reason"], state["token_expire_time"])
        last, time = self._reported.get(name, (None, 0.0))
        if said == last and monotonic() - time < REPORT_SECONDS:
            return False
        self._reported[name] = (said, monotonic())
        return True

    async def purge(self) -> None:
        """Deletes old rows."""
        await self._store.inbox.purge(KEPT)

    def _measure(self, name: str, state: Any) -> None:
        now = datetime.now(UTC)
        self._metrics.paused.labels(name).set(self._running[name].is_paused)
        if state is not None and state["token_expire_time"] is not None:
            self._metrics.token_seconds.labels(name).set((state["token_expire_time"] - now).total_seconds())
        if state is not None and state["delivery_time"] is not None:
            self._metrics.silence.labels(name).set(max(0.0, (now - state["delivery_time"]).total_seconds()))

    async def _tell_of_entities(self, running: RunningAccount) -> None:
        """Opens an exception for each failure that has none, and resolves those of what works again."""
        name, inbox = running.account.name, self._store.inbox
        for failed in await inbox.unreported(name):
            description = f"{failed.kind} {failed.entity_id}: {failed.failure}"
            try:
                await running.api.report_failure(failure_kind(failed.kind), description, failed.order_id)
            except (Unreadable, Unmapped) as error:
                # The inbox shows the failure all the same, and another attempt would be refused too.
                self._failures.failed("an exception was refused", error, traceback=False, account=name)
            await inbox.reported(name, failed, is_open=True)
        for recovered in await inbox.recovered(name):
            await self._tell_of_recovery(running, recovered)
            await inbox.reported(name, recovered, is_open=False)

    async def _tell_of_recovery(self, running: RunningAccount, recovered: Failed) -> None:
        """Resolves the exception, or has it say what else it is about: one is about all of a kind of an order."""
        name, kind = running.account.name, failure_kind(recovered.kind)
        kinds = [each for each in running.platform.abilities.kinds if failure_kind(each) == kind]
        if await self._store.inbox.state_another(name, kinds, recovered.order_id):
            return
        try:
            await running.api.report_recovery(kind, recovered.order_id)
        except (Unreadable, Unmapped) as error:
            self._failures.failed("a recovery was refused", error, traceback=False, account=name)

    async def _tell(self, running: RunningAccount, state: Any) -> None:
        name = running.account.name
        try:
            await self._tell_of_entities(running)
            if state is not None and state["pause_reason"] and not state["is_reported"]:
                reason = f"account {name} is paused: {state['pause_reason']}; run `truestock channels connect {name}`"
                await running.api.report_failure(failure_kind(""), reason)
                await self._store.states.reported(name, True)
            elif state is not None and not state["pause_reason"] and state["is_reported"]:
                # This ends every exception of the account that names no order.
                await running.api.report_recovery(failure_kind(""))
                await self._store.inbox.raise_again(name)
                await self._store.states.reported(name, False)
        except (Away, Unmapped, Unreadable) as error:
            self._failures.failed("no exception could be raised", error, traceback=False, account=name)
