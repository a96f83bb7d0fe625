"""Conversion to and from torch.save files, older layouts, and loading such files online."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, StateDictType
from torch.distributed.tensor import Shard, distribute_tensor

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl import format_utils
from dcp_conformance.reference_impl.format_utils import (
    BroadcastingTorchSaveReader,
    DynamicMetaLoadPlanner,
    dcp_to_torch_save,
    torch_save_to_dcp,
)
from tests.reference_impl.ranks import failing, outcome, run_ranks


def test_there_and_back(tmp_path: Path) -> None:
    state = {
        "m": torch.nn.Linear(3, 2).state_dict(),
        "e": {},
        "l": [torch.ones(1), {"x": {3: (1, 2)}}],
        "n": {"a": None},
    }
    torch.save(state, tmp_path / "in.pt")
    torch_save_to_dcp(tmp_path / "in.pt", tmp_path / "c")
    dcp_to_torch_save(tmp_path / "c", tmp_path / "out.pt")
    back = torch.load(tmp_path / "out.pt", weights_only=False)
    assert (
        set(back) == set(state) and back["e"] == {} and back["n"] == {"a": None} and back["l"][1] == {"x": {3: (1, 2)}}
    )
    assert all(torch.equal(back["m"][k], v) for k, v in state["m"].items())


def test_a_model_converts_like_its_state(tmp_path: Path) -> None:
    module = torch.nn.Linear(5, 3)
    ref.save({"model": module}, checkpoint_id=tmp_path / "c")
    dcp_to_torch_save(tmp_path / "c", tmp_path / "x.pt")
    back = torch.load(tmp_path / "x.pt", weights_only=True)["model"]
    assert all(torch.equal(back[k], v) for k, v in module.state_dict().items())
    other = torch.nn.Linear(5, 3)
    ref.load({"model": other}, checkpoint_id=tmp_path / "c")
    assert torch.equal(other.weight, module.weight)


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    for value in ([1], torch.nn.Linear(1, 1)):
        torch.save(value, tmp_path / "bad.pt")
        text = outcome(torch_save_to_dcp, tmp_path / "bad.pt", tmp_path / "c")["text"]
        assert "bad.pt" in text and "state dict" in text


def online(state: dict[str, Any], path: str) -> dict[str, Any]:
    reader, planner = BroadcastingTorchSaveReader(), DynamicMetaLoadPlanner()
    return outcome(ref.load, state, storage_reader=reader, planner=planner, checkpoint_id=path)


def _online(rank: int, folder: str) -> Any:
    mesh = init_device_mesh("cpu", (2,))
    target = {"a": distribute_tensor(torch.zeros(8), mesh, [Shard(0)]), "n": {"b": torch.zeros(2)}}
    good = online(target, f"{folder}/x.pt")
    module = FullyShardedDataParallel(torch.nn.Linear(3, 2), device_id=torch.device("cpu"))
    with FullyShardedDataParallel.state_dict_type(module, StateDictType.SHARDED_STATE_DICT):
        state = {"m": module.state_dict()}
        fsdp = online(state, f"{folder}/x.pt")
        module.load_state_dict(state["m"])
    with FullyShardedDataParallel.summon_full_params(module):
        weight = module.weight.detach().tolist()
    missing = online({"a": torch.zeros(8), "nope": torch.ones(1)} if rank else {"a": torch.zeros(8)}, f"{folder}/x.pt")
    alone = online({"a": torch.zeros(8)}, f"{folder}/x.pt")
    number = online({"a": torch.zeros(8), "step": 1}, f"{folder}/x.pt")
    absent = online({"a": torch.zeros(8)}, f"{folder}/none.pt")
    return (
        good,
        target["a"].to_local().tolist(),
        target["n"]["b"].tolist(),
        fsdp,
        weight,
        missing,
        alone,
        number,
        absent,
    )


def test_a_torch_file_loads_online_into_any_layout(tmp_path: Path) -> None:
    module = torch.nn.Linear(3, 2)
    torch.save(
        {"a": torch.arange(8.0), "n": {"b": torch.ones(2)}, "m": module.state_dict(), "step": 1}, tmp_path / "x.pt"
    )
    for rank, result in enumerate(run_ranks(2, _online, str(tmp_path))):
        good, local, plain, fsdp, weight, missing, alone, number, absent = result
        assert good["type"] == fsdp["type"] == alone["type"] == "", (good, fsdp, alone)
        assert local == [4.0 * rank + i for i in range(4)] and plain == [1, 1] and weight == module.weight.tolist()
        assert failing(missing) == [0, 1] and "nope" in missing["text"]
        assert failing(number) == [0, 1] and "step" in number["text"] and number["failures"][0][0] == "RuntimeError"
        assert absent["type"] == "CheckpointException"


def test_a_torch_file_loads_online_without_a_group(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(4.0)}, tmp_path / "x.pt")
    target = {"a": torch.zeros(4)}
    assert online(target, str(tmp_path / "x.pt"))["type"] == "" and target["a"].sum() == 6
    assert "nope" in online({"nope": torch.zeros(4)}, str(tmp_path / "x.pt"))["text"]


# -- older layouts -----------------------------------------------------------------------------------------------------


@pytest.fixture
def layout_2_3(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Torch 2.13 writes the layout of 2.3 while this is set."""
    from torch.distributed.checkpoint import _version

    return lambda on: monkeypatch.setattr(_version, "_derived_version", "2_3" if on else None)


def test_the_layout_of_2_3_loads(tmp_path: Path, layout_2_3: Any) -> None:
    state = {
        "t": torch.ones(4, 4),
        "d": {"x": {"y": 1}, "z": 2},
        "l": [{"a": 1}, {"a": 2}],
        "p": {"t": torch.ones(1), "k": 3},
    }
    layout_2_3(True)
    dcp.save(state, checkpoint_id=tmp_path / "old")
    layout_2_3(False)
    assert "d" in ref.FileSystemReader(tmp_path / "old").read_metadata().state_dict_metadata
    inner = {"x": {"y": 0}, "z": 0}
    target = {"t": torch.zeros(4, 4), "d": inner, "l": [{"a": 0}, {"a": 0}], "p": {"t": torch.zeros(1), "k": 0}}
    ref.load(target, checkpoint_id=tmp_path / "old")
    assert target["d"] is inner and inner == {"x": {"y": 1}, "z": 2} and target["l"] == [{"a": 1}, {"a": 2}]
    assert target["p"]["k"] == 3 and target["t"].sum() == 16
    more = outcome(ref.load, {"d": {"x": {"y": 0}, "new": 0}}, checkpoint_id=tmp_path / "old")
    assert "d.new" in more["text"]
    ref.save(target, checkpoint_id=tmp_path / "new")
    names = set(ref.FileSystemReader(tmp_path / "new").read_metadata().state_dict_metadata)
    assert names == {"t", "d.x.y", "d.z", "l.0.a", "l.1.a", "p.t", "p.k"}


def test_an_ordinary_leaf_is_not_taken_for_an_old_layout(tmp_path: Path) -> None:
    ref.save({"cfg": "a string"}, checkpoint_id=tmp_path)
    target = {"cfg": {"lr": 0.1}}
    assert "cfg.lr" in outcome(ref.load, target, checkpoint_id=tmp_path)["text"] and target == {"cfg": {"lr": 0.1}}


def older(data: bytes, renames: dict[str, str]) -> bytes:
    """A pickle with class paths of another release; protocol 2 has them as plain lines."""
    for new, old in renames.items():
        data = data.replace(f"c{new}\n".encode(), f"c{old}\n".encode())
    return data


DCP, SHARD = "torch.distributed.checkpoint", "torch.distributed._shard"
PROPERTIES = {
    f"{DCP}.metadata\nTensorProperties": f"{SHARD}.sharded_tensor.metadata\nTensorProperties",
    f"{DCP}.metadata\n_MEM_FORMAT_ENCODING": f"{SHARD}.sharded_tensor.metadata\nMEM_FORMAT_ENCODING",
}
RELEASES = {
    "1.13": {
        **PROPERTIES,
        f"{DCP}.metadata\nMetadataIndex": f"{SHARD}.checkpoint.metadata\nMetadataIndex",
        f"{DCP}.metadata\nMetadata": f"{SHARD}.checkpoint.metadata\nMetadata",
        f"{DCP}.filesystem\n_StorageInfo": f"{SHARD}.checkpoint.filesystem\n_StorageInfo",
    },
    "2.2": PROPERTIES,
    "python 3.13": {"pathlib\nPosixPath": "pathlib._local\nPosixPath"},
}


@pytest.mark.parametrize("release", RELEASES)
def test_class_paths_of_other_releases_load(tmp_path: Path, release: str) -> None:
    dcp.save({"t": torch.arange(4.0), "o": 5}, checkpoint_id=tmp_path)
    path = tmp_path / ".metadata"
    metadata = pickle.loads(path.read_bytes())
    if release != "python 3.13":
        for name in ("storage_meta", "version"):
            vars(metadata).pop(name)
    data = older(pickle.dumps(metadata, protocol=2), RELEASES[release])
    assert data != pickle.dumps(metadata, protocol=2)
    path.write_bytes(data)
    target = {"t": torch.zeros(4), "o": 0}
    ref.load(target, checkpoint_id=tmp_path)
    assert target["o"] == 5 and target["t"].sum() == 6


def test_six_properties_as_2_15_writes_them_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ref.TensorProperties.__getstate__
    with monkeypatch.context() as patch:
        patch.setattr(ref.TensorProperties, "__getstate__", lambda self: (*real(self), (1,)))  # type: ignore[no-untyped-call]
        dcp.save({"t": torch.arange(4.0)}, checkpoint_id=tmp_path)
    target = {"t": torch.zeros(4)}
    ref.load(target, checkpoint_id=tmp_path)
    assert target["t"].sum() == 6


def test_command_converts_both_ways_and_says_where_nothing_is(tmp_path: Path) -> None:
    source, folder, back = tmp_path / "a.pt", tmp_path / "b", tmp_path / "c.pt"
    torch.save({"t": torch.arange(3.0), "o": 5}, source)
    format_utils.main(["torch_to_dcp", str(source), str(folder)])
    format_utils.main(["dcp_to_torch", str(folder), str(back)])
    loaded = torch.load(back)
    assert loaded["o"] == 5
    assert loaded["t"].equal(torch.arange(3.0))
    with pytest.raises(SystemExit) as ended:
        format_utils.main(["dcp_to_torch", str(tmp_path / "nothing"), str(back)])
    assert ended.value.code == 2
