"""What metadata says of a checkpoint, and that it says so truly."""

from __future__ import annotations

from typing import Any

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, holds, returned, same, unexpected
from dcp_conformance.harness.subject.subject import Subject, scenarios

on_ranks = scenarios("dcp_conformance.suites.core.metadata.on_ranks_metadata")


@pytest.mark.clauses("META-01")
def test_each_key_is_described_as_tensor_or_bytes(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.kinds))
    kinds = {key: entry["kind"] for key, entry in found.items()}
    wanted = {"a": "tensor", "n.b": "bytes", "n.t": "tensor"}
    differing = {key: kinds.get(key) for key, kind in wanted.items() if kinds.get(key) != kind}
    holds(not differing, f"the metadata describes {differing} where it must be {wanted}", kind="kinds")
    strange = {key: kind for key, kind in kinds.items() if kind not in ("tensor", "bytes")}
    holds(not strange, f"the metadata describes keys by {strange}", kind="kinds")


@pytest.mark.clauses("META-02")
@pytest.mark.worlds(2)
def test_values_are_described_by_kind_size_dtype_and_chunks(subject: Subject, world: int) -> None:
    wanted = {"replicated": ("tensor", "torch.float32", (4,), 1), "sharded": ("tensor", "torch.float32", (10, 10), 2)}
    for rank, found in enumerate(returned(subject.run(world, on_ranks.three_kinds_of_value))):
        holds(found.get("object") == {"kind": "bytes"}, f"the object is described as {found.get('object')}", rank=rank)
        for key, facts in wanted.items():
            told = found.get(key, {})
            seen = (told.get("kind"), told.get("dtype"), told.get("size"), len(told.get("chunks", ())))
            holds(
                seen == facts,
                f"{key!r} is described as {seen} instead of {facts} (kind, dtype, size, chunks)",
                rank=rank,
            )


@pytest.mark.clauses("META-03")
@pytest.mark.worlds(2)
def test_tensor_of_one_rank_is_described_by_its_shards_alone(subject: Subject, world: int) -> None:
    wanted = {"kind": "tensor", "dtype": "torch.float64", "size": (4, 4), "chunks": [((0, 0), (4, 4))]}
    for rank, found in enumerate(returned(subject.run(world, on_ranks.shards_of_last_rank))):
        holds(found.get("s") == wanted, f"the tensor is described as {found.get('s')} instead of {wanted}", rank=rank)


@pytest.mark.clauses("META-04")
def test_metadata_classes_need_their_original_fields_only(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.classes_from_required_fields))
    holds(not found, f"it cannot be built from its original fields: {'; '.join(found)}", kind="fields")


@pytest.mark.clauses("META-05")
def test_indices_are_equal_by_name_and_offset(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.index_equalities))
    wrong = [name for name, right in found.items() if not right]
    holds(not wrong, f"indices that differ by {', '.join(wrong)} do not compare or hash as they must", kind="equality")


@pytest.mark.clauses("META-06")
def test_lookup_finds_the_shard_or_raises(subject: Subject) -> None:
    [observed] = returned(subject.run(1, on_ranks.lookups, group=True))
    for how, different in observed["found"].items():
        same([different], f"a look-up {how}")
    for how, attempt in observed["refused"].items():
        if attempt.error is None:
            raise Broken(f"a look-up {how} returned something", kind="not refused")
        if not attempt.error.is_a("ValueError"):
            raise unexpected(attempt.error, 0)


@pytest.mark.clauses("META-07")
def test_metadata_read_by_another_process_says_what_was_committed(subject: Subject) -> None:
    [wanted] = returned(subject.run(1, on_ranks.committed, group=False))
    # With a process group it is another world, and so another process.
    [found] = returned(subject.run(1, on_ranks.read_back, group=True))
    for key in {**wanted, **found}:
        holds(
            found.get(key) == wanted.get(key),
            f"of {key!r} it says {found.get(key)}; committed was {wanted.get(key)}",
            kind="changed",
        )


@pytest.mark.clauses("META-08")
@pytest.mark.worlds(1, 2)
def test_every_piece_has_one_storage_entry(subject: Subject, world: int) -> None:
    for rank, found in enumerate(returned(subject.run(world, on_ranks.storage_entries, group=True))):
        one_entry_each(found, rank=rank)


@pytest.mark.clauses("META-08")
def test_every_piece_has_one_storage_entry_although_a_thread_failed(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.entries_after_a_failed_thread)
    [found] = returned(outcomes)
    if isinstance(found, str):
        raise NotApplicable(found)
    if found is None:
        return
    if not any(event.kind == "fault" for event in outcomes[0].events):
        raise NotApplicable("no item was written by a spare thread")
    one_entry_each(found, rank=0)


@pytest.mark.clauses("META-09")
@pytest.mark.parametrize("memory_format", ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format"))
def test_tensor_properties_survive_pickling(subject: Subject, memory_format: str) -> None:
    [right] = returned(subject.run(1, on_ranks.pickled_properties, memory_format))
    holds(right, f"tensor properties with the memory format {memory_format} are others after pickling", kind="changed")


@pytest.mark.clauses("META-10")
def test_storage_metadata_names_checkpoint_save_and_load(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.identities))
    if found is None:
        raise NotApplicable("the backend supplies no storage metadata")
    stored = [told or {} for told in found["stored"]]
    for told, name in zip(stored, found["names"], strict=False):
        holds(name in (told.get("id") or ""), f"the checkpoint {name!r} is named {told.get('id')!r}", kind="id")
    saves, loads = [told.get("save") for told in stored], [told.get("load") for told in stored]
    holds(None not in saves and saves[0] != saves[1], f"two saves have the save ids {saves[:2]}", kind="save id")
    holds(saves[0] == saves[2], f"one save was read with the save ids {saves[0]} and {saves[2]}", kind="save id")
    holds(None not in loads and len(set(loads)) == 3, f"three readers gave the load ids {loads}", kind="load id")
    kept = [told["load"] for told in found["returned"] if told is not None and told["load"] is not None]
    holds(not kept, f"a load id was stored by a save: {kept}", kind="load id")


@pytest.mark.clauses("META-12")
@pytest.mark.worlds(1, 2)
def test_planner_gets_its_own_data_back(subject: Subject, world: int) -> None:
    for rank, found in enumerate(returned(subject.run(world, on_ranks.planner_data))):
        if found is None:
            raise NotApplicable("save and load take no planner")
        holds(
            found["got"] == found["put"], f"the planner got {found['got']} back, and had put {found['put']}", rank=rank
        )
        same([found["differences"]])


@pytest.mark.clauses("META-13")
def test_keys_sizes_and_dtypes_are_listed_without_data(subject: Subject) -> None:
    [observed] = returned(subject.run(1, on_ranks.listed))
    wanted = {"a": ("torch.float64", (4, 5)), "b": ("torch.float32", (3,))}
    for when, found in observed.items():
        told = {key: (entry.get("dtype"), entry.get("size")) for key, entry in found.items()}
        holds(told == wanted, f"{when}, the metadata lists {told} instead of {wanted}", kind="listing")


@pytest.mark.clauses("LOG-07")
def test_planner_is_given_save_id_and_load_id(subject: Subject) -> None:
    [found] = returned(subject.run(1, on_ranks.logged_ids))
    if found is None:
        raise NotApplicable("the backend supplies no storage metadata")
    for call in ("save", "load"):
        holds(
            bool((found[call] or {}).get(call)),
            f"the {call} planner was given no {call} id: {found[call]}",
            kind="no id",
        )


def one_entry_each(found: dict[str, Any], *, rank: int) -> None:
    """Broken unless storage entries and described pieces are the same, each once."""
    described, stored = found["described"], found["stored"]
    missing = [piece for piece in described if stored.count(piece) != 1]
    holds(
        not missing,
        f"{missing[:1]} is described and has {stored.count(missing[0]) if missing else 1} storage entries",
        kind="entries",
        rank=rank,
    )
    extra = [piece for piece in stored if piece not in described]
    holds(not extra, f"there is a storage entry for {extra[:1]}, which is not described", kind="entries", rank=rank)
