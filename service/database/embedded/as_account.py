"""Becomes another account, and then another program: `as_account.py USER GROUP PROGRAM ARGUMENT …`, both as ids.

Run as a program, by path, with the standard library alone. `subprocess` could change the account itself, but it calls
fork() then, and gRPC's handlers of fork() crash the new process whenever another thread is busy in gRPC.
"""

from __future__ import annotations

import os
import sys


def main(user: int, group: int, command: list[str]) -> None:
    """Runs the command with the rights of this account and no others, in place of this program."""
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
