"""The HuggingFace pair keeps all tensors that it accepts, and refuses what it cannot keep."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from dcp_conformance.harness.laws.verbs import Untestable, mentions, must, must_match, must_refuse
from dcp_conformance.harness.subject.subject import Subject, module_on_ranks
from dcp_conformance.suites.compatibility.files.reach import NO_SAFETENSORS, with_safetensors

if TYPE_CHECKING:
    from dcp_conformance.suites.compatibility.utilities import on_ranks_huggingface as on_ranks
else:
    on_ranks = module_on_ranks("dcp_conformance.suites.compatibility.utilities.on_ranks_huggingface")


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
NAME = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")
INDEX = "model.safetensors.index.json"
TOTAL_SIZE = 4 * 20 + 2 * 3 + 8 * 4 + 1


@pytest.mark.clauses("HF-01")
def test_tensors_come_back_from_the_usual_files(subject: Subject) -> None:
    [(files, index, unlike)] = with_safetensors(subject.run(1, on_ranks.files_by_mapping))
    must({FIRST, SECOND, INDEX} <= set(files), otherwise=f"it wrote the files {files}", kind="file names")
    places = {"a": FIRST, "b": SECOND, "c": FIRST, "d": SECOND}
    must(index.get("weight_map") == places, otherwise=f"the index places {index.get('weight_map')}", kind="weight map")
    size = index.get("metadata", {}).get("total_size")
    must(
        size == TOTAL_SIZE, otherwise=f"the index tells {size} bytes in all; there are {TOTAL_SIZE}", kind="total size"
    )
    must_match([unlike])


@pytest.mark.clauses("HF-01")
@pytest.mark.parametrize("mapping", [{"a": 1, "b": 3}, {"b": 2}, {"a": 1, "b": 2, "c": 3}], ids=["gap", "late", "more"])
def test_file_names_count_up_to_their_total(subject: Subject, mapping: dict[str, int]) -> None:
    [(files, places, unlike)] = with_safetensors(subject.run(1, on_ranks.part_of_a_mapping, mapping))
    numbers = [match.groups() for match in map(NAME.fullmatch, files) if match is not None]
    sound = len(numbers) == len(files) and all("00001" <= number <= total for number, total in numbers)
    must(
        sound and len({total for _, total in numbers}) == 1, otherwise=f"it wrote the files {files}", kind="file names"
    )
    must(
        set(places.values()) <= set(files),
        otherwise=f"the index places {places} in the files {files}",
        kind="weight map",
    )
    must_match([unlike])


@pytest.mark.clauses("HF-02")
def test_number_is_refused(subject: Subject) -> None:
    [attempt] = with_safetensors(subject.run(1, on_ranks.save_a_number))
    if attempt.error is not None and mentions(attempt.error, NO_SAFETENSORS):
        raise Untestable("the package safetensors, which the HuggingFace files need, is not installed")
    must_refuse(attempt, "saving a number in HuggingFace files", rank=0)


@pytest.mark.clauses("HF-02")
@pytest.mark.parametrize("dtype", ["complex64", "complex128", "float8_e4m3fn", "uint16"])
def test_dtype_is_refused_or_comes_back(subject: Subject, dtype: str) -> None:
    [(attempt, unlike)] = with_safetensors(subject.run(1, on_ranks.save_dtype, dtype))
    if attempt.ok:
        must_match([unlike], f"what a save of {dtype} left")
    elif mentions(attempt.error, NO_SAFETENSORS):
        raise Untestable("the package safetensors, which the HuggingFace files need, is not installed")


@pytest.mark.clauses("HF-03")
def test_transposed_tensor_is_stored(subject: Subject) -> None:
    must_match(with_safetensors(subject.run(1, on_ranks.transposed)))


@pytest.mark.clauses("HF-04")
def test_tensors_that_share_memory_are_stored(subject: Subject) -> None:
    must_match(with_safetensors(subject.run(1, on_ranks.shared)))


@pytest.mark.clauses("HF-05")
def test_all_chunks_of_a_rank_are_stored(subject: Subject) -> None:
    must_match(with_safetensors(subject.run(1, on_ranks.two_chunks_on_one_rank, group=True)))


@pytest.mark.clauses("HF-06")
def test_shards_carry_offsets_that_tell_the_full_size(subject: Subject) -> None:
    values = with_safetensors(subject.run(2, on_ranks.shards_of_two_ranks))
    for rank, (told, _) in enumerate(values):
        for key, second in (("rows", [3, 0]), ("columns", [0, 4])):
            offsets, size = told[key]
            must(
                offsets == [[0, 0], second], otherwise=f"the headers of the files tell the offsets {offsets}", rank=rank
            )
            must(
                size == [5, 7],
                otherwise=f"its reader derives the size {size} instead of [5, 7]",
                kind="size",
                rank=rank,
            )
    must_match([unlike for _, unlike in values])


@pytest.mark.clauses("HF-08")
@pytest.mark.parametrize(
    ("what", "style"),
    [("floats", "constructor"), ("integers", "constructor"), ("scalar", "constructor"), ("floats", "passed")],
    ids=["floats", "integers", "scalar", "id passed"],
)
def test_consolidated_files_hold_whole_tensors(subject: Subject, what: str, style: str) -> None:
    values = with_safetensors(subject.run(2, on_ranks.consolidated, what, style))
    for rank, (files, keys, _) in enumerate(values):
        # A shard beside them is read as one more piece by readers that take every file of a folder, as torch's does.
        must(files == [FIRST, SECOND], otherwise=f"it left the files {files}", kind="file names", rank=rank)
        must(keys == ["a", "b"], otherwise=f"its index lists {keys} instead of 'a' and 'b'", kind="index", rank=rank)
    must_match([unlike for _, _, unlike in values])


@pytest.mark.clauses("HF-09")
@pytest.mark.parametrize("missing", [0, 1], ids=["first", "last"])
def test_missing_shard_is_noticed(subject: Subject, missing: int) -> None:
    values = with_safetensors(subject.run(2, on_ranks.without_a_shard, missing))
    for rank, (attempt, unlike) in enumerate(values):
        lost = f" ({unlike[0].sentence()})" if unlike else ""
        must_refuse(attempt, f"loading a tensor of which a file is missing{lost}", rank=rank)
