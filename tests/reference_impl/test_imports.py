"""The implementation is independent: of torch's DCP it imports interchange types only, and never the harness."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcp_conformance import reference_impl

DCP = "torch.distributed.checkpoint"
ALLOWED = {
    f"{DCP}.api": {"CheckpointException"},
    f"{DCP}.filesystem": {"_StorageInfo"},
    f"{DCP}.state_dict_saver": {"AsyncCheckpointerType", "AsyncSaveResponse"},
    f"{DCP}.stateful": {"Stateful"},
    f"{DCP}.storage": {"StorageReader", "StorageWriter", "WriteResult"},
    f"{DCP}.metadata": None,
    f"{DCP}.planner": None,
}
FILES = sorted(Path(reference_impl.__file__).parent.glob("**/*.py"))


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_interchange_types_only(path: Path) -> None:
    for module, name in _imports(path):
        ours = module.startswith("dcp_conformance.")
        assert not ours or module.startswith("dcp_conformance.reference_impl"), f"{path.name} imports {module}"
        if module == DCP or module.startswith(f"{DCP}."):
            assert path.name == "interchange.py", f"{path.name} imports {module} itself"
            names = ALLOWED.get(module, set())
            assert names is None or name in names, f"{module}.{name} is not an interchange type"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_reaches_no_torch_engine_by_attribute(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert not ast.unparse(node).startswith(DCP), f"{path.name} uses {ast.unparse(node)}"


def test_the_public_names_of_torch_are_there() -> None:
    for name in ("save", "load", "async_save", "save_state_dict", "load_state_dict", "DefaultSavePlanner",
                 "DefaultLoadPlanner", "FileSystemWriter", "FileSystemReader", "CheckpointException", "Metadata",
                 "SavePlan", "LoadPlan", "SavePlanner", "LoadPlanner", "ReadItem", "WriteItem", "StorageReader",
                 "StorageWriter", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorStorageMetadata"):  # fmt: skip
        assert name in reference_impl.__all__ and hasattr(reference_impl, name)


def test_what_is_handed_on_is_torchs_and_nothing_here_uses_it() -> None:
    for name in reference_impl._TORCHS:
        assert getattr(reference_impl, name).__module__.startswith(DCP)
        assert name not in reference_impl.__all__
    for path in FILES:
        used = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not used & set(reference_impl._TORCHS), f"{path.name} uses what it only hands on"
