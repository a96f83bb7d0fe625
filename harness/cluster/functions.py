"""Functions travel to ranks by name, `module:qualname`, never by pickle: lambdas and closures are refused early."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcp_conformance.harness.errors import UsageError


@dataclass(frozen=True)
class FunctionName:
    """Where a rank finds a function: a module by name or, where no folder of sys.path has it, by file."""

    module: str
    qualname: str
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.module}:{self.qualname}"

    @property
    def package(self) -> str:
        """The top-level package, whose classes may travel back in values."""
        return self.module.partition(".")[0]


def name_of(function: Callable[..., Any] | str) -> FunctionName:
    """Return the name under which ranks will find the function.

    Raises:
        UsageError: it is not a module-level function, or not spelled `module:qualname`.
    """
    if isinstance(function, str):
        module, colon, qualname = function.partition(":")
        if not (module and colon and qualname):
            raise UsageError(f"{function!r} does not name a function for ranks: write it as 'module:qualname'.")
        return FunctionName(module, qualname, _file_of(module))
    module = getattr(function, "__module__", None) or ""
    qualname = getattr(function, "__qualname__", None) or ""
    # `<lambda>` and `<locals>` stand in the qualname of what no import can find.
    if not module or not qualname or "<" in qualname:
        raise UsageError(
            f"{function!r} cannot run on ranks: they find a function by its name, so it must be defined at the top "
            "level of a module (no lambda, closure, partial or object). Pass what it closes over as arguments."
        )
    if module == "__main__":
        raise UsageError(
            f"{qualname} cannot run on ranks: it is defined in the main program, which ranks do not import. "
            "Move it into a module of its own."
        )
    # By identity: a name that leads to another function would run that one on the ranks, in silence.
    if _look_up(sys.modules.get(module), qualname) is not function:
        raise UsageError(
            f"{module}:{qualname} cannot run on ranks: that name is bound to something else "
            "(a decorator without functools.wraps, or a method of an instance?)."
        )
    return FunctionName(module, qualname, _file_of(module))


def resolve(name: FunctionName) -> Callable[..., Any]:
    """Import the function, on a rank.

    Raises:
        LookupError: the module is there, the function is not.
        ImportError: the module cannot be imported, by name nor from its file.
    """
    module = sys.modules.get(name.module) or _import(name)
    function = _look_up(module, name.qualname)
    if not callable(function):
        raise LookupError(f"module {name.module} has no function {name.qualname}")
    return function  # type: ignore[no-any-return]


def _import(name: FunctionName) -> Any:
    try:
        return importlib.import_module(name.module)
    except ModuleNotFoundError as error:
        # Only the module itself may be missing: a broken import inside it must be reported as what it is.
        missing = error.name or ""
        if name.file is None or not (name.module == missing or name.module.startswith(missing + ".")):
            raise
    # pytest puts the folder of a test module on its own sys.path only.
    spec = importlib.util.spec_from_file_location(name.module, name.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"module {name.module} cannot be imported from {name.file}")
    module = importlib.util.module_from_spec(spec)
    # Before it runs, as the import system does: dataclasses and pickles of the module look it up there.
    sys.modules[name.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        # Half a module must not be found by the next run.
        del sys.modules[name.module]
        raise
    return module


def _file_of(module: str) -> str | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file if isinstance(file, str) else None


def _look_up(module: Any, qualname: str) -> Any:
    found = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found
