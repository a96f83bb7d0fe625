"""Values come back as they were saved."""

from __future__ import annotations

import collections
import io
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from dcp_conformance import reference_impl as ref
from tests.reference_impl.ranks import outcome

DTYPES = [
    dtype
    for name, dtype in sorted(vars(torch).items())
    if isinstance(dtype, torch.dtype) and str(dtype) == f"torch.{name}" and "bits" not in name
    and not name.startswith(("q", "uint1", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7"))
    and name not in {f"int{n}" for n in range(1, 8)}
] + [torch.uint16]  # fmt: skip


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and raw(a) == raw(b)


def raw(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return bytes(flat.view(torch.uint8).tolist()) if flat.numel() else b""


def round_trip(folder: Path, state: dict[Any, Any], template: dict[Any, Any], **kwargs: Any) -> dict[Any, Any]:
    ref.save(state, checkpoint_id=folder)
    ref.load(template, checkpoint_id=folder, **kwargs)
    return template


@pytest.mark.parametrize("dtype", sorted(set(DTYPES), key=str), ids=str)
def test_every_dtype_keeps_every_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    data = torch.randint(0, 256, (48 * dtype.itemsize,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    value = (data % 2).view(torch.bool) if dtype == torch.bool else data.view(dtype)
    loaded = round_trip(tmp_path, {"t": value}, {"t": torch.zeros_like(value)})
    assert same_bits(loaded["t"], value)


@pytest.mark.parametrize("count", [70_001, 400_000])
def test_large_tensors_are_read_straight_into_place(tmp_path: Path, count: int) -> None:
    value = torch.arange(count, dtype=torch.int64).reshape(-1, 1)
    target = torch.zeros_like(value)
    version = target._version
    loaded = round_trip(tmp_path, {"t": value}, {"t": target})
    assert loaded["t"] is target and torch.equal(target, value) and target._version > version


def layouts() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    wide = torch.arange(400_000.0).reshape(400, 1000)
    return {
        "transposed": base.t(),
        "slice": base[1:3, ::2],
        "expanded": base[:, :1].expand(4, 5),
        "flipped": base.flip(0),
        "channels last": torch.arange(120.0).reshape(1, 2, 6, 10).to(memory_format=torch.channels_last),
        "conjugate": torch.complex(base, base).conj(),
        "negative": torch.complex(base, base).conj().imag,
        "view": base.reshape(-1)[5:6],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0),
        "flat": torch.zeros(3, 0, 2),
        "parameter": torch.nn.Parameter(torch.ones(3)),
        "non-leaf": torch.nn.Parameter(torch.ones(3)) * 2,
        "wide": wide,
        "wide transposed": wide.t(),
    }


def test_every_layout_keeps_its_elements(tmp_path: Path) -> None:
    values = layouts()
    loaded = round_trip(tmp_path, values, {name: torch.zeros(v.shape, dtype=v.dtype) for name, v in values.items()})
    assert all(same_bits(loaded[name], value) for name, value in values.items())


def test_targets_of_every_layout_are_filled(tmp_path: Path) -> None:
    value = torch.arange(400_000.0).reshape(400, 1000)
    with torch.inference_mode():
        inference = torch.zeros(400, 1000)
    targets = {
        "transposed": torch.zeros(1000, 400).t(),
        "strided": torch.zeros(400, 2000)[:, ::2],
        "parameter": torch.nn.Parameter(torch.zeros(400, 1000)),
        "inference": inference,
        "wider": torch.zeros(400, 1000, dtype=torch.float64),
    }
    ref.save(dict.fromkeys(targets, value), checkpoint_id=tmp_path)
    ref.load(dict(targets), checkpoint_id=tmp_path)
    assert all(torch.equal(target.detach().to(torch.float32), value) for target in targets.values())
    assert outcome(ref.load, {"wider": torch.zeros(1).expand(400, 1000)}, checkpoint_id=tmp_path)["type"]


OBJECTS: dict[str, Any] = {
    "huge": 10**100,
    "none": None,
    "bytes": b"a\0b",
    "unicode": "\u00e4\U0001f600",
    "tuple": (1, "a", (2.5,)),
    "complex": 1 + 2j,
    "frozenset": frozenset({1, 2}),
    "dtype": torch.bfloat16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
    "list": [1, 2, 3],
    "set": {1},
    "bool": True,
}


def test_objects_keep_type_and_value(tmp_path: Path) -> None:
    loaded = round_trip(tmp_path, {**OBJECTS, "nan": math.nan}, dict.fromkeys((*OBJECTS, "nan"), 0))
    assert math.isnan(loaded.pop("nan"))
    assert loaded == OBJECTS and {k: type(v) for k, v in loaded.items()} == {k: type(v) for k, v in OBJECTS.items()}


def test_plain_objects_load_untrusted_and_classes_do_not(tmp_path: Path) -> None:
    planner = ref.DefaultLoadPlanner(trusted=False)
    loaded = round_trip(tmp_path / "a", OBJECTS, dict.fromkeys(OBJECTS, 0), planner=planner)
    assert loaded == OBJECTS
    ref.save({"c": collections.deque([1]), "u": Path("x")}, checkpoint_id=tmp_path / "b")
    result = outcome(ref.load, {"u": 0}, checkpoint_id=tmp_path / "b", planner=ref.DefaultLoadPlanner(trusted=False))
    assert result["failures"][0][0] == "UnpicklingError" and "pathlib" in result["text"]
    ref.load(trusting := {"u": 0, "c": 0}, checkpoint_id=tmp_path / "b")
    assert trusting == {"u": Path("x"), "c": collections.deque([1])}


def test_a_bytes_buffer_comes_back_whole_wherever_it_stood(tmp_path: Path) -> None:
    buffer = io.BytesIO(b"abc")
    buffer.seek(2)
    assert round_trip(tmp_path, {"b": buffer}, {"b": None})["b"].getvalue() == b"abc"


def test_containers_keep_identity_kind_and_keys(tmp_path: Path) -> None:
    ordered = collections.OrderedDict(x=0)
    inner: dict[Any, Any] = {0: 0, "deep": {1: torch.zeros(1)}, "gone": {}}
    template = {"o": ordered, "d": inner, "l": [torch.zeros(1), 0, {"k": 0}], 7: 0, "u": collections.UserDict(a=0)}
    state = {"o": {"x": 1}, "d": {0: 5, "deep": {1: torch.ones(1)}, "gone": {}}, 7: 8,
             "l": [torch.ones(1), 5, {"k": 6}], "u": collections.UserDict(a=3)}  # fmt: skip
    round_trip(tmp_path, state, template)
    assert template["o"] is ordered and ordered == {"x": 1} and template[7] == 8
    assert template["d"] is inner and inner[0] == 5 and inner["gone"] == {} and set(inner["deep"]) == {1}
    assert template["l"][1:] == [5, {"k": 6}] and template["l"][0].item() == 1 and template["u"]["a"] == 3


def test_the_structure_is_rebuilt_without_a_template(tmp_path: Path) -> None:
    state = {"a": {0: 5, -1: {}, "x.y": [torch.ones(2), {3: 4}]}, "e": {}, 9: "top"}
    ref.save(state, checkpoint_id=tmp_path)
    rebuilt = ref.load_keys(checkpoint_id=tmp_path)
    assert rebuilt["a"][0] == 5 and rebuilt["a"][-1] == {} and rebuilt["a"]["x.y"][1] == {3: 4}
    assert rebuilt["e"] == {} and rebuilt[9] == "top"
    assert set(ref.load_keys("a", checkpoint_id=tmp_path)) == {"a"}


def test_two_hundred_levels(tmp_path: Path) -> None:
    def nested(value: Any, number: int) -> dict[str, Any]:
        state: dict[str, Any] = {"t": value, "n": number}
        for _ in range(200):
            state = {"d": state}
        return state

    loaded = round_trip(tmp_path, nested(torch.ones(1), 7), nested(torch.zeros(1), 0))
    for _ in range(200):
        loaded = loaded["d"]
    assert loaded["t"].item() == 1 and loaded["n"] == 7


def test_what_cannot_be_stored_is_refused_by_name_before_data_is_written(tmp_path: Path) -> None:
    bad = {
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(1, device="meta"),
        "sub-byte": torch.zeros(4, dtype=torch.uint8).view(torch.uint4),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.quint8),
        "nested": torch.nested.nested_tensor([torch.ones(1), torch.ones(2)]),
    }
    for name, value in bad.items():
        result = outcome(ref.save, {"fine": torch.ones(1), name: value}, checkpoint_id=tmp_path / name)
        assert result["failures"][0][0] == "TypeError" and name in result["text"], name
        assert not (tmp_path / name).exists() or not list((tmp_path / name).iterdir())
    fixed = {"p": MappingProxyType({"n": 1})}
    assert "p.n" in outcome(ref.save, fixed, checkpoint_id=tmp_path / "p")["text"]
    both = outcome(ref.save, {"a": {"b": 1}, "a.b": 2}, checkpoint_id=tmp_path / "q")
    assert both["failures"][0][0] == "ValueError" and "a.b" in both["text"]


def test_a_tensor_subclass_loads_as_a_tensor(tmp_path: Path) -> None:
    class Tagged(torch.Tensor):
        pass

    assert round_trip(tmp_path, {"t": torch.ones(2).as_subclass(Tagged)}, {"t": torch.zeros(2)})["t"].sum() == 2


@pytest.mark.parametrize("options", [{"thread_count": 4}, {"single_file_per_rank": False}, {"sync_files": False}])
def test_options_do_not_change_the_result(tmp_path: Path, options: dict[str, Any]) -> None:
    state = {f"k{i}": torch.full((i,), float(i)) for i in range(9)} | {"o": 1}
    ref.save(state, storage_writer=ref.FileSystemWriter(tmp_path, **options))
    loaded = {name: torch.zeros_like(v) if isinstance(v, torch.Tensor) else 0 for name, v in state.items()}
    ref.load(loaded, storage_reader=ref.FileSystemReader(tmp_path))
    assert all(torch.equal(loaded[f"k{i}"], state[f"k{i}"]) for i in range(9)) and loaded["o"] == 1


def test_ambient_settings_change_nothing(tmp_path: Path) -> None:
    state = {"t": torch.arange(100_000.0), "s": torch.ones(2), "o": 1}
    with torch.device("meta"), torch.inference_mode():
        ref.save(state, checkpoint_id=tmp_path)
        loaded: dict[str, Any] = {"t": torch.zeros(100_000, device="cpu"), "s": torch.zeros(2, device="cpu"), "o": 0}
        ref.load(loaded, checkpoint_id=tmp_path)
    assert torch.equal(loaded["t"], state["t"]) and torch.equal(loaded["s"], state["s"]) and loaded["o"] == 1


def test_meta_targets_are_given_memory(tmp_path: Path) -> None:
    target = {"n": {"t": torch.empty(3, device="meta")}}
    loaded = round_trip(tmp_path, {"n": {"t": torch.ones(3)}}, target)
    assert loaded["n"]["t"].device.type == "cpu" and loaded["n"]["t"].sum() == 3


def test_fsspec_addresses_hold_the_same_files(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    state = {"t": torch.arange(100_000.0), "o": 5}
    ref.save(state, checkpoint_id="memory://reference/a")
    ref.save(state, checkpoint_id="memory://reference/a")
    loaded: dict[str, Any] = {"t": torch.zeros(100_000), "o": 0}
    ref.load(loaded, checkpoint_id="memory://reference/a")
    assert torch.equal(loaded["t"], state["t"]) and loaded["o"] == 5
    ref.save(state, checkpoint_id=f"file://{tmp_path}/b")
    ref.load(loaded := {"o": 0}, checkpoint_id=tmp_path / "b")
    assert loaded == {"o": 5}
