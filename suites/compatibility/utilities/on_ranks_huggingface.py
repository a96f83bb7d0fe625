"""Tensors in the files of HuggingFace: what the pair of that name stores, refuses, and says of shards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from dcp_conformance.harness.laws.observations import Attempt, Difference
from dcp_conformance.harness.states.compare import differences
from dcp_conformance.harness.states.layouts import Layout
from dcp_conformance.harness.states.sharding import Placer, own_groups, shards_of
from dcp_conformance.harness.states.values import blank, coded, pattern
from dcp_conformance.harness.subject.session import Session, into_subject

INDEX = "model.safetensors.index.json"


def files_by_mapping(session: Session) -> tuple[list[str], dict[str, Any], list[Difference]]:
    """Save tensors told to lie in two files; report the names of all files, the index, and what differs."""
    state = {
        "a": pattern("a", (4, 5), torch.float32), "b": pattern("b", (3,), torch.bfloat16),
        "c": pattern("c", (2, 2), torch.int64), "d": torch.tensor(True),
    }  # fmt: skip
    folder = _folder(session)
    _save(session, state, folder, fqn_to_index_mapping={"a": 1, "b": 2, "c": 1, "d": 2})
    index = Path(folder, INDEX)
    told = json.loads(index.read_text()) if index.exists() else {}
    return sorted(os.listdir(folder)), told, _loaded(session, state, folder)


def part_of_a_mapping(session: Session, mapping: dict[str, int]) -> tuple[list[str], dict[str, str], list[Difference]]:
    """Save tensors that fill some files of a mapping only; report the files' names, places, and what differs."""
    state = {key: pattern(key, (4, 5), torch.float32) for key in mapping if key in ("a", "b")}
    folder = _folder(session)
    _save(session, state, folder, fqn_to_index_mapping=mapping)
    index = Path(folder, INDEX)
    told = json.loads(index.read_text()) if index.exists() else {}
    files = [name for name in os.listdir(folder) if name.endswith(".safetensors")]
    return sorted(files), told.get("weight_map", {}), _loaded(session, state, folder)


def save_a_number(session: Session) -> Attempt:
    """Save a tensor and of a number, for which the format has no place."""
    return session.attempt(_save, session, {"a": torch.ones(2), "step": 5}, _folder(session))


def save_dtype(session: Session, dtype: str) -> tuple[Attempt, list[Difference]]:
    """Save a tensor of a dtype that the format may lack; and where it returned, what differs after a load."""
    state, folder = {"a": pattern("a", (3,), getattr(torch, dtype)), "b": torch.ones(2)}, _folder(session)
    attempt = session.attempt(_save, session, state, folder)
    return attempt, _loaded(session, state, folder) if attempt.ok else []


def transposed(session: Session) -> list[Difference]:
    """Save a matrix whose elements do not lie in memory in their order."""
    return _round_trip(session, {"a": coded(1, (3, 5), version=1).t()})


def shared(session: Session) -> list[Difference]:
    """Save two names of one tensor, as tied weights are."""
    tensor = coded(1, (3, 5), version=1)
    return _round_trip(session, {"head": tensor, "embedding": tensor})


def two_chunks_on_one_rank(session: Session) -> list[Difference]:
    """Save a tensor of which one rank holds two chunks, next to one with one; load into plain tensors."""
    whole, folder = coded(1, (4, 3), version=1), _folder(session)
    sharded = shards_of(whole, [(0, (0, 0), (2, 3)), (0, (2, 0), (2, 3))])
    _save(session, {"chunks": sharded, "plain": whole}, folder, save_distributed=True)
    return _loaded(session, {"chunks": whole, "plain": whole}, folder)


def shards_of_two_ranks(session: Session) -> tuple[dict[str, tuple[list[list[int]], list[int]]], list[Difference]]:
    """Save rows and columns on each rank; report offsets in the headers, sizes that a reader derives, differences."""
    folder = _folder(session)
    wholes = {"rows": coded(1, (5, 7), version=1), "columns": coded(2, (5, 7), version=1)}
    with own_groups():
        placer = Placer(session.device)
        layouts = {"rows": Layout("rows", (0, 1), ("S0",)), "columns": Layout("columns", (0, 1), ("S1",))}
        placed = {key: placer.placed(whole, layouts[key]) for key, whole in wholes.items()}
        _save(session, placed, folder, save_distributed=True)
        reader = into_subject(session.tool("HuggingFaceStorageReader"), folder)
        stored = into_subject(reader.read_metadata).state_dict_metadata
        told = {key: (_saved_offsets(folder, key), [int(length) for length in stored[key].size]) for key in wholes}
        return told, _loaded(session, wholes, folder)


def consolidated(session: Session, what: str, style: str) -> tuple[list[str], list[str], list[Difference]]:
    """Save by rows and put them together; report the names of files, the keys in the index, what differs."""
    state, folder = _to_consolidate(what), _folder(session)
    with own_groups():
        placer, rows = Placer(session.device), Layout("rows", (0, 1), ("S0",))
        parts = {key: placer.placed(value, rows) if value.dim() else value for key, value in state.items()}
        options = {"save_distributed": True, "enable_consolidation": True}
        mapping = {key: 1 + number % 2 for number, key in enumerate(state)}
        writer = into_subject(session.tool("HuggingFaceStorageWriter"), folder, fqn_to_index_mapping=mapping, **options)
        session.save(parts, folder, writer=writer, style=style)
        torch.distributed.barrier()
        index = Path(folder, INDEX)
        told = json.loads(index.read_text()) if index.exists() else {}
        files = [name for name in os.listdir(folder) if name.endswith(".safetensors")]
        return sorted(files), sorted(told.get("weight_map", {})), _loaded(session, state, folder)


def _to_consolidate(what: str) -> dict[str, torch.Tensor]:
    if what == "integers":
        return {"a": coded(1, (5, 3), version=1, dtype=torch.int64), "b": pattern("b", (4, 2), torch.bool)}
    if what == "scalar":
        return {"a": coded(1, (5, 3), version=1), "b": torch.tensor(3.5)}
    return {"a": coded(1, (5, 3), version=1), "b": pattern("b", (4, 2), torch.bfloat16)}


def without_a_shard(session: Session, missing: int) -> tuple[Attempt, list[Difference]]:
    """Save rows of one tensor on each rank; then load them whole while the file of one is not there."""
    whole, folder = coded(1, (5, 6), version=1), _folder(session)
    with own_groups():
        rows = Placer(session.device).placed(whole, Layout("rows", (0, 1), ("S0",)))
        _save(session, {"rows": rows}, folder, save_distributed=True)
    torch.distributed.barrier()
    if session.rank == 0:
        sorted(Path(folder).glob("*.safetensors"))[missing].unlink()
    torch.distributed.barrier()
    target = {"rows": blank(whole)}
    reader = into_subject(session.tool("HuggingFaceStorageReader"), folder)
    attempt = session.attempt(session.load, target, folder, reader=reader)
    return attempt, differences({"rows": whole}, target) if attempt.ok else []


def _save(session: Session, state: dict[str, Any], folder: str, **options: Any) -> None:
    writer = into_subject(session.tool("HuggingFaceStorageWriter"), folder, **options)
    session.save(state, folder, writer=writer)


def _loaded(session: Session, state: dict[str, Any], folder: str) -> list[Difference]:
    target = blank(state)
    reader = into_subject(session.tool("HuggingFaceStorageReader"), folder)
    session.load(target, folder, reader=reader)
    return differences(state, target)


def _round_trip(session: Session, state: dict[str, Any]) -> list[Difference]:
    folder = _folder(session)
    _save(session, state, folder)
    return _loaded(session, state, folder)


def _folder(session: Session) -> str:
    return os.path.join(session.spec.scratch, f"{session.spec.place}-huggingface")


def _saved_offsets(folder: str, key: str) -> list[list[int]]:
    """Return the offsets of `key` in the header of each file: 8 bytes of length, then JSON."""
    offsets = []
    for path in Path(folder).glob("*.safetensors"):
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        told = json.loads(header.get("__metadata__", {}).get("DCP_SHARDING_INFO", "{}"))
        offsets += [told[key]["saved_offsets"]] if key in told else []
    return sorted(offsets)
