"""Whether the stubs in the repository are those of its .proto files."""

from __future__ import annotations

from pathlib import Path

from tools.protos import STUBS, differing


def test_stubs_that_differ_are_named_and_what_python_compiled_is_not(tmp_path: Path) -> None:
    made, present = tmp_path / "made", tmp_path / "present"
    for path, content in {
        made / "same_pb2.py": "1",
        present / "same_pb2.py": "1",
        made / "changed_pb2.pyi": "1",
        present / "changed_pb2.pyi": "2",
        made / "missing_pb2_grpc.py": "1",
        present / "left_pb2.py": "1",
        present / "__pycache__" / "same_pb2.cpython-311.pyc": "1",
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    assert differing(made, present, f"**/{STUBS}") == ["changed_pb2.pyi", "left_pb2.py", "missing_pb2_grpc.py"]
