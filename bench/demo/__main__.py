"""Runs the demo; ends with 1 if a step does not show what it says, or if figures on the screen do not add up."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

_INTERRUPTED = 130
_STOPPED = "\nThe demo was stopped, and its data are deleted."


def main() -> int:
    """Runs the demo and returns the status of the process."""
    # The import takes a second or more, in which Ctrl-C has to end the demo as it does later. Not by KeyboardInterrupt:
    # once that was raised in code that Python compiles from a string, as the methods of data classes are, Python 3.11
    # ends the process by the signal, whatever status it was given.
    signal.signal(signal.SIGINT, _stop)
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description="Plays a bad day of a retailer.")
    parser.add_argument("--seed", type=int, default=7, help="other figures: 7 if none is given")
    seed = parser.parse_args().seed
    print("Starting a temporary Truestock with a PostgreSQL of its own …", flush=True)
    from bench.demo import demo_run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        failure = demo_run.run(seed)
    except KeyboardInterrupt:
        print(_STOPPED, file=sys.stderr)
        return _INTERRUPTED
    if failure:
        print(f"\nThe demo failed: {failure}.", file=sys.stderr)
        print("It plays with a copy of rules/; rules that were edited may not fit its story.", file=sys.stderr)
        return 1
    print("\nThe demo has ended, and its data are deleted.\n`make run` starts a Truestock that keeps its data.")
    return 0


def _stop(*_: object) -> NoReturn:
    """Ends the process while it has nothing to clean up.

    Not by an exception: Python ignores one that is raised where a weak reference ends, as happens during imports.
    """
    print(_STOPPED, file=sys.stderr, flush=True)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
