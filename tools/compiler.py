"""Says in one sentence what is missing to build durable-rules, which has no wheels, for the Python that runs this."""

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


def missing() -> str | None:
    """What to install, or None where an extension compiles."""
    # What setuptools uses: the environment first, then the compiler that this Python was built with.
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"Truestock needs a C compiler, and there is no {compiler[0]}: install gcc ({DEBIAN}; {MACOS})."
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        package = f"Debian/Ubuntu: apt-get install python{version}-dev; Fedora: dnf install python{version}-devel"
        return f"Truestock needs the C headers of Python {version} ({sys.executable}): install them ({package})."
    failure = compile_extension(compiler)
    if failure:
        return f"{compiler[0]} cannot compile an extension of Python: install gcc ({DEBIAN}; {MACOS}).\n{failure}"
    return None


def compile_extension(compiler: list[str]) -> str:
    """The end of what the compiler says to the smallest extension; empty where it succeeds."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "smallest.c")
        source.write_text("#include <Python.h>\n#include <stdlib.h>\nint smallest(void) { return 0; }\n")
        includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
        command = [*compiler, *includes, "-fPIC", "-shared", str(source), "-o", str(Path(folder, "smallest.so"))]
        if sys.platform == "darwin":
            command.append("-Wl,-undefined,dynamic_lookup")
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if ran.returncode == 0 else ran.stderr.strip()[-500:] or f"exit code {ran.returncode}"


if __name__ == "__main__":
    sys.exit(missing())
