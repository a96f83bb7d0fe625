"""Damaged and hostile bytes: noticed, named, and never dearer than what is stored."""

from __future__ import annotations

import io
import pickle
import resource
import time
import warnings
import zipfile
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp

from dcp_conformance import reference_impl as ref
from dcp_conformance.reference_impl.files.metadata_pickle import parse_metadata
from dcp_conformance.reference_impl.values.objects import load_object
from tests.reference_impl.ranks import outcome, run_ranks

#: KiB of memory and seconds that refusing a few hundred bytes may take.
MEMORY, SECONDS = 64 << 10, 2.0


def torch_checkpoint(folder: Path, state: dict[str, Any]) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state, checkpoint_id=folder, no_dist=True)
    [data] = folder.glob("*.distcp")
    return data


@pytest.mark.parametrize("bit", [0, 5])
def test_no_flipped_bit_in_torchs_object_loads_as_something_else(tmp_path: Path, bit: int) -> None:
    data = torch_checkpoint(tmp_path, {"name": "adam"})
    whole = data.read_bytes()
    for place in range(len(whole)):
        data.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        found = {"name": ""}
        result = outcome(ref.load, found, checkpoint_id=tmp_path, no_dist=True)
        assert found["name"] == "adam" or "'name'" in result["text"], (place, found, result)


def test_no_flipped_bit_in_torchs_tensor_loads_as_something_else(tmp_path: Path) -> None:
    data = torch_checkpoint(tmp_path, {"t": torch.arange(6.0).view(2, 3)})
    whole = data.read_bytes()
    for place in range(len(whole)):
        data.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = {"t": torch.full((2, 3), -1.0)}
        result = outcome(ref.load, found, checkpoint_id=tmp_path, no_dist=True)
        assert found["t"].equal(torch.arange(6.0).view(2, 3)) or "'t'" in result["text"], (place, found, result)


@pytest.mark.parametrize("size", [7, 100_000])
def test_length_that_reaches_into_the_next_tensor_is_refused(tmp_path: Path, size: int) -> None:
    torch_checkpoint(tmp_path, {"a": torch.zeros(size), "b": torch.ones(size)})
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    entries = {index.fqn: (index, info) for index, info in metadata.storage_data.items()}
    (index, first), (_, second) = sorted(entries.values(), key=lambda entry: entry[1].offset)
    first.length += second.length
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    result = outcome(ref.load, {index.fqn: torch.empty(size)}, checkpoint_id=tmp_path, no_dist=True)
    assert "does not start where the entry starts" in result["text"]
    assert repr(index.fqn) in result["text"]


def test_compressed_record_is_refused_before_it_grows(tmp_path: Path) -> None:
    data = torch_checkpoint(tmp_path, {"t": torch.zeros(1 << 20)})
    packed = io.BytesIO()
    with zipfile.ZipFile(data) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for name in plain.namelist():
            small.writestr(name, plain.read(name))
    data.write_bytes(packed.getvalue())
    metadata = pickle.loads((tmp_path / ".metadata").read_bytes())
    for info in metadata.storage_data.values():
        info.length = len(packed.getvalue())
    (tmp_path / ".metadata").write_bytes(pickle.dumps(metadata))
    result = outcome(ref.load, {"t": torch.empty(1 << 20)}, checkpoint_id=tmp_path, no_dist=True)
    assert "compressed" in result["text"] and "'t'" in result["text"]


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._call = function, args

    def __reduce__(self) -> Any:
        return self._call


def nested(levels: int) -> list[Any]:
    """A list that holds one twice, which holds one twice, and so on."""
    inner: list[Any] = []
    for _ in range(levels):
        inner = [inner, inner]
    return inner


def planner_data(value: Any) -> bytes:
    return pickle.dumps(ref.Metadata({}, planner_data={"k": value}, storage_data={}))


HOSTILE = {
    "memo": b"\x80\x04Nr\x00\x00\x00\x08.",
    "set": planner_data(Calls(set, range(10**9))),
    "deque": planner_data(Calls(deque, range(10**9))),
    "size": planner_data(Calls(torch.Size, range(10**9))),
    "nested lists": planner_data(nested(60)),
    "length": b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\x00\x00.",
}
HARMLESS = ("nested lists",)


def _parse(_rank: int, data: bytes) -> tuple[str, int, float]:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    result = outcome(parse_metadata, data)
    return result["type"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.monotonic() - started


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_metadata_costs_no_more_than_it_is_long(kind: str) -> None:
    [(error, memory, seconds)] = run_ranks(1, _parse, HOSTILE[kind])
    assert error == ("" if kind in HARMLESS else "CorruptCheckpointError")
    assert memory < MEMORY
    assert seconds < SECONDS


def test_untrusted_object_is_bounded_and_runs_nothing_in_any_form_of_file(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    for value, legacy in [(Calls(set, range(10**9)), False), (Calls(open, str(ran), "w"), True)]:
        stream = io.BytesIO()
        if legacy:  # the loader of files before torch 1.6 reads several pickles, the first of them before any check
            pickle.dump(value, stream)
        else:
            torch.save(value, stream)
        stream.seek(0)
        with pytest.raises(Exception, match="'k'"):
            load_object("k", stream, trusted=False)
    assert not ran.exists()


def test_file_that_is_cut_short_during_a_load_is_an_error(tmp_path: Path) -> None:
    ref.save({"t": torch.zeros(1 << 20)}, checkpoint_id=tmp_path)
    [data] = tmp_path.glob("*.distcp")

    class Cutting(ref.DefaultLoadPlanner):
        def resolve_tensor(self, read_item: ref.ReadItem) -> torch.Tensor:
            with open(data, "r+b") as stream:
                stream.truncate(1 << 12)
            return super().resolve_tensor(read_item)

    for template in (torch.empty(1 << 20), torch.empty(1 << 20, dtype=torch.float64)):
        result = outcome(ref.load, {"t": template}, checkpoint_id=tmp_path, planner=Cutting())
        assert "CorruptCheckpointError" in result["text"]
