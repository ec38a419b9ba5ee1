"""Runs the `truestock` command, also as `python -m service`."""

import sys


def main() -> None:
    """Runs a command, or says how to build the rule engine if it does not load."""
    try:
        from service.cli.main import main as run_command  # noqa: PLC0415 - it imports the rule engine

        run_command()
    except ImportError as error:
        if error.name != "durable_rules_engine":
            raise
        sys.exit(error.msg)


if __name__ == "__main__":
    main()
