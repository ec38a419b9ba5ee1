"""Reads the small files that say who may connect and call."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LARGEST_FILE = 1 << 20
"""Bytes: far more than any chain of certificates or list of principals, and little enough to read while calls wait."""


def file_content(path: Path) -> bytes:
    """The whole file. Raises OSError, also for one above LARGEST_FILE: part of it would mean something else."""
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content
