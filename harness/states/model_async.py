"""The model of saves in the background: what is staged, and what happens while it is stored."""

from __future__ import annotations

from dcp_conformance.harness.states.model import BESIDE, CLASHES, KEY, MEMORY, OBJECT, SHAPE
from dcp_conformance.harness.states.varied import Factor, Model, factor


def _some(whole: Factor, *names: str) -> Factor:
    """Only these values of a factor."""
    return Factor(name=whole.name, values=tuple(value for value in whole.values if value.name in names))


IN_BACKGROUND = Model(
    factors=(
        factor(
            "dtype",
            ("float32", "none: the dtype that everybody tries"),
            ("int64", "narrowed where it is staged"),
            ("bfloat16", "numpy has no such type"),
            ("bool", "a mask that is staged by reference"),
        ),
        _some(SHAPE, "line", "scalar", "empty", "square", "odd", "large"),
        _some(MEMORY, "own", "slice", "parameter", "tied", "transposed", "expanded", "shared", "with its transpose"),
        _some(BESIDE, "alone", "twins", "other dtypes", "nine", "many"),
        _some(KEY, "words", "dotted", "nested", "list"),
        _some(OBJECT, "none", "list", "nested", "bytes", "stateful", "two statefuls"),
        factor(
            "how",
            ("at once", "none: the caller waits"),
            ("changed", "training goes on: values are stored as they are when they are stored"),
            ("two at once", "a second save begins before the first is done: one buffer for a shape, a name, a dtype"),
            ("again", "the next save of the same training: kept buffers, cached plans"),
            ("over another", "an overwrite of the checkpoint before"),
        ),
        factor(
            "stager",
            ("none given", "none: the engine makes its own"),
            ("one for all", "buffers of a stager that are still in use"),
        ),
        factor("style", ("constructor", "none"), ("passed", "the id is passed along: reset() comes too late")),
    ),
    clashes=CLASHES,
)
