"""Checks that the running Python can build durable-rules, which has no wheels, and says what is missing."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

DEBIAN = "Debian/Ubuntu: apt-get install build-essential python3-dev"
MACOS = "macOS: xcode-select --install"


def missing_requirement() -> str | None:
    """What to install, or None if an extension compiles."""
    # Like setuptools: the environment first, then the compiler that this Python was built with.
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"Truestock needs a C compiler, but {compiler[0]} is not installed: install gcc ({DEBIAN}; {MACOS})."
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        package = f"Debian/Ubuntu: apt-get install python{version}-dev; Fedora: dnf install python{version}-devel"
        return f"Truestock needs the C headers of Python {version} ({sys.executable}): install them ({package})."
    failure = compile_extension(compiler)
    if failure:
        return f"{compiler[0]} cannot compile an extension of Python: install gcc ({DEBIAN}; {MACOS}).\n{failure}"
    return None


def compile_extension(compiler: list[str]) -> str:
    """Compiles the smallest extension; returns the end of the error output, empty if it succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "smallest.c")
        source.write_text("#include <Python.h>\n#include <stdlib.h>\nint smallest(void) { return 0; }\n")
        includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
        command = [*compiler, *includes, "-fPIC", "-shared", str(source), "-o", str(Path(folder, "smallest.so"))]
        if sys.platform == "darwin":
            command.append("-Wl,-undefined,dynamic_lookup")
        completed = subprocess.run(command, capture_output=True, text=True, check=False)
    if completed.returncode == 0:
        return ""
    return completed.stderr.strip()[-500:] or f"exit code {completed.returncode}"


if __name__ == "__main__":
    sys.exit(missing_requirement())
