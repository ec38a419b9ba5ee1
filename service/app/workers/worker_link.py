"""One worker as the first process of the service sees it: a process, and the messages of both."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from prometheus_client import Metric

from service.app.workers.worker_messages import (
    Counted,
    NotStarted,
    Ping,
    Ready,
    RulesInForce,
    Scrape,
    Start,
    Started,
    Stop,
    receive,
    send,
)

MODULE = "service.app.workers.worker_process"


class WorkerLink:
    """A worker that was started. `started` is None until it answers calls, `reason` says why it cannot."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.pid = process.pid
        self.started: Started | None = None
        self.ready = False
        self.reason = ""
        self._looks = 0
        """Looks since it was last heard of."""
        self._process = process
        self._reader, self._writer = reader, writer
        self._scrapes: list[asyncio.Future[None]] = []

    @classmethod
    async def start(cls, start: Start) -> WorkerLink:
        """Starts a process. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _new_process(theirs.fileno())
        link = cls(process, *await asyncio.open_connection(sock=ours))
        link.send(start)
        return link

    def send(self, message: object) -> None:
        """Sends a message to the worker, unless it has ended."""
        if not self._writer.is_closing():
            send(self._writer, message)

    def stop(self) -> None:
        """Lets it finish its calls and end; the second time, cut them off."""
        self.send(Stop())

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process.poll() is None:
            self._process.kill()

    def look(self) -> int:
        """Asks whether it answers; returns how many earlier looks it has left unanswered.

        Looks are counted, and not the time: a machine that was suspended for an hour has made one of them.
        """
        unanswered = self._looks
        if unanswered == 0:
            self.send(Ping())
        self._looks += 1
        return unanswered

    async def follow(
        self,
        *,
        changed: Callable[[], None],
        counted: Callable[[Sequence[Metric]], None],
        rules: Callable[[RulesInForce], None],
    ) -> int:
        """Takes what the worker sends until it has ended; returns its exit code, or a signal below 0."""
        while (message := await receive(self._reader)) is not None:
            self._looks = 0
            match message:
                case Started():
                    self.started = message
                    changed()
                case Ready(ready):
                    self.ready = ready
                    changed()
                case RulesInForce():
                    rules(message)
                case Counted(families):
                    counted(families)
                    self._answer_scrapes()
                case NotStarted(reason):
                    self.reason = reason
        self.ready = False
        self._writer.close()
        self._answer_scrapes()
        return await asyncio.to_thread(self._process.wait)

    async def scrape(self, seconds: float) -> None:
        """Returns once the worker has reported its metrics, or has not within `seconds`."""
        answer = asyncio.get_running_loop().create_future()
        self._scrapes.append(answer)
        self.send(Scrape())
        await asyncio.wait([answer], timeout=seconds)

    def _answer_scrapes(self) -> None:
        for answer in self._scrapes:
            if not answer.done():
                answer.set_result(None)
        self._scrapes.clear()


def _new_process(descriptor: int) -> subprocess.Popen[bytes]:
    """Not started by the event loop: uvloop calls fork(), whose handlers in gRPC can crash the new process."""
    return subprocess.Popen(
        [sys.executable, "-m", MODULE, str(descriptor)],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor,),
        # Ctrl-C in a terminal is for the first process, which tells its workers.
        start_new_session=True,
    )
