"""The control pair keeps what it is the measure of: values, commits, damage noticed, nothing executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from dcp_conformance.harness.backend.record import FileBlobs
from dcp_conformance.harness.control import Reader, Writer
from dcp_conformance.harness.control.objects import write_object

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")

VALUES: dict[str, Any] = {
    "plain": torch.arange(10.0),
    "transposed": torch.arange(24.0).reshape(4, 6).t(),
    "conjugate": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "expanded": torch.arange(3).reshape(3, 1).expand(3, 4),
    "scalar": torch.tensor(3),
    "empty": torch.empty(0, 3),
    "float8": torch.arange(7.0).to(torch.float8_e4m3fn),
    "unsigned": torch.arange(5).to(torch.uint64),
    "nested": {"number": 1, "text": "a"},
}


def blank(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, torch.Tensor) else dict.fromkeys(value)
        for key, value in values.items()
    }


def load(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    loaded = blank(values)
    dcp.load(loaded, storage_reader=Reader(path))
    return loaded


def same_bits(left: Any, right: Any) -> bool:
    if not isinstance(left, torch.Tensor):
        return bool(left == right)
    as_bytes = [value.resolve_conj().contiguous().reshape(-1).view(torch.uint8) for value in (left, right)]
    return left.dtype == right.dtype and torch.equal(*as_bytes)


def save(path: Path, values: dict[str, Any], **options: Any) -> None:
    dcp.save(values, storage_writer=Writer(path), **options)


def test_every_kind_of_value_comes_back_bit_for_bit(tmp_path: Path) -> None:
    save(tmp_path / "a" / "b", VALUES)

    loaded = load(tmp_path / "a" / "b", VALUES)

    assert [key for key in VALUES if not same_bits(VALUES[key], loaded[key])] == []


def test_an_overwrite_replaces_and_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "one")
    for fill in (1.0, 2.0):
        dcp.save({"x": torch.full((4,), fill)}, storage_writer=writer)

    assert load(tmp_path / "one", {"x": torch.zeros(4)})["x"].tolist() == [2.0] * 4
    assert len(FileBlobs(tmp_path / "one").names()) == 2


def test_the_old_checkpoint_stays_until_the_new_one_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "one", {"x": torch.ones(4)})
    monkeypatch.setattr(Writer, "finish", lambda *_: (_ for _ in ()).throw(OSError("no commit")))

    with pytest.raises(dcp.CheckpointException):
        save(tmp_path / "one", {"x": torch.zeros(4)})

    assert load(tmp_path / "one", {"x": torch.zeros(4)})["x"].tolist() == [1.0] * 4


def test_the_later_of_two_modes_of_saving_is_the_one_that_loads(tmp_path: Path) -> None:
    for fill, together in ((1.0, True), (2.0, False), (3.0, True)):
        save(tmp_path / "one", {"x": torch.full((4,), fill)}, use_collectives=together)
        assert load(tmp_path / "one", {"x": torch.zeros(4)})["x"].tolist() == [fill] * 4


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "swap"])
def test_damage_to_any_object_is_noticed(tmp_path: Path, damage: str) -> None:
    values = {"x": torch.arange(4.0), "y": torch.arange(4.0) + 1}
    save(tmp_path / "one", values)
    blobs = FileBlobs(tmp_path / "one")

    for name in blobs.names():
        kept = {other: blobs.read(other) for other in blobs.names()}
        inflict(damage, blobs, name)
        with pytest.raises(dcp.CheckpointException):
            load(tmp_path / "one", values)
        for other, data in kept.items():
            blobs.write(other, data)


def inflict(damage: str, blobs: FileBlobs, name: str) -> None:
    data = blobs.read(name)
    if damage == "delete":
        blobs.delete(name)
    elif damage == "cut":
        blobs.write(name, data[:-1])
    elif damage == "flip":
        blobs.write(name, data[:-1] + bytes([data[-1] ^ 1]))
    else:
        blobs.write(name, blobs.read(next(other for other in blobs.names() if other != name)))


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def test_hostile_metadata_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_object(tmp_path / "one", "commit", pickle.dumps(Evil()))

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        Reader(tmp_path / "one").read_metadata()

    assert not (tmp_path / "executed").exists()


def test_hostile_names_do_not_leave_the_checkpoint(tmp_path: Path) -> None:
    metadata = dcp.Metadata({"x": dcp.BytesStorageMetadata()}, storage_data={}, planner_data=None)
    index = dcp.metadata.MetadataIndex("x")
    metadata.storage_data = {index: "../../secret"}
    write_object(tmp_path / "one", "commit", pickle.dumps(metadata))

    with pytest.raises(dcp.CheckpointException, match="is not the name of an object"):
        dcp.load({"x": "anything"}, storage_reader=Reader(tmp_path / "one"))


def test_an_id_that_names_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(dcp.CheckpointException, match="names a file"):
        save(tmp_path / "file", {"x": torch.ones(1)})


def test_a_relative_id_means_the_folder_of_the_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    writer = Writer("one")
    monkeypatch.chdir(tmp_path / "elsewhere")

    dcp.save({"x": torch.ones(1)}, storage_writer=writer)

    assert (tmp_path / "one" / "commit").exists()
