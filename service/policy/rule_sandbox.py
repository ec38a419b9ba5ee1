"""Tests rules that are not in force: one process for each request, with limits, and few at once."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from service import limits
from service.errors import Overloaded, RulesTooCostly
from service.policy.sandbox_process import TOO_MUCH_MEMORY, SandboxReport, decode_report, encode_files


class RuleSandbox:
    """Runs a few rule tests at once; a limited number wait."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(limits.SANDBOXES_AT_ONCE)
        self._waiting_count = 0

    async def run(self, files: Mapping[str, bytes]) -> SandboxReport:
        """Tests rules in a sandbox process. Raises RulesTooCostly, or Overloaded if too many requests wait."""
        if self._waiting_count >= limits.SANDBOXES_WAITING:
            retry_after = timedelta(seconds=limits.SANDBOX_SECONDS)
            raise Overloaded(self._waiting_count, retry_after, "rule tests")
        self._waiting_count += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting_count -= 1
        try:
            return await _run(files)
        finally:
            self._running.release()


async def _run(files: Mapping[str, bytes]) -> SandboxReport:
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "service.policy.sandbox_process",
            str(limits.SANDBOX_SECONDS),
            str(limits.SANDBOX_BYTES),
        ),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, error_output = await asyncio.wait_for(process.communicate(encode_files(files)), limits.SANDBOX_SECONDS)
    except TimeoutError as error:
        raise RulesTooCostly(_time_limit()) from error
    finally:
        # Also if the caller has cancelled the request.
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    return _report_of(process.returncode, output, error_output)


def _report_of(code: int | None, output: bytes, error_output: bytes) -> SandboxReport:
    match code:
        case 0:
            return decode_report(output)
        case _ if code in (-signal.SIGXCPU, -signal.SIGKILL):
            raise RulesTooCostly(_time_limit())
        case _ if code in (TOO_MUCH_MEMORY, -signal.SIGSEGV, -signal.SIGABRT):
            # The engine's C code does not check whether an allocation of memory failed.
            raise RulesTooCostly(f"{limits.SANDBOX_BYTES >> 20:,} MiB")
        case _:
            raise RuntimeError(
                f"testing rules ended with exit code {code}: {error_output.decode(errors='replace')[-2_000:]}"
            )


def _time_limit() -> str:
    return f"{limits.SANDBOX_SECONDS} seconds"
