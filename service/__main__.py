"""Runs the `truestock` command as `python -m service`."""

from service.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
