"""Runs the `truestock` command, also as `python -m service`."""

from __future__ import annotations

import os
import sys

from service.app import early_stop


def main() -> None:
    """Runs a command, or says how to build the rule engine if it does not load.

    A signal that comes before the command begins ends it with a sentence, not with a traceback.
    """
    # gRPC would print a line for each handshake that fails and each header that is wrong, which anyone who reaches the
    # port can cause without end.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    serves = sys.argv[1:2] == ["serve"]
    early_stop.end_plainly(None if serves else "Stopped.")
    try:
        from service.cli.main import main as run_command

        if not serves:
            # `serve` has handlers of its own once it has an event loop; what it imports before that is slow too.
            early_stop.end_as_python_does()
        run_command()
    except ImportError as error:
        if error.name != "durable_rules_engine":
            raise
        sys.exit(error.msg)


if __name__ == "__main__":
    main()
