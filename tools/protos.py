"""Lints the .proto files, generates the Python stubs beside them, or checks that both are up to date.

protoc and buf come from wheels. The .proto files of googleapis that ours import are copied from a wheel into
third_party/googleapis, so that a fresh clone has everything that protoc, buf and clients in other languages need.
"""

import filecmp
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api.field_behavior_pb2 as googleapis

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"
GOOGLEAPIS = ROOT / "third_party" / "googleapis"
WHEEL = Path(googleapis.__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
STUBS = "*_pb2*.py*"
COPIES = "google/**/*.proto"
ERROR_DETAILS = "google/rpc/error_details.proto"
"""Imported by no file of ours, but needed by clients: the details of errors, such as RetryInfo."""


def main() -> str | None:
    """Runs the action on the command line; returns an error message, or None."""
    actions = {"lint": lint, "generate": generate_in_place, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python {sys.argv[0]} {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def lint() -> str | None:
    """Builds and lints the modules of buf.yaml as they are in the repository."""
    failed = subprocess.run([str(PROGRAMS / "buf"), "lint"], cwd=ROOT, check=False).returncode
    return "buf lint found problems." if failed else None


def generate_in_place() -> None:
    """Deletes all stubs and copies and makes them again, so that none remains without its .proto file."""
    for file in (*PROTOS.rglob(STUBS), *GOOGLEAPIS.glob(COPIES)):
        file.unlink()
    copy_googleapis(GOOGLEAPIS)
    generate(PROTOS)


def check() -> str | None:
    """Makes stubs and copies in a temporary folder and compares them with those in the repository."""
    with tempfile.TemporaryDirectory() as folder:
        copies, generated = Path(folder, "googleapis"), Path(folder, "stubs")
        generated.mkdir()
        copy_googleapis(copies)
        generate(generated)
        stale = [*differing(copies, GOOGLEAPIS, COPIES), *differing(generated, PROTOS, f"**/{STUBS}")]
    return f"Files differ from what make protos makes: {', '.join(stale)}. Run make protos." if stale else None


def differing(expected: Path, present: Path, pattern: str) -> list[str]:
    """The files that fit the pattern and are missing, superfluous or different in `present`; their paths in it.

    What Python has compiled of them is none of them.
    """
    expected_names, present_names = (
        {path.relative_to(folder) for path in folder.glob(pattern) if path.suffix != ".pyc"}
        for folder in (expected, present)
    )
    return [
        str(name)
        for name in sorted(expected_names | present_names)
        if name not in expected_names & present_names or not filecmp.cmp(expected / name, present / name, shallow=False)
    ]


def copy_googleapis(target: Path) -> None:
    """Copies what our .proto files import of googleapis, what that imports, and the details of errors."""
    names = {ERROR_DETAILS}.union(*(imports(path.read_text()) for path in PROTOS.rglob("*.proto")))
    copied: set[str] = set()
    while names:
        name = names.pop()
        text = (WHEEL / name).read_text()
        copied.add(name)
        names |= imports(text) - copied
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)


def imports(proto: str) -> set[str]:
    """The files of googleapis that a .proto file imports. Every compiler brings google/protobuf itself."""
    return set(re.findall(r'^import (?:public )?"(google/(?!protobuf/).+)";', proto, re.MULTILINE))


def generate(target: Path) -> None:
    """Writes the stubs and their types into the folder."""
    outputs = ("--python_out", "--grpc_python_out", "--mypy_out", "--mypy_grpc_out")
    protoc(*(f"{output}={target}" for output in outputs))


def protoc(*options: str) -> None:
    """Runs protoc on all our files; its plug-ins are beside the running Python."""
    files = [path.relative_to(PROTOS) for path in sorted(PROTOS.rglob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{GOOGLEAPIS}", *options, *map(str, files)]
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)])
    # mypy-protobuf lists the files that it writes on standard error, so output is shown only if protoc fails.
    completed = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if completed.returncode:
        sys.exit(f"protoc failed:\n{completed.stderr}")


if __name__ == "__main__":
    sys.exit(main())
