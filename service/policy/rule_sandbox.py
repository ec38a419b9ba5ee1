"""Runs rules that are not in force: one process for each request, with limits, and few at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta

from service import limits
from service.errors import NotReady, Overloaded, RulesTooCostly
from service.policy.sandbox_process import TOO_MUCH_MEMORY, Listed, SandboxReport, decode_report, encode_task


@dataclass(frozen=True, slots=True)
class Allowance:
    """The CPU time and memory that a sandbox process may use, and how long the service waits for it."""

    seconds: int
    memory_bytes: int
    wait_seconds: int

    @classmethod
    def of(cls, byte_count: int) -> Allowance:
        """The allowance of rules of so many bytes: a folder of 16 MiB takes longer than a request of 1 MiB."""
        more_mib = -(-max(0, byte_count - limits.REQUEST_BYTES) // (1 << 20))
        return cls(
            limits.SANDBOX_SECONDS + more_mib * limits.SANDBOX_SECONDS_PER_MIB,
            limits.SANDBOX_BYTES + more_mib * limits.SANDBOX_BYTES_PER_MIB,
            limits.SANDBOX_WAIT_SECONDS + more_mib * limits.SANDBOX_WAIT_SECONDS_PER_MIB,
        )

    @property
    def is_large(self) -> bool:
        """Whether it is more than the rules of one request may use."""
        return self.seconds > limits.SANDBOX_SECONDS


class RuleSandbox:
    """Runs a few of them at once; a limited number wait."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(limits.SANDBOXES_AT_ONCE)
        self._running_large = asyncio.Semaphore(1)
        """One large folder at a time leaves a process to the rules of single requests."""
        self._waiting_count = 0

    async def run(self, files: Mapping[str, bytes], listed: Listed | None = None) -> SandboxReport:
        """Tests rules in a sandbox process; `listed` shortens the report. Raises as `answer` does."""
        allowance = Allowance.of(sum(map(len, files.values())))
        module, task = "service.policy.sandbox_process", encode_task(files, listed)
        return decode_report(await self.answer(module, task, allowance))

    async def answer(self, module: str, task: bytes, allowance: Allowance | None = None) -> bytes:
        """What a module that runs rules in a sandbox process writes for this input.

        Raises RulesTooCostly, Overloaded if too many requests wait or the machine is too busy with other work, and
        NotReady if the process was stopped with the service.
        """
        if self._waiting_count >= limits.SANDBOXES_WAITING:
            retry_after = timedelta(seconds=limits.SANDBOX_SECONDS)
            raise Overloaded(self._waiting_count, retry_after, "rule tests")
        allowance = allowance or Allowance.of(0)
        async with AsyncExitStack() as running:
            self._waiting_count += 1
            try:
                if allowance.is_large:
                    await running.enter_async_context(self._running_large)
                await running.enter_async_context(self._running)
            finally:
                self._waiting_count -= 1
            return await _run(module, task, allowance)


async def _run(module: str, task: bytes, allowance: Allowance) -> bytes:
    process = start_process(module, allowance)
    exchange = asyncio.ensure_future(asyncio.to_thread(process.communicate, task))
    try:
        output, error_output = await asyncio.wait_for(asyncio.shield(exchange), allowance.wait_seconds)
    except TimeoutError as error:
        # The kernel bounds its CPU time, so that this process has not had it: the machine is busy with other work.
        raise Overloaded(1, timedelta(seconds=limits.SANDBOX_SECONDS), "rule tests") from error
    finally:
        # Also if the caller has cancelled the request. A killed process ends the exchange at once.
        process.kill()
        await asyncio.wait([exchange])
    check_end(process.returncode, error_output, allowance)
    return output


def start_process(module: str, allowance: Allowance, *, has_log: bool = False) -> subprocess.Popen[bytes]:
    """The process of a module; one that `has_log` writes to the log of the service.

    Call it from the thread of the event loop: the kernel ends the process with the thread.

    The event loop must not start it: uvloop calls fork(), and then gRPC's handlers of fork() crash the new process
    whenever other threads are busy in gRPC. `subprocess` calls posix_spawn(), which runs no handlers, if it need not
    close files; ours close themselves, as all files of Python, gRPC and PostgreSQL's driver do.
    """
    return subprocess.Popen(
        (
            *(sys.executable, "-m", module),
            *map(str, (allowance.seconds, allowance.memory_bytes, os.getpid())),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=None if has_log else subprocess.PIPE,
        close_fds=False,
    )


def check_end(code: int, error_output: bytes, allowance: Allowance) -> None:
    """Raises unless the process succeeded. How it ended decides, not how much it had read or written until then."""
    match code:
        case 0:
            return
        case _ if code == -signal.SIGXCPU:
            raise RulesTooCostly(f"{allowance.seconds} seconds")
        case _ if code in (TOO_MUCH_MEMORY, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGKILL):
            # The engine's C code does not check whether an allocation of memory failed; and a machine without memory
            # kills a process.
            raise RulesTooCostly(f"{allowance.memory_bytes >> 20:,} MiB")
        case _ if code in (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP):
            # Whoever stops the service may signal all its processes.
            raise NotReady("the service is stopping")
        case _:
            raise RuntimeError(
                f"testing rules ended with exit code {code}: {error_output.decode(errors='replace')[-2_000:]}"
            )
