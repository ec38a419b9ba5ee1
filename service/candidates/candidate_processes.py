"""Answers by rules that are not in force: each revision in a process of its own, which keeps its rules compiled.

Any caller may send rules, and nothing in Python bounds the engine's C code: compiled in the service, they could hold up
every other call and take all memory. A process has limits of both. It runs the code of the service on its database, so
that it answers as the service would, and it allocates and records nothing.
"""

from __future__ import annotations

import asyncio
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from subprocess import Popen
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import status_pb2

from service import limits
from service.candidates.kept_rules import KeptRevision, KeptRules
from service.candidates.process_messages import ProcessStart, ReplyKind, receive, send
from service.errors import ForwardedError, NotReady, Overloaded, RulesTooCostly
from service.policy.rule_sandbox import Allowance, check_end, start_process
from service.rpc.call_limit import LimitedTurns
from service.settings import Settings

Response = TypeVar("Response", bound=Message)

MODULE = "service.app.candidate_process"


@dataclass(slots=True, eq=False)
class _Worker:
    """A process with the compiled rules of one revision."""

    revision: str
    process: Popen[bytes]
    allowance: Allowance
    idle_timer: asyncio.TimerHandle | None = None


class CandidateProcesses:
    """At most CANDIDATE_PROCESSES of them. The one that was idle longest makes room for another revision."""

    def __init__(self, kept_rules: KeptRules, settings: Settings) -> None:
        """`settings` have the URL of the database."""
        self._kept_rules = kept_rules
        self._settings = settings
        self._turns = LimitedTurns(limits.CANDIDATE_PROCESSES, limits.CANDIDATE_CALLS_WAITING, "answers by candidates")
        self._threads = ThreadPoolExecutor(limits.CANDIDATE_PROCESSES, "candidates")
        """Threads wait for the processes: what they send may be long."""
        self._idle: list[_Worker] = []
        """The one that was used last is the last."""
        self._running_count = 0
        self._is_unused = asyncio.Event()
        self._is_unused.set()
        self._is_closed = False

    async def answer(self, revision: str, method: str, request: Message, response: type[Response]) -> Response:
        """The response to a request by the rules of a revision that is kept.

        `method` is the full name, such as "truestock.v1.AllocationService/AllocateOrder". Raises NotFound,
        RulesTooCostly, Overloaded if too many calls wait, NotReady if the service stops, and what the method raises.
        """
        kept = await self._kept_rules.find(revision, field="candidate_revision")
        async with self._turns.turn():
            self._running_count += 1
            self._is_unused.clear()
            try:
                return response.FromString(await self._answer(kept, method, request.SerializeToString()))
            finally:
                self._running_count -= 1
                if not self._running_count:
                    self._is_unused.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Ends all processes after `stop`, once they have answered."""
        try:
            await stop.wait()
            await self._is_unused.wait()
        finally:
            self._is_closed = True
            while self._idle:
                self._end_first_idle()

    async def _answer(self, kept: KeptRevision, method: str, request: bytes) -> bytes:
        worker = self._idle_worker(kept.revision) or await self._start(kept)
        try:
            reply = await self._exchange(worker, pickle.dumps((method, request)))
        except BaseException:
            # Also if the caller has given up: only its end stops what the process does.
            self._end(worker)
            raise
        self._put_back(worker)
        return _content(reply)

    def _idle_worker(self, revision: str) -> _Worker | None:
        worker = next((worker for worker in self._idle if worker.revision == revision), None)
        if worker is not None:
            self._idle.remove(worker)
            assert worker.idle_timer is not None
            worker.idle_timer.cancel()
        return worker

    async def _start(self, kept: KeptRevision) -> _Worker:
        """A new process that has compiled the rules of a revision."""
        files = await self._kept_rules.files(kept)
        if self._is_closed:
            raise NotReady("the service is stopping")
        while len(self._idle) + self._running_count > limits.CANDIDATE_PROCESSES:
            self._end_first_idle()
        # Rules that could be tested must find room beside the code of the service.
        allowance = Allowance.of(kept.byte_count)
        allowance = replace(allowance, memory_bytes=allowance.memory_bytes + limits.CANDIDATE_MORE_BYTES)
        worker = _Worker(kept.revision, start_process(MODULE, allowance, has_log=True), allowance)
        start = ProcessStart(kept.revision, files, self._settings, limits.CANDIDATE_CALL_SECONDS)
        try:
            _content(await self._exchange(worker, pickle.dumps(start)))
        except BaseException:
            self._end(worker)
            raise
        return worker

    async def _exchange(self, worker: _Worker, message: bytes) -> bytes:
        """Sends a message and returns the reply. Raises RulesTooCostly, Overloaded and NotReady."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, _exchange, worker.process, message)
        try:
            return await asyncio.wait_for(asyncio.shield(work), worker.allowance.wait_seconds)
        except TimeoutError as error:
            # The kernel bounds its CPU time, so that this process has not had it: the machine is busy with other work.
            wait = timedelta(seconds=limits.SANDBOX_SECONDS)
            raise Overloaded(self._running_count, wait, "answers by candidates") from error
        except (EOFError, OSError) as error:
            code = await asyncio.get_running_loop().run_in_executor(self._threads, worker.process.wait)
            try:
                check_end(code, b"its log says why", worker.allowance)
            except RulesTooCostly as costly:
                raise RulesTooCostly(costly.metadata["limit"], is_deciding=True) from costly
            raise RuntimeError("a process that answers by candidates ended without a reply") from error
        finally:
            # Marks an error as seen if nobody waits for it any more.
            work.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _put_back(self, worker: _Worker) -> None:
        if self._is_closed:
            self._end(worker)
            return
        self._idle.append(worker)
        # The one that was used last is the last whose time has come.
        loop, seconds = asyncio.get_running_loop(), limits.CANDIDATE_IDLE.total_seconds()
        worker.idle_timer = loop.call_later(seconds, self._end_first_idle)

    def _end_first_idle(self) -> None:
        worker = self._idle.pop(0)
        assert worker.idle_timer is not None
        worker.idle_timer.cancel()
        self._end(worker)

    def _end(self, worker: _Worker) -> None:
        """Kills the process; a thread waits for its end, which ends what another may wait for."""
        worker.process.kill()
        self._threads.submit(_clean_up, worker.process)


def _exchange(process: Popen[bytes], message: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    send(process.stdin, message)
    return receive(process.stdout)


def _clean_up(process: Popen[bytes]) -> None:
    process.wait()
    for stream in (process.stdin, process.stdout):
        # What was still to be written has no reader any more.
        with suppress(OSError):
            if stream is not None:
                stream.close()


def _content(reply: bytes) -> bytes:
    """The content of a reply. Raises the error that it carries."""
    kind, content = reply[0], reply[1:]
    if kind == ReplyKind.STATUS:
        raise ForwardedError(status_pb2.Status.FromString(content))
    if kind == ReplyKind.DEFECT:
        defect = RuntimeError("a process that answers by candidates failed")
        defect.add_note(content.decode(errors="replace"))
        raise defect
    return content
