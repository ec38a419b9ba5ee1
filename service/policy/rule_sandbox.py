"""Runs rules that are not in force: one process for each request, with limits, and few at once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta

from service import limits
from service.errors import NotReady, Overloaded, RulesTooCostly
from service.policy.sandbox_process import TOO_MUCH_MEMORY, SandboxReport, decode_report, encode_files


class RuleSandbox:
    """Runs a few of them at once; a limited number wait."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(limits.SANDBOXES_AT_ONCE)
        self._waiting_count = 0

    async def run(self, files: Mapping[str, bytes]) -> SandboxReport:
        """Tests rules in a sandbox process. Raises as `answer` does."""
        return decode_report(await self.answer("service.policy.sandbox_process", encode_files(files)))

    async def answer(self, module: str, task: bytes) -> bytes:
        """What a module that runs rules in a sandbox process writes for this input.

        Raises RulesTooCostly, Overloaded if too many requests wait or the machine is too busy with other work, and
        NotReady if the process was stopped with the service.
        """
        if self._waiting_count >= limits.SANDBOXES_WAITING:
            retry_after = timedelta(seconds=limits.SANDBOX_SECONDS)
            raise Overloaded(self._waiting_count, retry_after, "rule tests")
        self._waiting_count += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting_count -= 1
        try:
            return await _run(module, task)
        finally:
            self._running.release()


async def _run(module: str, task: bytes) -> bytes:
    process = _start(module)
    exchange = asyncio.ensure_future(asyncio.to_thread(process.communicate, task))
    try:
        output, error_output = await asyncio.wait_for(asyncio.shield(exchange), limits.SANDBOX_WAIT_SECONDS)
    except TimeoutError as error:
        # The kernel bounds its CPU time, so that this process has not had it: the machine is busy with other work.
        raise Overloaded(1, timedelta(seconds=limits.SANDBOX_SECONDS), "rule tests") from error
    finally:
        # Also if the caller has cancelled the request. A killed process ends the exchange at once.
        process.kill()
        await asyncio.wait([exchange])
    _check_end(process.returncode, error_output)
    return output


def _start(module: str) -> subprocess.Popen[bytes]:
    """The process. Call it from the thread of the event loop: the kernel ends the process with the thread.

    The event loop must not start it: uvloop calls fork(), and then gRPC's handlers of fork() crash the new process
    whenever other threads are busy in gRPC. `subprocess` calls posix_spawn(), which runs no handlers, if it need not
    close files; ours close themselves, as all files of Python, gRPC and PostgreSQL's driver do.
    """
    return subprocess.Popen(
        (
            *(sys.executable, "-m", module),
            *map(str, (limits.SANDBOX_SECONDS, limits.SANDBOX_BYTES, os.getpid())),
        ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        close_fds=False,
    )


def _check_end(code: int, error_output: bytes) -> None:
    """Raises unless the process succeeded. How it ended decides, not how much it had read or written until then."""
    match code:
        case 0:
            return
        case _ if code == -signal.SIGXCPU:
            raise RulesTooCostly(f"{limits.SANDBOX_SECONDS} seconds")
        case _ if code in (TOO_MUCH_MEMORY, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGKILL):
            # The engine's C code does not check whether an allocation of memory failed; and a machine without memory
            # kills a process.
            raise RulesTooCostly(f"{limits.SANDBOX_BYTES >> 20:,} MiB")
        case _ if code in (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP):
            # Whoever stops the service may signal all its processes.
            raise NotReady("the service is stopping")
        case _:
            raise RuntimeError(
                f"testing rules ended with exit code {code}: {error_output.decode(errors='replace')[-2_000:]}"
            )
