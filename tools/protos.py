"""Lints the .proto files, and makes or checks the Python stubs beside them.

Everything comes from wheels (protoc, buf, googleapis' .proto files): buf's own registry is not reachable everywhere.
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
    """Do what the command line says; the answer is what went wrong."""
    actions = {"lint": lint, "generate": generate_in_place, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        return f"usage: python {sys.argv[0]} {'|'.join(actions)}"
    return actions[sys.argv[1]]()


def lint() -> str | None:
    """Let buf lint a descriptor set, and of that only our own files, by the rules in buf.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "image.binpb")
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        command = [str(PROGRAMS / "buf"), "lint", str(image), "--config", str(ROOT / "buf.yaml"), "--path", "truestock"]
        return "buf lint found problems." if subprocess.run(command, check=False).returncode else None


def generate_in_place() -> None:
    """Make every stub anew, and remove those whose .proto file is gone."""
    for stub in PROTOS.rglob(STUBS):
        stub.unlink()
    generate(PROTOS)


def check() -> str | None:
    """Make the stubs in a folder that is thrown away, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        fresh, kept = stubs(Path(folder)), stubs(PROTOS)
        stale = [
            str(name)
            for name in sorted(fresh | kept)
            if not (name in fresh and name in kept and filecmp.cmp(Path(folder, name), PROTOS / name, shallow=False))
        ]
    return f"Stubs are not those of the .proto files: {', '.join(stale)}. Run make protos." if stale else None


def stubs(folder: Path) -> set[Path]:
    """The generated files, relative to the folder."""
    return {path.relative_to(folder) for path in folder.rglob(STUBS)}


def generate(target: Path) -> None:
    """Write the stubs and their types into the folder."""
    outputs = ("--python_out", "--grpc_python_out", "--mypy_out", "--mypy_grpc_out")
    protoc(*(f"{output}={target}" for output in outputs))


def protoc(*options: str) -> None:
    """Run protoc on all our files; its plug-ins are beside the Python that runs this."""
    files = [path.relative_to(PROTOS) for path in sorted(PROTOS.rglob("*.proto"))]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", f"-I{GOOGLEAPIS}", *options, *map(str, files)]
    path = os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)])
    # mypy-protobuf says on standard error what it writes; that matters only when something fails.
    ran = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"protoc failed:\n{ran.stderr}")


if __name__ == "__main__":
    sys.exit(main())
