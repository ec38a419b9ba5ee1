"""Starts a module of the benchmarks as a process of its own, with pipes for its input and output."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def start_module(module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """The process. Not started by the event loop: uvloop calls fork(), whose handlers in gRPC can crash the process."""
    return subprocess.Popen(
        (sys.executable, "-m", module, *arguments),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Ends the process at once, if it still runs, and closes its pipes."""
    process.kill()
    process.communicate()
