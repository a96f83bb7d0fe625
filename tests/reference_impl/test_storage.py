"""Files: the commit protocol, what is removed and what never is, damage, and hostile files."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.files import checksum, local_files
from dcp_conformance.reference_impl.storage import filesystem_reader
from tests.reference_impl.ranks import outcome


def state(value: float, count: int = 3) -> dict[str, Any]:
    return {f"t{i}": torch.full((5 + i,), float(value)) for i in range(count)} | {"o": value}


def blank(count: int = 3) -> dict[str, Any]:
    return {f"t{i}": torch.full((5 + i,), -1.0) for i in range(count)} | {"o": -1.0}


def held(folder: Path, count: int = 3) -> float | str:
    """The one value that a checkpoint holds everywhere, or why it does not load."""
    loaded = blank(count)
    result = outcome(ref.load, loaded, checkpoint_id=folder)
    if result["type"]:
        return str(result["text"])
    values = {x for v in loaded.values() for x in (v.tolist() if isinstance(v, torch.Tensor) else [v])}
    assert len(values) == 1, f"a mixture: {loaded}"
    return float(values.pop())


class Calls:
    """Records the calls that change files, and fails the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fail_at: int = -1) -> None:
        self.seen: list[tuple[str, str]] = []
        self.fail_at = fail_at
        for name in ("fsync", "replace", "unlink", "makedirs"):
            self._wrap(monkeypatch, name)
        real_open = open

        def watched_open(path: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            if "x" in mode:
                self.note("create", str(path))
            return real_open(path, mode, *args, **kwargs)

        monkeypatch.setattr(local_files, "open", watched_open, raising=False)

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        real = getattr(os, name)

        def watched(target: Any, *args: Any, **kwargs: Any) -> Any:
            path = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else str(target)
            self.note(name, path)
            return real(target, *args, **kwargs)

        monkeypatch.setattr(local_files.os, name, watched)

    def note(self, name: str, path: str) -> None:
        self.seen.append((name, os.path.basename(path)))
        if len(self.seen) - 1 == self.fail_at:
            raise OSError(5, "injected", path)


def test_the_order_of_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ref.save(state(1), checkpoint_id=tmp_path / "c")
    with monkeypatch.context() as patch:
        calls = Calls(patch)
        ref.save(state(2), checkpoint_id=tmp_path / "c")
    kinds = [(name, "data" if path.endswith(".distcp") else "meta" if "metadata" in path else "dir")
             for name, path in calls.seen if name != "makedirs"]  # fmt: skip
    assert kinds == [
        ("create", "data"), ("fsync", "data"), ("fsync", "dir"),
        ("create", "meta"), ("fsync", "meta"), ("replace", "meta"), ("fsync", "dir"),
        ("unlink", "data"),
    ]  # fmt: skip


def test_synced_sizes_are_final_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: dict[str, int] = {}
    real = os.fsync

    def watched(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if os.path.isfile(path):
            sizes[os.path.basename(path)] = os.fstat(descriptor).st_size
        real(descriptor)

    monkeypatch.setattr(local_files.os, "fsync", watched)
    ref.save(state(1), checkpoint_id=tmp_path)
    final = sorted(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(sizes.values()) == final


@pytest.mark.parametrize("point", range(11))
def test_an_overwrite_that_fails_anywhere_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: int
) -> None:
    ref.save(state(1), checkpoint_id=tmp_path / "c")
    with monkeypatch.context() as patch:
        calls = Calls(patch, fail_at=point)
        result = outcome(ref.save, state(2), checkpoint_id=tmp_path / "c")
    reached = len(calls.seen) > point
    value = held(tmp_path / "c")
    assert value in (1.0, 2.0)
    assert (value == 2.0) if not result["type"] else True
    if not reached:
        assert value == 2.0
    ref.save(state(3), checkpoint_id=tmp_path / "c")
    assert held(tmp_path / "c") == 3.0 and len(os.listdir(tmp_path / "c")) == 2


def test_other_files_are_never_removed(tmp_path: Path) -> None:
    mine = ["notes.txt", "x.distcp", "__a_0.distcp", ".metadata.bak", "__0_0.distcp.orig", "model.pt"]
    for name in mine:
        (tmp_path / name).write_text("keep")
    (tmp_path / "__7_7.distcp").mkdir()
    dcp.save(state(1), checkpoint_id=tmp_path)
    (tmp_path / "__5_0.distcp").write_text("left by an earlier save of torch with more ranks")
    ref.save(state(2), checkpoint_id=tmp_path)
    left = set(os.listdir(tmp_path))
    assert set(mine) | {"__7_7.distcp"} <= left and held(tmp_path) == 2.0
    data = left - set(mine) - {"__7_7.distcp", ".metadata"}
    assert len(data) == 1 and data.pop().startswith("__0_0.")


def test_refusing_to_overwrite_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    ref.save(state(1), checkpoint_id=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = outcome(ref.save, state(2), storage_writer=ref.FileSystemWriter(tmp_path, overwrite=False))
    assert "exists" in result["text"]
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_an_uncommitted_save_does_not_count(tmp_path: Path) -> None:
    class Dying(ref.FileSystemWriter):
        def finish(self, metadata: Any, results: Any) -> None:
            raise OSError("power cut")

        def discard(self) -> None:
            """As if the process had died."""

    assert outcome(ref.save, state(1, 9), storage_writer=Dying(tmp_path))["type"]
    assert "no checkpoint" in str(held(tmp_path))
    ref.save(state(2), storage_writer=ref.FileSystemWriter(tmp_path, overwrite=False))
    assert held(tmp_path) == 2.0 and len(os.listdir(tmp_path)) == 2


def test_two_saves_to_one_id_at_once(tmp_path: Path) -> None:
    barrier = threading.Barrier(2)

    class Meeting(ref.DefaultSavePlanner):
        def finish_plan(self, new_plan: ref.SavePlan) -> ref.SavePlan:
            barrier.wait(5)
            return super().finish_plan(new_plan)

    for _ in range(6):
        results: dict[float, dict[str, Any]] = {}

        def save_one(value: float, results: dict[float, dict[str, Any]] = results) -> None:
            results[value] = outcome(ref.save, state(value), checkpoint_id=tmp_path / "c", planner=Meeting())

        threads = [threading.Thread(target=save_one, args=(value,)) for value in (1.0, 2.0)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = held(tmp_path / "c")
        assert [v for v, r in results.items() if not r["type"]] == [winner]
        assert "another save" in next(r["text"] for r in results.values() if r["type"])


def test_an_error_in_any_thread_fails_the_save(tmp_path: Path) -> None:
    for bad in range(8):

        class Failing(ref.DefaultSavePlanner):
            def resolve_data(self, write_item: ref.WriteItem, bad: int = bad) -> Any:
                time.sleep(0.002)
                if write_item.index.fqn == f"t{bad}":
                    raise OSError(28, "disk full")
                return super().resolve_data(write_item)

        writer = ref.FileSystemWriter(tmp_path / str(bad), thread_count=4)
        result = outcome(ref.save, state(1, 8), storage_writer=writer, planner=Failing())
        assert result["failures"][0][0] == "OSError" and "disk full" in result["text"]
        assert os.listdir(tmp_path / str(bad)) == []


def test_a_writer_that_loses_results_is_noticed(tmp_path: Path) -> None:
    class Losing(dcp.FileSystemWriter):
        def write_data(self, plan: Any, planner: Any) -> Any:
            future = super().write_data(plan, planner)
            future.value().pop()
            return future

    assert "missing" in outcome(ref.save, state(1), storage_writer=Losing(tmp_path))["text"]


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [8, 200_000])
def test_every_kind_of_flipped_bit_is_found(tmp_path: Path, count: int) -> None:
    value = torch.arange(float(count))
    ref.save({"a": value, "k": {"z": 3}}, checkpoint_id=tmp_path)
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        step = max(1, len(raw) // 150)
        for place in range(0, len(raw), step):
            damaged = bytearray(raw)
            damaged[place] ^= 1 << (place % 8)
            path.write_bytes(damaged)
            loaded = {"a": torch.zeros(count), "k": {"z": 0}}
            assert outcome(ref.load, loaded, checkpoint_id=tmp_path)["type"], f"bit in byte {place} of {path.name}"
        path.write_bytes(raw)


def test_every_cut_is_found(tmp_path: Path) -> None:
    ref.save({"a": torch.arange(8.0), "k": 1}, checkpoint_id=tmp_path)
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        for length in (0, 1, len(raw) // 3, len(raw) // 2, len(raw) - 1):
            path.write_bytes(raw[:length])
            assert outcome(ref.load, {"a": torch.zeros(8), "k": 0}, checkpoint_id=tmp_path)["type"]
        path.unlink()
        text = outcome(ref.load, {"a": torch.zeros(8), "k": 0}, checkpoint_id=tmp_path)["text"]
        assert path.name in text and tmp_path.name in text
        path.write_bytes(raw)


def test_a_flipped_bit_in_torchs_own_checkpoint_is_found(tmp_path: Path) -> None:
    for count in (1000, 200_000):
        value = torch.arange(float(count))
        dcp.save({"a": value}, checkpoint_id=tmp_path / str(count))
        path = tmp_path / str(count) / "__0_0.distcp"
        raw = bytearray(path.read_bytes())
        raw[raw.find(value[500].numpy().tobytes()) + 2] ^= 0x10
        path.write_bytes(raw)
        result = outcome(ref.load, {"a": torch.zeros(count)}, checkpoint_id=tmp_path / str(count))
        assert "damaged" in result["text"]


def edit(folder: Path, change: Any) -> None:
    """Change the metadata as somebody without this package would."""
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    change(metadata)
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


@pytest.mark.parametrize("crc", [True, False])
def test_the_checksum_is_the_plain_crc_of_name_and_bytes(tmp_path: Path, crc: bool) -> None:
    state = {
        "large": torch.randn(300, 1001),
        "half": torch.randn(300, 1000)[:, ::2],
        "t": torch.ones(3),
        "o": b"x" * 2**21,
    }
    torch.serialization.set_crc32_options(crc)
    try:
        metadata = ref.save(state, checkpoint_id=tmp_path)
    finally:
        torch.serialization.set_crc32_options(True)
    for index, info in metadata.storage_data.items():
        data = (tmp_path / info.relative_path).read_bytes()[info.offset : info.offset + info.length]
        assert checksum.stored(info) == zlib.crc32(data, checksum.seed(index)), index.fqn
    assert checksum.combine(zlib.crc32(b"ab"), zlib.crc32(b"cde"), 3) == zlib.crc32(b"abcde")


def test_swapped_entries_and_files_are_found(tmp_path: Path) -> None:
    def swap(metadata: Any) -> None:
        one, two = metadata.storage_data
        data = metadata.storage_data
        data[one], data[two] = data[two], data[one]

    for name, value in (("a", 1.0), ("b", 2.0)):
        ref.save({"x": torch.full((4,), value), "y": torch.full((4,), value + 5)}, checkpoint_id=tmp_path / name)
    edit(tmp_path / "a", swap)
    template = {"x": torch.zeros(4), "y": torch.zeros(4)}
    assert "belongs to something else" in outcome(ref.load, template, checkpoint_id=tmp_path / "a")["text"]
    edit(tmp_path / "a", swap)
    ref.load(template, checkpoint_id=tmp_path / "a")
    files = [next(path for path in (tmp_path / n).iterdir() if path.suffix == ".distcp") for n in ("a", "b")]
    shutil.copy(files[1], files[0])
    assert outcome(ref.load, template, checkpoint_id=tmp_path / "a")["type"]


def test_renamed_files_and_shifted_entries_load(tmp_path: Path) -> None:
    ref.save(state(4), checkpoint_id=tmp_path)

    def move(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.relative_path, info.offset = "renamed", info.offset + 7

    data = next(path for path in tmp_path.iterdir() if path.suffix == ".distcp")
    (tmp_path / "renamed").write_bytes(b"padding" + data.read_bytes() + b"more")
    data.unlink()
    edit(tmp_path, move)
    assert held(tmp_path) == 4.0


@pytest.mark.parametrize(("field", "value"), [("length", 2**40), ("length", -1), ("offset", -1), ("offset", 10**6)])
def test_impossible_ranges_are_refused_before_memory_is_taken(tmp_path: Path, field: str, value: int) -> None:
    ref.save(state(1), checkpoint_id=tmp_path)
    edit(tmp_path, lambda metadata: [setattr(info, field, value) for info in metadata.storage_data.values()])
    result = outcome(ref.load, blank(), checkpoint_id=tmp_path)
    assert result["failures"][0][0] == "CorruptCheckpointError" and "outside of the file" in result["text"]


def test_paths_cannot_leave_the_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    ref.save(state(1), checkpoint_id=folder)
    data = next(path for path in folder.iterdir() if path.suffix == ".distcp")
    data.rename(tmp_path / "outside")
    (folder / "link").symlink_to(tmp_path / "outside")
    for path in ("../outside", str(tmp_path / "outside"), "link"):
        edit(folder, lambda md, path=path: [setattr(i, "relative_path", path) for i in md.storage_data.values()])
        assert "lies outside" in outcome(ref.load, blank(), checkpoint_id=folder)["text"]


class Evil:
    """A pickle of it creates a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (self.path, "w"))


def test_metadata_runs_nothing(tmp_path: Path) -> None:
    ref.save(state(1), checkpoint_id=tmp_path)
    witness = tmp_path / "witness"
    raw = (tmp_path / ".metadata").read_bytes()
    metadata = pickle.loads(raw)
    metadata.planner_data["evil"] = Evil(str(witness))
    for content in (pickle.dumps(Evil(str(witness))), pickle.dumps(metadata)):
        (tmp_path / ".metadata").write_bytes(content)
        assert "does not belong" in outcome(ref.load, blank(), checkpoint_id=tmp_path)["text"]
    assert not witness.exists()


def test_tensor_entries_run_nothing(tmp_path: Path) -> None:
    ref.save({"t": torch.ones(4)}, checkpoint_id=tmp_path)
    buffer, witness = io.BytesIO(), tmp_path / "witness"
    torch.save(Evil(str(witness)), buffer)
    (tmp_path / "evil").write_bytes(buffer.getvalue())

    def substitute(metadata: Any) -> None:
        for info in metadata.storage_data.values():
            info.relative_path, info.offset, info.length = "evil", 0, len(buffer.getvalue())
            del info.checksum

    edit(tmp_path, substitute)
    assert outcome(ref.load, {"t": torch.zeros(4)}, checkpoint_id=tmp_path)["type"] and not witness.exists()


def test_metadata_that_could_not_be_read_back_is_refused_at_save(tmp_path: Path) -> None:
    class Odd(ref.DefaultSavePlanner):
        def create_global_plan(self, all_plans: Any) -> Any:
            plans, metadata = super().create_global_plan(all_plans)
            metadata.planner_data["x"] = Path("odd") if self.good else Evil("x")
            return plans, metadata

        good = False

    assert "safe reader" in outcome(ref.save, state(1), checkpoint_id=tmp_path, planner=Odd())["text"]
    assert os.listdir(tmp_path) == []


def test_unknown_versions_are_refused(tmp_path: Path) -> None:
    ref.save(state(1), checkpoint_id=tmp_path)
    edit(tmp_path, lambda metadata: setattr(metadata, "version", "99.0"))
    assert "99.0" in outcome(ref.load, blank(), checkpoint_id=tmp_path)["text"]


def test_loading_changes_nothing_and_needs_no_write_access(tmp_path: Path) -> None:
    ref.save(state(1), checkpoint_id=tmp_path / "c")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "c").iterdir()}
    held(tmp_path / "c")
    outcome(ref.load, {"zz": 1}, checkpoint_id=tmp_path / "c")
    outcome(ref.load, {"zz": 1}, checkpoint_id=tmp_path / "mistyped")
    assert before == {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "c").iterdir()}
    assert not (tmp_path / "mistyped").exists()


# -- ids and use of the objects --------------------------------------------------------------------------------------


def test_all_spellings_name_one_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    spellings = {"rel": "rel", "slash": f"{tmp_path}/slash/", "double": f"{tmp_path}//double", "up": "./x/../up",
                 "a #?%20 \u00e9": Path("a #?%20 \u00e9"), "~": "~", "real/in": "link/in"}  # fmt: skip
    for number, (plain, spelling) in enumerate(spellings.items()):
        ref.save(state(number), checkpoint_id=spelling)
        assert held(tmp_path / plain) == number


def test_a_relative_id_means_the_place_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)

    class Late(ref.DefaultSavePlanner):
        def create_local_plan(self) -> ref.SavePlan:
            time.sleep(0.2)
            return super().create_local_plan()

    future: Any = ref.async_save(state(3), checkpoint_id="rel", planner=Late())
    monkeypatch.chdir(tmp_path / "other")
    future.result(10)
    assert held(tmp_path / "rel") == 3.0


def test_validation_never_raises_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for cls in (ref.FileSystemWriter, ref.FileSystemReader):
        for odd in ("", " ", "rel", "abc://x", tmp_path, tmp_path / "file", "x\0y", str(tmp_path / "new")):
            assert cls.validate_checkpoint_id(odd) in (True, False)
        assert not cls.validate_checkpoint_id("abc://x") and not cls.validate_checkpoint_id("/")
        assert cls.validate_checkpoint_id(str(tmp_path / "a" / "b"))
    assert os.listdir(tmp_path) == ["file"]
    assert "file" in outcome(ref.save, state(1), checkpoint_id=tmp_path / "file")["text"]
    assert "thread_count" in outcome(ref.FileSystemWriter, tmp_path, thread_count=0)["text"]


def test_every_save_has_its_own_id_and_objects_can_be_used_again(tmp_path: Path) -> None:
    writer, reader = ref.FileSystemWriter(tmp_path), ref.FileSystemReader(tmp_path)
    copies: Any = pickle.loads(pickle.dumps((writer, reader)))
    ids = set()
    for number, (w, r) in enumerate([(writer, reader), (writer, reader), copies]):
        metadata = ref.save(state(number), storage_writer=w)
        assert metadata.storage_meta is not None
        ids.add(metadata.storage_meta.save_id)
        loaded = blank()
        ref.load(loaded, storage_reader=r)
        assert loaded["o"] == number
    assert len(ids) == 3


def test_an_explicit_writer_is_used_whatever_its_truth_value(tmp_path: Path) -> None:
    class Sized(ref.FileSystemWriter):
        def __len__(self) -> int:
            return 0

    ref.save(state(1), storage_writer=Sized(tmp_path / "a"), checkpoint_id=tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"]


def test_a_small_part_of_a_large_entry_takes_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = torch.arange(4_000_000.0).reshape(2000, 2000)
    ref.save({"t": value}, checkpoint_id=tmp_path)
    read = [0]
    real = local_files.LocalBlob.read_into

    def counted(self: Any, target: memoryview, offset: int) -> None:
        read[0] += len(target)
        real(self, target, offset)

    monkeypatch.setattr(filesystem_reader.EntryReader, "_payload", lambda *_: pytest.fail("the whole chunk was read"))
    monkeypatch.setattr(local_files.LocalBlob, "read_into", counted)
    chunks = [ref.ChunkStorageMetadata(torch.Size([i, 0]), torch.Size([1, 2000])) for i in (3, 1999)]

    class Rows(ref.DefaultLoadPlanner):
        def create_local_plan(self) -> ref.LoadPlan:
            from dcp_conformance.reference_impl.values.read_items import tensor_read_items

            entry: Any = self.metadata.state_dict_metadata["t"]  # type: ignore[union-attr]
            return ref.LoadPlan(tensor_read_items("t", entry, chunks))

        def resolve_tensor(self, read_item: ref.ReadItem) -> torch.Tensor:
            return rows[read_item.dest_index.index or 0]

    rows = [torch.zeros(1, 2000), torch.zeros(1, 2000)]
    ref.load({}, checkpoint_id=tmp_path, planner=Rows())
    assert torch.equal(rows[0][0], value[3]) and torch.equal(rows[1][0], value[1999])
    assert read[0] < 1.1 * value.nbytes
