"""Runs the demo; ends with 1 if a step does not show what it says, or if figures on the screen do not add up."""

from __future__ import annotations

import sys

_INTERRUPTED = 130


def main() -> int:
    """Runs the demo and returns the status of the process."""
    print("Starting a temporary Truestock with a PostgreSQL of its own …", flush=True)
    try:
        # Imported here, because that takes a second or more, in which Ctrl-C has to end the demo as it does later.
        from bench.demo import demo_run

        failure = demo_run.run()
    except KeyboardInterrupt:
        print("\nThe demo was stopped, and its data are deleted.", file=sys.stderr)
        return _INTERRUPTED
    if failure:
        print(f"\nThe demo failed: {failure}.", file=sys.stderr)
        print("It plays with a copy of rules/; rules that were edited may not fit its story.", file=sys.stderr)
        return 1
    print("\nThe demo has ended, and its data are deleted.\n`make run` starts a Truestock that keeps its data.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
