"""What metadata says of a checkpoint, and that it says so truly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dcp_conformance.harness.laws.verbs import Broken, NotApplicable, must, must_match, must_return, unexpected
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks

if TYPE_CHECKING:
    from dcp_conformance.suites.core.metadata import on_ranks_metadata as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.metadata.on_ranks_metadata")


@pytest.mark.clauses("META-01")
def test_each_key_is_described_as_tensor_or_bytes(subject: Subject) -> None:
    found = subject.alone(on_ranks.kinds)
    kinds = {key: entry["kind"] for key, entry in found.items()}
    wanted = {"a": "tensor", "n.b": "bytes", "n.t": "tensor"}
    differing = {key: kinds.get(key) for key, kind in wanted.items() if kinds.get(key) != kind}
    must(not differing, otherwise=f"the metadata describes {differing} where it must be {wanted}", kind="kinds")
    strange = {key: kind for key, kind in kinds.items() if kind not in ("tensor", "bytes")}
    must(not strange, otherwise=f"the metadata describes keys by {strange}", kind="kinds")


@pytest.mark.clauses("META-02")
@pytest.mark.worlds(2)
def test_values_are_described_by_kind_size_dtype_and_chunks(subject: Subject, world: int) -> None:
    wanted = {"replicated": ("tensor", "torch.float32", (4,), 1), "sharded": ("tensor", "torch.float32", (10, 10), 2)}
    for rank, found in enumerate(subject.observe(world, on_ranks.three_kinds_of_value)):
        must(
            found.get("object") == {"kind": "bytes"},
            otherwise=f"the object is described as {found.get('object')}",
            rank=rank,
        )
        for key, facts in wanted.items():
            told = found.get(key, {})
            seen = (told.get("kind"), told.get("dtype"), told.get("size"), len(told.get("chunks", ())))
            must(
                seen == facts,
                otherwise=f"{key!r} is described as {seen} instead of {facts} (kind, dtype, size, chunks)",
                rank=rank,
            )


@pytest.mark.clauses("META-03")
@pytest.mark.worlds(2)
def test_tensor_of_one_rank_is_described_by_its_shards_alone(subject: Subject, world: int) -> None:
    wanted = {"kind": "tensor", "dtype": "torch.float64", "size": (4, 4), "chunks": [((0, 0), (4, 4))]}
    for rank, found in enumerate(subject.observe(world, on_ranks.shards_of_last_rank)):
        must(
            found.get("s") == wanted,
            otherwise=f"the tensor is described as {found.get('s')} instead of {wanted}",
            rank=rank,
        )


@pytest.mark.clauses("META-04")
def test_metadata_classes_need_their_original_fields_only(subject: Subject) -> None:
    found = subject.alone(on_ranks.classes_from_required_fields)
    must(not found, otherwise=f"it cannot be built from its original fields: {'; '.join(found)}", kind="fields")


@pytest.mark.clauses("META-05")
def test_indices_are_equal_by_name_and_offset(subject: Subject) -> None:
    found = subject.alone(on_ranks.index_equalities)
    wrong = [name for name, right in found.items() if not right]
    must(
        not wrong,
        otherwise=f"indices that differ by {', '.join(wrong)} do not compare or hash as they must",
        kind="equality",
    )


@pytest.mark.clauses("META-06")
def test_lookup_finds_the_shard_or_raises(subject: Subject) -> None:
    observed = subject.alone(on_ranks.lookups, group=True)
    for how, different in observed["found"].items():
        must_match([different], f"a look-up {how}")
    for how, attempt in observed["refused"].items():
        if attempt.error is None:
            raise Broken(f"a look-up {how} returned something", kind="not refused")
        if not attempt.error.is_a("ValueError"):
            raise unexpected(attempt.error, 0)


@pytest.mark.clauses("META-07")
def test_metadata_read_by_another_process_says_what_was_committed(subject: Subject) -> None:
    wanted = subject.alone(on_ranks.committed, group=False)
    # With a process group it is another world, and so another process.
    found = subject.alone(on_ranks.read_back, group=True)
    for key in {**wanted, **found}:
        must(
            found.get(key) == wanted.get(key),
            otherwise=f"of {key!r} it says {found.get(key)}; committed was {wanted.get(key)}",
            kind="changed",
        )


@pytest.mark.clauses("META-08")
@pytest.mark.worlds(1, 2)
def test_every_piece_has_one_storage_entry(subject: Subject, world: int) -> None:
    for rank, found in enumerate(subject.observe(world, on_ranks.storage_entries, group=True)):
        one_entry_each(found, rank=rank)


@pytest.mark.clauses("META-08")
def test_every_piece_has_one_storage_entry_although_a_thread_failed(subject: Subject) -> None:
    outcomes = subject.run(1, on_ranks.entries_after_a_failed_thread)
    [found] = must_return(outcomes)
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
    right = subject.alone(on_ranks.pickled_properties, memory_format)
    must(
        right,
        otherwise=f"tensor properties with the memory format {memory_format} are others after pickling",
        kind="changed",
    )


@pytest.mark.clauses("META-10")
def test_storage_metadata_names_checkpoint_save_and_load(subject: Subject) -> None:
    found = subject.alone(on_ranks.identities)
    stored = [told or {} for told in found["stored"]]
    for told, name in zip(stored, found["names"], strict=False):
        must(
            name in (told.get("id") or ""), otherwise=f"the checkpoint {name!r} is named {told.get('id')!r}", kind="id"
        )
    saves, loads = [told.get("save") for told in stored], [told.get("load") for told in stored]
    must(
        None not in saves and saves[0] != saves[1], otherwise=f"two saves have the save ids {saves[:2]}", kind="save id"
    )
    must(
        saves[0] == saves[2], otherwise=f"one save was read with the save ids {saves[0]} and {saves[2]}", kind="save id"
    )
    must(
        None not in loads and len(set(loads)) == 3, otherwise=f"three readers gave the load ids {loads}", kind="load id"
    )
    kept = [told["load"] for told in found["returned"] if told is not None and told["load"] is not None]
    must(not kept, otherwise=f"a load id was stored by a save: {kept}", kind="load id")


@pytest.mark.clauses("META-12")
@pytest.mark.worlds(1, 2)
def test_planner_gets_its_own_data_back(subject: Subject, world: int) -> None:
    for rank, found in enumerate(subject.observe(world, on_ranks.planner_data)):
        if found is None:
            raise NotApplicable("save and load take no planner")
        must(
            found["got"] == found["put"],
            otherwise=f"the planner got {found['got']} back, and had put {found['put']}",
            rank=rank,
        )
        must_match([found["differences"]])


@pytest.mark.clauses("META-13")
def test_keys_sizes_and_dtypes_are_listed_without_data(subject: Subject) -> None:
    observed = subject.alone(on_ranks.listed)
    wanted = {"a": ("torch.float64", (4, 5)), "b": ("torch.float32", (3,))}
    for when, found in observed.items():
        told = {key: (entry.get("dtype"), entry.get("size")) for key, entry in found.items()}
        must(told == wanted, otherwise=f"{when}, the metadata lists {told} instead of {wanted}", kind="listing")


@pytest.mark.clauses("LOG-07")
def test_planner_is_given_save_id_and_load_id(subject: Subject) -> None:
    found = subject.alone(on_ranks.logged_ids)
    if found is None:
        raise NotApplicable("the backend supplies no storage metadata")
    for call in ("save", "load"):
        must(
            bool((found[call] or {}).get(call)),
            otherwise=f"the {call} planner was given no {call} id: {found[call]}",
            kind="no id",
        )


def one_entry_each(found: dict[str, Any], *, rank: int) -> None:
    """Broken unless storage entries and described pieces are the same, each once."""
    described, stored = found["described"], found["stored"]
    missing = [piece for piece in described if stored.count(piece) != 1]
    must(
        not missing,
        otherwise=f"{missing[:1]} is described and has {stored.count(missing[0]) if missing else 1} storage entries",
        kind="entries",
        rank=rank,
    )
    extra = [piece for piece in stored if piece not in described]
    must(
        not extra,
        otherwise=f"there is a storage entry for {extra[:1]}, which is not described",
        kind="entries",
        rank=rank,
    )
