"""Bugs of engines in what they hand back to the caller's containers and Stateful objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

from dcp_conformance import reference_impl
from dcp_conformance.reference_impl.values import stateful_tree
from tests.mutants.making import engine


def _below(container: Any) -> Iterator[Any]:
    """The items of a container, of lists within it the first one only."""
    for item in container.values() if isinstance(container, Mapping) else container[:1]:
        yield item
        if isinstance(item, Mapping | list):
            yield from _below(item)


def _first_is_stateful(container: Any) -> bool:
    return any(stateful_tree.is_stateful(item) for item in _below(container))


def _save_by_the_first(state_dict: Any, **options: Any) -> Any:
    with mock.patch.object(stateful_tree, "_holds_stateful", _first_is_stateful):
        return reference_impl.save(state_dict, **options)


def _load_by_the_first(state_dict: Any, **options: Any) -> None:
    with mock.patch.object(stateful_tree, "_holds_stateful", _first_is_stateful):
        reference_impl.load(state_dict, **options)


def _merged(container: Any) -> Any:
    """A mapping with a Stateful object somewhere in it, as a plain dict of its own."""
    if isinstance(container, Mapping) and stateful_tree._holds_stateful(container):
        return {key: _merged(item) for key, item in container.items()}
    return container


def _load_merging(state_dict: Any, **options: Any) -> None:
    """Fills copies of mappings that hold Stateful objects, and assigns them."""
    copied = {key: _merged(value) for key, value in state_dict.items()}
    for key, value in copied.items():
        if value is not state_dict[key]:
            state_dict[key] = value
    reference_impl.load(state_dict, **options)


class _Nothing(Exception):
    """There is nothing to read."""


class _Early(reference_impl.DefaultLoadPlanner):
    """Asks to leave where a partial load finds nothing of what it could load."""

    def finish_plan(self, central_plan: Any) -> Any:
        if self.allow_partial_load and not central_plan.items:
            raise _Nothing
        return super().finish_plan(central_plan)


def _load_early(state_dict: Any, **options: Any) -> None:
    options["planner"] = options.get("planner") or _Early()
    try:
        reference_impl.load(state_dict, **options)
    except reference_impl.CheckpointException as error:
        if not any(isinstance(one, _Nothing) for one in _causes(error)):
            raise


def _causes(error: Any) -> list[Any]:
    return [one[0] if isinstance(one, tuple) else one for one in error.failures.values()]


looks_at_the_first_of_a_list = engine(breaks=["INPL-06"], save=_save_by_the_first, load=_load_by_the_first)
merges_into_new_mappings = engine(breaks=["INPL-02"], load=_load_merging)
leaves_when_there_is_nothing_to_read = engine(
    breaks=["INPL-05"],
    load=_load_early,
    utilities={"DefaultSavePlanner": reference_impl.DefaultSavePlanner, "DefaultLoadPlanner": _Early},
)
