"""Ways into the engine under test beside save, load and async_save: deprecated calls, planners, kinds of async_save."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.planner import faulty_planner
from dcp_conformance.harness.faults.storage import announce
from dcp_conformance.harness.subject.session import Session, into_subject


def deprecated(session: Session, name: str) -> Callable[..., Any] | None:
    """`save_state_dict` or `load_state_dict` of the engine, ready to be called; None where it has none."""
    found = session.engine.utilities.get(name)
    if found is None:
        module = importlib.import_module(session.spec.engine.reference.partition(":")[0])
        # The deprecated names need not be among a record's utilities: then the module that was named has them.
        found = getattr(module, name, None)
    if found is None:
        return None
    announce("call", owner=session.engine_owner, part="E", name=name)
    return lambda *args, **kwargs: into_subject(found, *args, **kwargs)


def call_as_is(session: Session, call: str, state: Any, **arguments: Any) -> Any:
    """Call the engine with these arguments and no others: no id, no storage."""
    session.needs_arguments(call, arguments)
    if "checkpoint_id" not in arguments and not session.may_leave_out(call, "checkpoint_id"):
        session.excuse(f"its {call} cannot be called without an id")
    announce("call", owner=session.function_owner(call), part="E", name=call)
    return into_subject(getattr(session.engine, call), state, **arguments)


def planner(session: Session, kind: str, *, faults: tuple[Fault, ...] = ()) -> Any:
    """Return the default planner for `kind` ("Save" or "Load"), with faults."""
    made = into_subject(session.tool(f"Default{kind}Planner"))
    return faulty_planner(made, rank=session.rank, faults=faults)


def checkpointer(session: Session, name: str) -> Any:
    """Return the engine's way `name` ("THREAD", "PROCESS") of saving in the background.

    None where it knows no such way.
    """
    if session.engine.async_save is None:
        return None
    parameter = inspect.signature(session.engine.async_save).parameters.get("async_checkpointer_type")
    # The enum is taken from the default: an engine of its own may bring its own enum, and torch's would not be in it.
    return getattr(type(parameter.default), name, None) if parameter is not None else None
