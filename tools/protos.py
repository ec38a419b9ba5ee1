"""Lints the .proto files, and generates or checks the Python stubs beside them.

protoc, buf and the .proto files of googleapis come from wheels, because some networks block buf's own registry.
"""

import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import google.api.field_behavior_pb2 as googleapis

ROOT = Path(__file__).parents[1]
PROTOS = ROOT / "protos"
GOOGLEAPIS = Path(googleapis.__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
STUBS = "*_pb2*.py*"


def main() -> str | None:
    """Runs the action on the command line; returns an error message, or None."""
    actions = {"lint": lint, "generate": generate_in_place, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python {sys.argv[0]} {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def lint() -> str | None:
    """Lints our own files in a descriptor set with buf, by the rules in buf.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.binpb")
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        command = [str(PROGRAMS / "buf"), "lint", str(image), "--config", str(ROOT / "buf.yaml"), "--path", "truestock"]
        return "buf lint found problems." if subprocess.run(command, check=False).returncode else None


def generate_in_place() -> None:
    """Deletes all stubs and generates them again, so that none remains without its .proto file."""
    for stub in PROTOS.rglob(STUBS):
        stub.unlink()
    generate(PROTOS)


def check() -> str | None:
    """Generates the stubs into a temporary folder and compares them with those in the repository."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        expected, present = stubs(Path(folder)), stubs(PROTOS)
        stale = [
            str(name)
            for name in sorted(expected | present)
            if name not in expected & present or not filecmp.cmp(Path(folder, name), PROTOS / name, shallow=False)
        ]
    return f"Stubs differ from the .proto files: {', '.join(stale)}. Run make protos." if stale else None


def stubs(folder: Path) -> set[Path]:
    """The generated files, relative to the folder."""
    return {path.relative_to(folder) for path in folder.rglob(STUBS)}


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
