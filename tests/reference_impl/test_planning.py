"""Planners and the engine's calls: strictness, kinds, dtypes, nesting, order of calls, old signatures."""

from __future__ import annotations

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.values.dedup import assign_owners
from dcp_conformance.reference_impl.values.dtypes import holds_every_value
from dcp_conformance.reference_impl.values.flatten import flatten
from dcp_conformance.reference_impl.values.read_items import tensor_read_items
from tests.reference_impl.ranks import outcome


class Thing:
    """An object of an application."""


def size(*numbers: int) -> torch.Size:
    return torch.Size(numbers)


def test_a_partial_load_keeps_what_it_skips(tmp_path: Path) -> None:
    ref.save({"a": 1, "n": {"t": torch.ones(1)}}, checkpoint_id=tmp_path)
    thing = Thing()
    target: dict[str, Any] = {"a": 0, "o": thing, "n": {"s": {1}, "c": 3j, "d": torch.float16, "t": torch.zeros(1)}}
    ref.load(target, checkpoint_id=tmp_path, planner=ref.DefaultLoadPlanner(allow_partial_load=True))
    assert target["o"] is thing and target["n"]["s"] == {1} and target["n"]["c"] == 3j
    assert target["n"]["d"] == torch.float16 and target["a"] == 1 and target["n"]["t"].item() == 1


def test_a_load_that_cannot_be_planned_changes_nothing_and_names_all_keys(tmp_path: Path) -> None:
    ref.save({"a": 1, "l": [torch.ones(1)], "m": torch.ones(2)}, checkpoint_id=tmp_path)
    thing, meta = Thing(), torch.empty(2, device="meta")
    target: dict[str, Any] = {"a": 0, "n": {"o": thing}, "l": [torch.zeros(1), torch.zeros(1)], "m": meta}
    result = outcome(ref.load, target, checkpoint_id=tmp_path)
    assert "n.o" in result["text"] and "l.1" in result["text"]
    assert target["n"] == {"o": thing} and target["a"] == 0 and target["l"][0].item() == 0 and target["m"] is meta


MISMATCHES: dict[str, tuple[Any, Any]] = {
    "object for a tensor": (5, torch.ones(1)),
    "tensor for an object": (torch.ones(1), 5),
    "shape": (torch.zeros(2, 3), torch.zeros(3, 2)),
    "dimensions": (torch.tensor(1.0), torch.zeros(1)),
    "overflow": (torch.tensor([1e300], dtype=torch.float64), torch.zeros(1, dtype=torch.float16)),
    "complex": (torch.tensor([1 + 2j]), torch.zeros(1)),
    "integer": (torch.tensor([1.9]), torch.zeros(1, dtype=torch.int64)),
    "integer precision": (torch.tensor([2**40 + 1]), torch.zeros(1)),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_mismatches_are_refused_by_name(tmp_path: Path, case: str) -> None:
    stored, wanted = MISMATCHES[case]
    ref.save({"key": stored}, checkpoint_id=tmp_path)
    target = {"key": wanted}
    strict = ref.DefaultLoadPlanner(strict_dtypes=True)
    assert "'key'" in outcome(ref.load, target, checkpoint_id=tmp_path, planner=strict)["text"]
    assert target["key"] is wanted


def test_lossy_conversion_warns_and_widening_does_not(tmp_path: Path) -> None:
    ref.save({"t": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, checkpoint_id=tmp_path)
    wide, narrow = torch.zeros(2), torch.zeros(2, dtype=torch.int8)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        ref.load({"t": wide}, checkpoint_id=tmp_path)
        assert not [one for one in said if issubclass(one.category, ref.LossyConversionWarning)]
        ref.load({"t": narrow}, checkpoint_id=tmp_path)
    assert [one for one in said if issubclass(one.category, ref.LossyConversionWarning)]
    assert wide.tolist() == [1.5, -2.0] and narrow.tolist() == [1, -2]


def test_which_dtypes_hold_which() -> None:
    good = [("float32", "bfloat16"), ("float32", "float16"), ("float64", "int32"), ("float32", "int16"),
            ("int64", "uint32"), ("complex64", "float32"), ("float16", "float8_e5m2"), ("int8", "bool"),
            ("float32", "float8_e8m0fnu"), ("complex128", "int32"), ("float16", "int8")]  # fmt: skip
    bad = [("bfloat16", "float16"), ("float16", "bfloat16"), ("float32", "int32"), ("int32", "uint32"),
           ("uint8", "int8"), ("float64", "int64"), ("bool", "int8"), ("float8_e4m3fn", "float8_e5m2"),
           ("float16", "float8_e8m0fnu"), ("float16", "uint16")]  # fmt: skip
    for pairs, expected in ((good, True), (bad, False)):
        for target, source in pairs:
            assert holds_every_value(getattr(torch, target), getattr(torch, source)) == expected, (target, source)


class Part:
    """A Stateful object."""

    def __init__(self, value: float) -> None:
        self.tensor, self.number, self.calls = torch.full((2,), value), value, ["made"]

    def state_dict(self) -> dict[str, Any]:
        self.calls.append("state_dict")
        return {"t": self.tensor, "n": self.number}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.calls.append("load_state_dict")
        self.number = state["n"]


def test_stateful_objects_at_any_depth(tmp_path: Path) -> None:
    saved = {"top": Part(1), "x": {"deep": [Part(2), {"m": Part(3)}], "plain": 4, "d": {"k": 5}}}
    ref.save(saved, checkpoint_id=tmp_path)
    assert saved["top"].calls == ["made", "state_dict"]  # type: ignore[union-attr]
    inner = {"k": 0}
    target: dict[str, Any] = {"top": Part(0), "x": {"deep": [Part(0), {"m": Part(0)}], "plain": 0, "d": inner}}
    parts = [target["top"], target["x"]["deep"][0], target["x"]["deep"][1]["m"]]
    ref.load(target, checkpoint_id=tmp_path)
    assert [p.number for p in parts] == [1, 2, 3] and [p.tensor[0].item() for p in parts] == [1, 2, 3]
    assert all(p.calls == ["made", "state_dict", "load_state_dict"] for p in parts)
    assert target["x"]["plain"] == 4 and target["x"]["d"] is inner and inner == {"k": 5}
    assert target["x"]["deep"][0] is parts[1]
    names = set(ref.FileSystemReader(tmp_path).read_metadata().state_dict_metadata)
    assert names == {"top.t", "top.n", "x.deep.0.t", "x.deep.0.n", "x.deep.1.m.t", "x.deep.1.m.n", "x.plain", "x.d.k"}


def test_only_plain_entries_are_assigned_back(tmp_path: Path) -> None:
    class Recording(dict[str, Any]):
        assigned: list[str] = []

        def __setitem__(self, key: str, value: Any) -> None:
            self.assigned.append(key)
            super().__setitem__(key, value)

    class Popping(Part):
        def state_dict(self) -> dict[str, Any]:
            target.pop("gone", None)
            return super().state_dict()

    ref.save({"a": Part(1), "b": 2, "z": 1, 0: 3}, checkpoint_id=tmp_path)
    target = Recording({"a": Popping(0), "b": 0, "gone": 0, 0: 0})
    ref.load(target, checkpoint_id=tmp_path)
    assert sorted(map(str, target.assigned)) == ["0", "b"] and target["b"] == 2 and target["a"].number == 1


def test_without_flattening_values_are_replaced_whole(tmp_path: Path) -> None:
    state = {"n": {"x": 1, "t": torch.ones(1)}, "t": torch.ones(2), "o": 5}
    ref.save(state, checkpoint_id=tmp_path, planner=ref.DefaultSavePlanner(flatten_state_dict=False))
    target: dict[str, Any] = {"n": None, "t": torch.zeros(2), "o": 0}
    ref.load(target, checkpoint_id=tmp_path, planner=ref.DefaultLoadPlanner(flatten_state_dict=False))
    assert target["n"]["x"] == 1 and target["n"]["t"].item() == 1 and target["t"].sum() == 2 and target["o"] == 5


def test_a_fresh_optimizer_that_takes_nothing_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    used = torch.optim.Adam([weight])
    weight.grad = torch.ones(2)
    used.step()
    ref.save({"opt": used}, checkpoint_id=tmp_path)
    with caplog.at_level(logging.WARNING):
        ref.load({"opt": torch.optim.Adam([weight])}, checkpoint_id=tmp_path)
    assert "opt.state" in caplog.text


def test_an_object_that_cannot_be_pickled_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    ref.save({"a": torch.ones(1), "z": 1}, checkpoint_id=tmp_path)
    assert outcome(ref.save, {"a": torch.zeros(1), "z": lambda: 0}, checkpoint_id=tmp_path)["type"]
    target = {"a": torch.zeros(1), "z": 0}
    ref.load(target, checkpoint_id=tmp_path)
    assert target["a"].item() == 1 and target["z"] == 1


def test_plans_are_never_stale(tmp_path: Path) -> None:
    def planner() -> Any:
        return ref.DefaultSavePlanner(enable_plan_caching=True)

    first = ref.save({"x": {"a": torch.ones(2)}}, checkpoint_id=tmp_path / "a", planner=planner())
    second = ref.save({"x.a": torch.ones(2).double()}, checkpoint_id=tmp_path / "b", planner=planner())
    entry: Any = second.state_dict_metadata["x.a"]
    assert entry.properties.dtype == torch.float64 and second.planner_data["x.a"] == ("x.a",)
    assert first.planner_data["x.a"] == ("x", "a") and first is not second


# -- the parts of planning -------------------------------------------------------------------------------------------


def chunk(offset: tuple[int, ...], sizes: tuple[int, ...]) -> ref.ChunkStorageMetadata:
    return ref.ChunkStorageMetadata(torch.Size(offset), torch.Size(sizes))


def entry_of(whole: tuple[int, ...], *chunks: ref.ChunkStorageMetadata) -> ref.TensorStorageMetadata:
    return ref.TensorStorageMetadata(ref.TensorProperties(torch.float32), torch.Size(whole), list(chunks))


def test_reads_for_unchanged_and_other_layouts() -> None:
    stored = entry_of((16,), chunk((0,), (8,)), chunk((8,), (8,)))
    (same,) = tensor_read_items("k", stored, [chunk((8,), (8,))])
    assert (same.storage_index.offset, same.dest_index.offset) == (size(8), size(8))
    assert (same.storage_offsets, same.dest_offsets, same.lengths) == (size(0), size(0), size(8))
    two = tensor_read_items("k", stored, [chunk((4,), (7,))])
    assert [(i.storage_offsets, i.dest_offsets, i.lengths) for i in two] == [
        (size(4), size(0), size(4)),
        (size(0), size(4), size(3)),
    ]


def test_a_target_that_is_not_covered_is_refused() -> None:
    gap = entry_of((16,), chunk((0,), (8,)))
    twice = entry_of((16,), chunk((0,), (10,)), chunk((6,), (10,)))
    for stored in (gap, twice, entry_of((16,))):
        with pytest.raises(ValueError, match="'k'"):
            tensor_read_items("k", stored, [chunk((4,), (8,))])
    assert tensor_read_items("k", gap, [chunk((0,), (0,)), chunk((2,), (3,))])
    assert len(tensor_read_items("k", entry_of((), chunk((), ())), [chunk((), ())])) == 1


def test_random_partitions_are_read_from_the_right_places() -> None:
    generator = torch.Generator().manual_seed(7)
    whole = torch.arange(8 * 9 * 10).reshape(8, 9, 10)

    def cuts(length: int) -> list[tuple[int, int]]:
        places = sorted({0, length, *torch.randint(1, length, (3,), generator=generator).tolist()})
        return list(zip(places, [b - a for a, b in zip(places, places[1:], strict=False)], strict=False))

    def partition() -> list[ref.ChunkStorageMetadata]:
        return [chunk((a, b, c), (i, j, k)) for a, i in cuts(8) for b, j in cuts(9) for c, k in cuts(10)]

    def box(offsets: Any, sizes: Any) -> tuple[slice, ...]:
        return tuple(slice(o, o + n) for o, n in zip(offsets, sizes, strict=True))

    for _ in range(5):
        saved, wanted = partition(), partition()
        filled = [torch.full(tuple(w.sizes), -1) for w in wanted]
        for item in tensor_read_items("k", entry_of((8, 9, 10), *saved), wanted):
            source = saved[item.storage_index.index or 0]
            data = whole[box(source.offsets, source.sizes)][box(item.storage_offsets, item.lengths)]
            filled[item.dest_index.index or 0][box(item.dest_offsets, item.lengths)] = data
        assert all(torch.equal(f, whole[box(w.offsets, w.sizes)]) for f, w in zip(filled, wanted, strict=True))


def test_a_thousand_chunks_validate_quickly() -> None:
    started = time.monotonic()
    chunks = [chunk((i, 0), (1, 64)) for i in range(2000)]
    assert len(tensor_read_items("k", entry_of((2000, 64), *chunks), [chunk((0, 0), (2000, 64))])) == 2000
    assert time.monotonic() - started < 2


def test_owners_are_balanced_by_the_bytes_of_the_chunks() -> None:
    def item(name: str, elements: int, whole: int) -> ref.WriteItem:
        data = ref.TensorWriteData(chunk((0,), (elements,)), ref.TensorProperties(torch.uint8), size(whole))
        return ref.WriteItem(ref.MetadataIndex(name, size(0)), ref.WriteItemType.SHARD, tensor_data=data)

    items = [item("A", 10, 1000), item("B", 900, 900), item("C", 900, 900), item("D", 10, 1000)]
    plans = assign_owners([ref.SavePlan(list(items)), ref.SavePlan(list(items))])
    loads = [sum(i.tensor_data.chunk.sizes[0] for i in p.items if i.tensor_data) for p in plans]
    assert loads == [910, 910]


def test_flattening() -> None:
    tensor = torch.ones(1)
    flat = flatten({"k1": [1, 2], "k2": [tensor, 99, [{"k": tensor}]], "t": (tensor,), "d": {3: {}}})
    assert set(flat.values) == {"k1", "k2.0", "k2.1", "k2.2.0.k", "t"}
    assert flat.paths["k2.2.0.k"] == ("k2", 2, 0, "k") and flat.planner_data()["k2.2.0.k"] == ("k2", 2, 0, "k")
    assert flat.empty == {"d.3": ("d", 3)}


class Pieces(torch.Tensor):
    """A tensor-like class with the checkpointable hooks: two rows, each an item of its own."""

    rows: list[torch.Tensor]

    def __create_write_items__(self, name: str, value: Any) -> list[ref.WriteItem]:
        data = [ref.TensorWriteData(c, ref.TensorProperties(torch.float32), size(2, 3)) for c in self.boxes()]
        index = [ref.MetadataIndex(name, c.offsets) for c in self.boxes()]
        return [ref.WriteItem(i, ref.WriteItemType.SHARD, tensor_data=d) for i, d in zip(index, data, strict=True)]

    def __create_chunk_list__(self) -> list[ref.ChunkStorageMetadata]:
        return self.boxes()

    def __get_tensor_shard__(self, index: ref.MetadataIndex) -> torch.Tensor:
        assert index.offset is not None
        return self.rows[index.offset[0]]

    @staticmethod
    def boxes() -> list[ref.ChunkStorageMetadata]:
        return [chunk((i, 0), (1, 3)) for i in range(2)]


def pieces(value: float) -> Pieces:
    made = torch.zeros(2, 3).as_subclass(Pieces)
    made.rows = [torch.full((1, 3), value), torch.full((1, 3), value + 1)]
    return made


def test_objects_with_hooks_are_stored_and_loaded_through_them(tmp_path: Path) -> None:
    ref.save({"p": pieces(5.0)}, checkpoint_id=tmp_path)
    target, whole = pieces(0.0), torch.zeros(2, 3)
    ref.load({"p": target}, checkpoint_id=tmp_path)
    ref.load({"p": whole}, checkpoint_id=tmp_path)
    assert target.rows[1].tolist() == [[6, 6, 6]] and whole.tolist() == [[5, 5, 5], [6, 6, 6]]


# -- the engine's calls ----------------------------------------------------------------------------------------------


def recorded(cls: Any, calls: list[str], *names: str) -> Any:
    def wrap(name: str) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            return getattr(cls, name)(self, *args, **kwargs)

        return method

    return type(f"Recorded{cls.__name__}", (cls,), {name: wrap(name) for name in names})


def test_the_order_of_calls(tmp_path: Path) -> None:
    calls: list[str] = []
    writer = recorded(ref.FileSystemWriter, calls, "reset", "storage_meta", "set_up_storage_writer",
                      "prepare_local_plan", "prepare_global_plan", "write_data", "finish")(tmp_path)  # fmt: skip
    planner = recorded(ref.DefaultSavePlanner, calls, "create_local_plan", "create_global_plan", "finish_plan")()
    ref.save({"a": 1}, storage_writer=writer, checkpoint_id=tmp_path, planner=planner)
    assert calls == ["reset", "storage_meta", "set_up_storage_writer", "create_local_plan", "prepare_local_plan",
                     "create_global_plan", "prepare_global_plan", "finish_plan", "write_data", "finish"]  # fmt: skip
    calls.clear()
    reader = recorded(ref.FileSystemReader, calls, "reset", "read_metadata", "set_up_storage_reader",
                      "prepare_local_plan", "prepare_global_plan", "read_data")(tmp_path)  # fmt: skip
    load = recorded(ref.DefaultLoadPlanner, calls, "set_up_planner", "create_local_plan", "create_global_plan",
                    "finish_plan")()  # fmt: skip
    ref.load({"a": 0}, storage_reader=reader, checkpoint_id=tmp_path, planner=load)
    assert calls == ["reset", "read_metadata", "set_up_planner", "set_up_storage_reader", "create_local_plan",
                     "prepare_local_plan", "create_global_plan", "prepare_global_plan", "finish_plan",
                     "read_data"]  # fmt: skip


def test_old_signatures_and_positional_storage(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Writer(ref.FileSystemWriter):
        def set_up_storage_writer(self, is_coordinator: bool) -> None:  # type: ignore[override]
            seen.append(is_coordinator)
            super().set_up_storage_writer(is_coordinator)

    class Reader(ref.FileSystemReader):
        def set_up_storage_reader(self, metadata: Any, is_coordinator: bool) -> None:  # type: ignore[override]
            seen.append(is_coordinator)
            super().set_up_storage_reader(metadata, is_coordinator)

        def read_metadata(self) -> Any:  # type: ignore[override]
            return super().read_metadata()

    class Planner(ref.DefaultSavePlanner):
        def set_up_planner(self, state_dict: Any, is_coordinator: bool) -> None:  # type: ignore[override]
            super().set_up_planner(state_dict, None, is_coordinator)

    with pytest.warns(UserWarning, match="storage_writer"):
        ref.save({"a": 1}, Writer(tmp_path))  # type: ignore[call-arg]
    with pytest.warns(UserWarning, match="storage_meta"):
        ref.save({"a": 1}, storage_writer=Writer(tmp_path), planner=Planner())
    target = {"a": 0}
    with pytest.warns(UserWarning, match="storage_reader"):
        ref.load(target, Reader(tmp_path))  # type: ignore[call-arg]
    assert target == {"a": 1} and seen == [True] * 3
    with pytest.warns(UserWarning, match="overwriting"):
        ref.save({"a": 1}, checkpoint_id=tmp_path)


def test_usage_errors_touch_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (ref.save, ref.load):
        for kwargs in ({}, {"checkpoint_id": ""}, {"checkpoint_id": "abc://abc.abc"}):
            with pytest.raises(RuntimeError):
                call({"a": 1}, **kwargs)  # type: ignore[operator]
        for bad in (None, [1], torch.nn.Linear(1, 1)):
            assert outcome(call, bad, checkpoint_id=tmp_path / "x")["type"] == "TypeError"
    assert list(tmp_path.iterdir()) == []


def test_documented_planner_patterns(tmp_path: Path) -> None:
    class Prefix(ref.DefaultSavePlanner):
        def set_up_planner(self, state_dict: Any, storage_meta: Any = None, is_coordinator: bool = False) -> None:
            super().set_up_planner({f"foo_{k}": v for k, v in state_dict.items()}, storage_meta, is_coordinator)

    class Half(ref.DefaultSavePlanner):
        def create_local_plan(self) -> ref.SavePlan:
            plan = super().create_local_plan()
            for item in plan.items:
                if item.tensor_data is not None:
                    item.tensor_data.properties.dtype = torch.float16
            return plan

        def resolve_data(self, write_item: ref.WriteItem) -> Any:
            data: Any = super().resolve_data(write_item)
            return data if write_item.type == ref.WriteItemType.BYTE_IO else data.to(torch.float16)

    class Extra(ref.DefaultSavePlanner):
        def create_local_plan(self) -> ref.SavePlan:
            return ref.SavePlan(super().create_local_plan().items, planner_data="mine")

        def create_global_plan(self, all_plans: Any) -> Any:
            plans, metadata = super().create_global_plan(all_plans)
            metadata.planner_data = [plan.planner_data for plan in all_plans]
            return plans, metadata

    class Copying(ref.DefaultLoadPlanner):
        def resolve_tensor(self, read_item: ref.ReadItem) -> torch.Tensor:
            return torch.zeros_like(super().resolve_tensor(read_item))

        def commit_tensor(self, read_item: ref.ReadItem, tensor: torch.Tensor) -> None:
            super().resolve_tensor(read_item).copy_(tensor * 2)

    state = {"t": torch.ones(3), "o": 1}
    ref.save(state, checkpoint_id=tmp_path / "a", planner=Prefix())
    ref.save(state, checkpoint_id=tmp_path / "b", planner=Half())
    ref.save(state, checkpoint_id=tmp_path / "c", planner=Extra())
    ref.load(target := {"foo_t": torch.zeros(3), "foo_o": 0}, checkpoint_id=tmp_path / "a")
    assert target["foo_o"] == 1
    ref.load(halves := {"t": torch.zeros(3, dtype=torch.float16)}, checkpoint_id=tmp_path / "b")
    assert halves["t"].sum() == 3
    assert ref.FileSystemReader(tmp_path / "c").read_metadata().planner_data == ["mine"]
    ref.load(twice := {"t": torch.zeros(3)}, checkpoint_id=tmp_path / "c", planner=Copying())
    assert twice["t"].tolist() == [2, 2, 2]


def test_calls_are_logged_and_odd_ids_do_not_matter(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd:
        def __fspath__(self) -> str:
            return str(tmp_path)

        def __str__(self) -> str:
            raise ValueError("no text")

    with caplog.at_level(logging.INFO, "reference_impl"):
        ref.save({"a": 1}, checkpoint_id=Odd())  # type: ignore[arg-type]
        outcome(ref.load, {"zz": 1}, checkpoint_id=tmp_path)
    assert "save <unprintable" in caplog.text and "done after" in caplog.text and "failed after" in caplog.text


def test_an_object_takes_the_place_of_a_plain_tensor_and_says_so(tmp_path: Path) -> None:
    ref.save({"step": 5, "lr": 0.5}, checkpoint_id=tmp_path)
    target: dict[str, Any] = {"step": torch.zeros(()), "lr": torch.zeros(2)}
    with pytest.warns(UserWarning, match="'step' is an object in the checkpoint"):
        ref.load(target, checkpoint_id=tmp_path)
    assert target == {"step": 5, "lr": 0.5}
    with pytest.raises(ref.CheckpointException, match="'step' is an object in the checkpoint"):
        planner = ref.DefaultLoadPlanner(strict_dtypes=True)
        ref.load({"step": torch.zeros(())}, checkpoint_id=tmp_path, planner=planner)
