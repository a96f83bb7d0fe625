"""What evidence hangs on, guarded on the rank: functions that must stay what they are, values that must stay right.

The code under test shares a process with the code that compares. What it replaces there is noticed after each run, by
the identity of functions and of their code; values that were found right are looked at again after a settling time,
when anything is left that could change them. It cannot see what native code does to the interpreter itself.
"""

from __future__ import annotations

import builtins
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

OURS = ("dcp_conformance.harness.", "dcp_conformance.suites.")
_COMPARING = (
    "equal", "detach", "contiguous", "reshape", "view", "any", "all", "nonzero", "numel", "dim", "item", "tolist",
    "cpu", "resolve_conj", "resolve_neg", "__ne__", "__eq__", "__getitem__", "__xor__", "__bool__", "__int__", "clone",
    "data_ptr",
)  # fmt: skip
_MOST_LOOKS = 256
_FULL = 8  # as many replaced functions as are told

#: What a value has become, as half a sentence; "" while it is what it was, or where it is backed by a file.
Look = Callable[["Mapped"], str]


@dataclass(frozen=True)
class _Sealed:
    """A name that must stay bound to an object, and the code that this must have."""

    owner: Any
    name: str
    bound: Any
    code: Any

    def holds(self) -> bool:
        # `vars` sees what the class itself holds; methods of torch's C base can only be reached by attribute.
        found = vars(self.owner).get(self.name) if self.code is not None else getattr(self.owner, self.name, None)
        # The code as well: a function whose `__code__` was exchanged is still the same function.
        return found is self.bound and getattr(found, "__code__", self.code) is self.code

    def told(self) -> str:
        place = getattr(self.owner, "__module__", None)
        return ".".join(filter(None, (place, self.owner.__name__, self.name)))


class _Here:
    """State of this process."""

    sealed: list[_Sealed] = []
    modules: set[str] = set()
    looks: list[Look] = []
    false: set[str] = set()  # comparisons that were seen to find nothing where there is something
    hooks: tuple[Any, Any] = (None, None)  # trace and profile function of the main thread


def seal() -> None:
    """Take the functions of our modules, of torch's comparisons and the builtins as they are now for what they must be.

    Called before the code under test is imported, and again when modules of ours have been imported since.
    """
    if not _Here.modules:
        # Not `_`, which Python's prompt and gettext bind anew.
        _Here.sealed += [_Sealed(builtins, name, found, None) for name, found in vars(builtins).items() if name != "_"]
    if "torch" in sys.modules and "torch" not in _Here.modules:
        _Here.modules.add("torch")
        _Here.sealed += list(_of_torch(sys.modules["torch"]))
    for name in [name for name in sys.modules if name.startswith(OURS) and name not in _Here.modules]:
        _Here.modules.add(name)
        _Here.sealed += list(_functions_of(sys.modules[name]))


def replaced() -> tuple[str, ...]:
    """Return the names of sealed functions that are not what they were, some of them if they are many."""
    found = [*sorted(_Here.false), *(sealed.told() for sealed in _Here.sealed if not sealed.holds())]
    _Here.false.clear()
    return tuple(found[:_FULL])


def weigh(comparison: Callable[..., Any], finds: bool) -> None:
    """Note whether a comparison found the difference that it was just given to find.

    What it stands on may have been replaced where no name shows it: a mode of torch's, a kernel, native code.
    """
    if _hooks() != _Here.hooks:
        _Here.false.add("a trace or profile function of the interpreter")
    # The comparison was given two values that differ: who finds them equal would pass any load.
    if not finds:
        _Here.false.add(f"{comparison.__module__}.{comparison.__qualname__} (it finds unequal values equal)")


def remember(look: Look) -> None:
    """Remember a value that was found right: `look` tells, later, what it has become."""
    # Each look reads its value again, so their number is bounded; what comes after is not looked at twice.
    if len(_Here.looks) < _MOST_LOOKS:
        _Here.looks.append(look)


def begin() -> None:
    """Begin a run."""
    forget()
    _Here.hooks = _hooks()


def _hooks() -> tuple[Any, Any]:
    return sys.gettrace(), sys.getprofile()


def forget() -> None:
    """Forget all values: nothing is left that could change them, or another run begins."""
    _Here.looks.clear()


def settle() -> None:
    """Keep the values that a scenario, which is over and has left something, did not change itself."""
    mapped = Mapped()
    # Scenarios may lawfully use a loaded state up; what they have changed by their own end is no evidence.
    _Here.looks[:] = [look for look in _Here.looks if not look(mapped)]


def is_watching() -> bool:
    """Tell whether there are values to be looked at again."""
    return bool(_Here.looks)


def changed() -> tuple[str, ...]:
    """Return what became of values that were right when the scenario was over, as half sentences."""
    mapped = Mapped()
    found = [said for look in _Here.looks if (said := look(mapped))]
    forget()
    return tuple(found[:_FULL])


class Mapped:
    """Which memory of this process is backed by files: who changes or cuts such a file changes values lawfully."""

    @functools.cached_property
    def _ranges(self) -> list[tuple[int, int]]:
        found = []
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            span, *_rest, inode = line.split(maxsplit=5)[:5]
            # Anonymous memory has inode 0.
            if inode != "0":
                start, _, end = span.partition("-")
                found.append((int(start, 16), int(end, 16)))
        return found

    def holds(self, address: int) -> bool:
        """Tell whether the byte at this address comes from a file."""
        return any(start <= address < end for start, end in self._ranges)


def _of_torch(torch: Any) -> Iterator[_Sealed]:
    for name in _COMPARING:
        if hasattr(torch.Tensor, name):
            yield _Sealed(torch.Tensor, name, getattr(torch.Tensor, name), None)
    yield _Sealed(torch, "equal", torch.equal, None)  # torch rebinds others itself when they are first used


def _functions_of(module: ModuleType) -> Iterator[_Sealed]:
    for name, found in vars(module).items():
        if isinstance(found, FunctionType):
            yield _Sealed(module, name, found, found.__code__)
        elif isinstance(found, type) and found.__module__ == module.__name__:
            yield from (
                _Sealed(found, method, item, item.__code__)
                for method, item in vars(found).items()
                if isinstance(item, FunctionType)
            )
