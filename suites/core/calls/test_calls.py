"""How save and load may be called, and what they call in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import (
    Broken,
    NotApplicable,
    must,
    must_match,
    must_refuse,
    must_succeed,
)
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.core.calls import order

if TYPE_CHECKING:
    from dcp_conformance.suites.core.calls import on_ranks_calls as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.core.calls.on_ranks_calls")

NO_STORAGE = "the engine's save and load take no storage of others"
STATE = {"t": (4, 5), "u": (3,)}


@pytest.mark.clauses("API-01")
@pytest.mark.worlds(1, 2)
def test_save_returns_the_metadata_on_every_rank(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.save_and_describe)
    wanted = {**STATE, **{f"own{rank}": (2,) for rank in range(world)}}
    for rank, entries in enumerate(observed):
        found = {key: (entry.get("dtype"), entry.get("size")) for key, entry in entries.items()}
        expected = {key: ("torch.float64", size) for key, size in wanted.items()}
        must(found == expected, otherwise=f"the returned metadata says {found} instead of {expected}", rank=rank)


@pytest.mark.clauses("API-01")
@pytest.mark.parametrize("how", ("without_collectives", "no_dist"))
def test_save_of_a_rank_alone_returns_its_metadata(subject: Subject, how: str) -> None:
    for rank, found in enumerate(subject.observe(2, on_ranks.save_alone_and_describe, how, timeout=20.0)):
        entries = {key: (entry.get("dtype"), entry.get("size")) for key, entry in found.items()}
        for key, size in {**STATE, f"own{rank}": (2,)}.items():
            said = f"the returned metadata says {entries.get(key)} of {key}, which is float64 of {size}"
            must(entries.get(key) == ("torch.float64", size), otherwise=said, rank=rank)


@pytest.mark.clauses("API-02")
def test_storage_by_position_still_works_and_warns(subject: Subject) -> None:
    found = subject.alone(on_ranks.positional_storage, group=True)
    must_match([found["differences"]])
    for call in ("saving", "loading"):
        must(
            bool(found[call]),
            otherwise=f"{call} with the storage as second positional argument gave no warning",
            kind="no warning",
        )


@pytest.mark.clauses("API-03")
def test_first_store_that_knows_the_id_is_taken(subject: Subject) -> None:
    found = subject.alone(on_ranks.ids_alone)
    for kind, different in found.items():
        must_match([different], f"what was saved and loaded by a {kind} alone")


@pytest.mark.clauses("API-04")
def test_id_of_no_store_is_a_detection_error(subject: Subject) -> None:
    found = subject.alone(on_ranks.unknown_id)
    for call in ("save", "load"):
        must_refuse(found[call], f"{call} by an id that no store knows", rank=0)
        error = found[call].error
        right = error.is_a("RuntimeError") and "detect" in error.text.lower()
        must(
            right,
            otherwise=f"{call} raised {error.type_name}: {error.text[:200]!r}, no RuntimeError about detection",
            kind="other error",
        )
    must(not found["appeared"], otherwise=f"{found['appeared']} appeared in the working directory", kind="written")


@pytest.mark.clauses("API-05")
def test_storage_that_counts_as_false_is_used(subject: Subject) -> None:
    found = subject.alone(on_ranks.falsy_storage)
    must(
        found["written"],
        otherwise="save did not write through the writer that it was given, whose length is 0",
        kind="not used",
    )
    must_succeed(found["save"], "a save through a writer whose length is 0", rank=0)
    must(
        found["read"],
        otherwise="load did not read through the reader that it was given, whose length is 0",
        kind="not used",
    )
    must_succeed(found["load"], "a load through a reader whose length is 0", rank=0)
    must_match([found["differences"]])


@pytest.mark.clauses("API-06")
@pytest.mark.worlds(1, 2)
def test_call_that_names_no_place_is_refused_at_once(subject: Subject, world: int) -> None:
    for rank, found in enumerate(subject.observe(world, on_ranks.nothing_named)):
        for call in ("save", "load"):
            must_refuse(found[call], f"{call} with neither id nor storage", rank=rank)
        must(
            not found["appeared"],
            otherwise=f"{found['appeared']} appeared in the working directory",
            kind="written",
            rank=rank,
        )


@pytest.mark.clauses("API-07")
def test_id_passed_along_resets_the_storage_first(subject: Subject) -> None:
    found = subject.alone(on_ranks.id_passed_along)
    for call in ("saving", "loading"):
        first = found[call][0] if found[call] else ("nothing", "")
        wanted = first[0].endswith(".reset") and first[1] == found["id"]
        must(
            wanted,
            otherwise=f"{call} began with {first[0]}({first[1]}) instead of a reset to the id passed along",
            kind="order",
        )
    must_refuse(found["elsewhere"], "a load of the id in the constructor, where nothing should be,", rank=0)
    must_match([found["differences"]], "what was saved and loaded with an id passed along")


@pytest.mark.clauses("API-08")
def test_each_save_through_one_writer_has_its_own_save_id(subject: Subject) -> None:
    found = subject.alone(on_ranks.save_ids_of_one_writer)
    if found is None or None in found:
        raise NotApplicable("the storage gives no save ids, or one writer cannot save twice")
    must(
        found[0] != found[1],
        otherwise=f"two saves through one writer both have the save id {found[0]!r}",
        kind="same id",
    )


@pytest.mark.clauses("API-12")
def test_helpers_around_save_and_load_work(subject: Subject) -> None:
    found = subject.alone(on_ranks.convenience_wrapper)
    if found is None:
        raise NotApplicable("the engine has no _Checkpointer")
    must_succeed(found["save"], "_Checkpointer.save", rank=0)
    must_succeed(found["load"], "_Checkpointer.load", rank=0)
    must_match([found["differences"]])


@pytest.mark.clauses("API-13")
def test_without_a_process_group_one_process_saves_and_loads(subject: Subject) -> None:
    must_match(subject.observe(1, on_ranks.alone, group=False))


@pytest.mark.clauses("API-13")
def test_no_dist_needs_no_other_rank(subject: Subject) -> None:
    must_match(subject.observe(2, on_ranks.alone, "no_dist", timeout=20.0))


@pytest.mark.clauses("API-14")
@pytest.mark.worlds(1, 2)
def test_save_calls_storage_and_planner_in_order(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.save_steps, True)
    order.one_coordinator(observed, order.COORDINATOR_SAVES)
    for rank, steps in enumerate(observed):
        order.all_called(
            steps,
            ("writer.reset", "writer.set_up_storage_writer", "writer.prepare_local_plan", "writer.write_data"),
            rank=rank,
        )
        order.in_order(steps, order.SAVE_CHAINS, rank=rank)


@pytest.mark.clauses("API-14")
def test_rank_that_saves_alone_makes_all_calls_itself(subject: Subject) -> None:
    observed = subject.observe(2, on_ranks.save_steps, False)
    for rank, steps in enumerate(observed):
        order.alone_with_its_plan(steps, rank=rank)
        order.in_order(steps, order.SAVE_CHAINS, rank=rank)


@pytest.mark.clauses("API-15")
@pytest.mark.worlds(1, 2)
def test_load_calls_storage_and_planner_in_order(subject: Subject, world: int) -> None:
    observed = subject.observe(world, on_ranks.load_steps)
    order.one_coordinator(observed, order.COORDINATOR_LOADS)
    for rank, steps in enumerate(observed):
        order.all_called(
            steps,
            (
                "reader.reset",
                "reader.read_metadata",
                "reader.set_up_storage_reader",
                "reader.prepare_local_plan",
                "reader.read_data",
            ),
            rank=rank,
        )
        order.in_order(steps, order.LOAD_CHAINS, rank=rank)


@pytest.mark.clauses("API-16")
def test_storage_with_the_original_arguments_only_works(subject: Subject) -> None:
    found = subject.alone(on_ranks.storage_of_old_and_new)
    for kind in ("old", "named", "new"):
        must_match(
            [found[kind]["differences"]], f"what went through storage whose set-up methods are of the {kind} form"
        )
    surplus = found["named"]["given"]
    must(not surplus, otherwise=f"set-up methods without **kwargs were given {surplus}", kind="arguments")
    extra = [name for name in found["new"]["given"] if name.startswith("argument")]
    must(
        not extra, otherwise="set-up methods were given more positional arguments than are documented", kind="arguments"
    )


@pytest.mark.clauses("API-17")
def test_planner_without_storage_meta_works_and_is_warned_of(subject: Subject) -> None:
    found = subject.alone(on_ranks.old_planner)
    must_match([found["differences"]])
    must(bool(found["warned"]), otherwise="a planner that takes no storage_meta gave no warning", kind="no warning")


@pytest.mark.clauses("API-18")
def test_deprecated_calls_keep_their_own_rules(subject: Subject) -> None:
    for rank, found in enumerate(subject.observe(2, on_ranks.deprecated_calls)):
        if found is None:
            raise Broken("the engine exports no save_state_dict and load_state_dict", kind="missing")
        must_match([found["differences"]])
        for call in ("saving", "loading"):
            names = [name for name, _ in found[call]]
            must(
                names[0].endswith(".reset"),
                otherwise=f"{call} began with {names[0]} instead of a reset",
                kind="order",
                rank=rank,
            )
            leads = any(name.endswith(".prepare_global_plan") for name in names)
            must(
                leads == (rank == 1),
                otherwise=f"{call} did not make rank 1 the coordinator",
                kind="coordinator",
                rank=rank,
            )
        must(found["asked"] == 0, otherwise="a Stateful object was unwrapped", kind="unwrapped", rank=rank)


@pytest.mark.clauses("API-19")
def test_state_that_is_no_mapping_is_refused_untouched(subject: Subject) -> None:
    observed = subject.alone(on_ranks.not_a_mapping)
    for name, found in observed.items():
        must_refuse(found["save"], f"a save of {name}", rank=0)
        touched = [step for step, _ in found["steps"] if step not in ("writer.reset", "writer.storage_meta")]
        must(
            not touched, otherwise=f"a save of {name} called {', '.join(touched)} before it was refused", kind="touched"
        )
        must_refuse(found["load"], f"a load of the id where {name} was to be saved", rank=0)


@pytest.mark.clauses("API-23")
def test_engine_refuses_an_id_that_its_own_store_refuses(subject: Subject) -> None:
    found = subject.alone(on_ranks.own_store_refuses)
    for call in ("save", "load"):
        must_refuse(found[call], f"{call} by an id that the engine's own store does not accept", rank=0)
    must(not found["appeared"], otherwise=f"{found['appeared']} appeared in the working directory", kind="written")
