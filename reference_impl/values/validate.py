"""Whether the plans of all ranks together describe a checkpoint: checked before any data is written."""

from __future__ import annotations

from collections.abc import Iterable

from dcp_conformance.reference_impl.interchange import (
    Metadata,
    MetadataIndex,
    SavePlan,
    TensorStorageMetadata,
    WriteItem,
)
from dcp_conformance.reference_impl.values.boxes import first_self_overlap, in_bounds, volume

#: A message names this many problems at most.
_SHOWN = 10


def agreement_errors(plans: list[SavePlan]) -> list[str]:
    """Return the names that ranks use for different things: tensor and object, other sizes, other dtypes."""
    first: dict[str, tuple[int, WriteItem]] = {}
    errors: list[str] = []
    for rank, plan in enumerate(plans):
        for item in plan.items:
            known_rank, known = first.setdefault(item.index.fqn, (rank, item))
            difference = _difference(known, item)
            if difference:
                errors.append(f"{item.index.fqn!r} is {difference[0]} on rank {known_rank}, {difference[1]} on {rank}")
    return [*errors, *_clashing_chunks(plans)]


def _clashing_chunks(plans: list[SavePlan]) -> Iterable[str]:
    """Parts that start at the same place and differ in size: they overlap, and one would be dropped as a duplicate."""
    sizes: dict[MetadataIndex, tuple[int, ...]] = {}
    for item in (item for plan in plans for item in plan.items if item.tensor_data is not None):
        size = tuple(item.tensor_data.chunk.sizes) if item.tensor_data is not None else ()
        if volume(size) and sizes.setdefault(item.index, size) != size:
            yield f"{item.index.fqn!r} has overlapping chunks of sizes {sizes[item.index]} and {size} at one offset"


def _difference(a: WriteItem, b: WriteItem) -> tuple[str, str] | None:
    if (a.tensor_data is None) != (b.tensor_data is None):
        return ("an object", "a tensor") if a.tensor_data is None else ("a tensor", "an object")
    if a.tensor_data is None or b.tensor_data is None:
        return None
    if a.tensor_data.size != b.tensor_data.size:
        return f"of size {tuple(a.tensor_data.size)}", f"of size {tuple(b.tensor_data.size)}"
    if a.tensor_data.properties.dtype != b.tensor_data.properties.dtype:
        return f"of {a.tensor_data.properties.dtype}", f"of {b.tensor_data.properties.dtype}"
    return None


def coverage_errors(metadata: Metadata, *, allow_incomplete: bool) -> list[str]:
    """Chunks that leave their tensor, overlap each other or do not fill it.

    ``allow_incomplete`` is for ranks that save alone (``use_collectives=False``) and hold parts only.
    """
    errors: list[str] = []
    for name, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            errors.extend(_tensor_errors(name, entry, allow_incomplete))
    return errors


def _tensor_errors(name: str, entry: TensorStorageMetadata, allow_incomplete: bool) -> Iterable[str]:
    outside = [chunk for chunk in entry.chunks if not in_bounds(entry.size, chunk)]
    if outside:
        yield f"{name!r} of size {tuple(entry.size)} has a chunk out of bounds: {outside[0]}"
        return
    pair = first_self_overlap(entry.chunks)
    if pair is not None:
        yield f"{name!r} of size {tuple(entry.size)} has overlapping chunks"
        return
    held, whole = sum(volume(chunk.sizes) for chunk in entry.chunks), volume(entry.size)
    if held != whole and not allow_incomplete:
        yield f"{name!r} is not filled: its chunks hold {held} of {whole} elements"


def raise_if(errors: list[str]) -> None:
    """Raise ValueError with the first problems, if there are any."""
    if errors:
        more = f"; and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
        raise ValueError("the global plan is not valid: " + "; ".join(errors[:_SHOWN]) + more)
