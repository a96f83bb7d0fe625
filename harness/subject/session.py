"""What a scenario holds on a rank: the storage and the engine under test, and fresh checkpoint ids.

Every call into code under test goes through `into_subject` or a storage tap. Its frame in a traceback tells an error of
the backend from an error of the scenario itself, which is the harness's and never the backend's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import importlib
import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import torch

from dcp_conformance.harness.backend.record import Backend, Blobs
from dcp_conformance.harness.backend.resolve import resolve
from dcp_conformance.harness.backend.torch_homes import torch_tool
from dcp_conformance.harness.backend.witness import Witness
from dcp_conformance.harness.cluster import guard
from dcp_conformance.harness.cluster import rank as on_rank
from dcp_conformance.harness.cluster.exceptions import record
from dcp_conformance.harness.contract import FUNCTIONS
from dcp_conformance.harness.faults.fault import Fault
from dcp_conformance.harness.faults.storage import announce, observed_reader, observed_writer
from dcp_conformance.harness.laws.observations import Attempt
from dcp_conformance.harness.subject.confirmed import Confirmed
from dcp_conformance.harness.subject.planners import GIVEN
from dcp_conformance.harness.subject.spec import GIVEN_BY_CHECK, TORCH_ENGINE, Part, SubjectSpec
from dcp_conformance.harness.subject.suited import unsuited

TORCH = Part(reference=TORCH_ENGINE)
OWN_STORE = "its engine has a store of its own, whose steps nobody outside can look at or make fail"


class Excused(Exception):
    """A scenario ended because its clause does not bind this backend; harness.laws.verbs knows the name."""


class GaveUp(Exception):
    """A scenario ended because its check cannot be made here; harness.laws.verbs knows the name."""


class Session:
    """The subject on one rank. Its methods are what scenarios may do with a backend."""

    def __init__(self, spec: SubjectSpec) -> None:
        self.spec = spec
        self._witness = Witness()
        self._confirmed: list[Confirmed] = []
        info = on_rank.current()
        self.rank, self.world_size, self.device = info.rank, info.world_size, info.device
        self.storage: Backend = _resolved(spec.storage, spec.folder)
        own = _resolved(spec.engine, spec.folder)
        # Kept before completing: afterwards it cannot be told which of save, load and async_save are the backend's.
        self._own_functions = own.functions
        self.engine: Backend = own.completed(_resolved(TORCH, spec.folder))

    def new_id(self, name: str = "checkpoint") -> Any:
        """Return a checkpoint id that no other case has; the same on every rank that asks for the same name."""
        checkpoint_id = into_subject(self.storage.new_checkpoint_id, self.spec.scratch, f"{self.spec.place}-{name}")
        announce("id", name=name, id=str(checkpoint_id))
        return checkpoint_id

    def writer(
        self, checkpoint_id: Any, *, faults: tuple[Fault, ...] = (), rank: int | None = None, **options: Any
    ) -> Any:
        """Return the backend's writer for an id, tapped; `rank`: what faults go by, where it is not the global rank."""
        if self.storage.writer is None:
            self.excuse(OWN_STORE)
        inner = into_subject(self.storage.writer, checkpoint_id, **options)
        return observed_writer(inner, rank=self._fault_rank(rank), owner=self.storage_owner, faults=faults)

    def reader(
        self, checkpoint_id: Any, *, faults: tuple[Fault, ...] = (), rank: int | None = None, **options: Any
    ) -> Any:
        """Return the backend's reader for an id, tapped; see `writer`."""
        if self.storage.reader is None:
            self.excuse(OWN_STORE)
        inner = into_subject(self.storage.reader, checkpoint_id, **options)
        return observed_reader(inner, rank=self._fault_rank(rank), owner=self.storage_owner, faults=faults)

    def save(self, state: Any, checkpoint_id: Any, **arguments: Any) -> Any:
        """Save through the engine under test. `writer` or `faults` replace the default; `style`: one of STYLES."""
        return self._engine_call("save", state, self._save_arguments("save", checkpoint_id, arguments))

    def save_and_describe(self, state: Any, checkpoint_id: Any, **arguments: Any) -> Any:
        """As `save`, for a scenario that looks at the Metadata: an engine that returns none shows none to anybody."""
        metadata = self.save(state, checkpoint_id, **arguments)
        if metadata is None:
            self.excuse("its save returns no Metadata to look at; whether it should is API-01's")
        return metadata

    def async_save(self, state: Any, checkpoint_id: Any, **arguments: Any) -> Any:
        """As `save`, through async_save; returns what the engine returns (a future, or a pair of futures)."""
        return self._engine_call("async_save", state, self._save_arguments("async_save", checkpoint_id, arguments))

    def load(self, state: Any, checkpoint_id: Any, **arguments: Any) -> Any:
        """Load into `state` through the engine under test. `reader` or `faults` replace the default reader."""
        return self._engine_call("load", state, self._load_arguments(checkpoint_id, arguments))

    def attempt(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Attempt:
        """Call `function` and keep as data how it ended, whatever it raised; its value is not kept."""
        began, error = time.monotonic(), None
        try:
            function(*args, **kwargs)
        # BaseException below would take them for an outcome of the call.
        except (Excused, GaveUp):
            raise  # the scenario's own end, which is no outcome of the call
        except BaseException as raised:  # CheckpointException is no Exception, and a scenario must outlive any of them
            error = record(raised)
        return Attempt(error, time.monotonic() - began)

    def excuse(self, reason: str) -> NoReturn:
        """End the scenario: its clause makes a condition that is not met here. The case is not applicable."""
        raise Excused(reason)

    def give_up(self, reason: str) -> NoReturn:
        """End the scenario: what it needs is not to be had here. The case is untestable, which is no verdict."""
        raise GaveUp(reason)

    def needs(self, capability: str) -> None:
        """End the scenario, as not applicable, where the storage opted out of a capability."""
        if capability in self.storage.unsupported:
            self.excuse(f"it opted out of {capability}: {self.storage.unsupported[capability]}")

    def suited(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return the part of a flat state that the storage can be asked to save, by what it opted out of."""
        unsupported = self.storage.unsupported
        return {key: value for key, value in state.items() if unsuited({key: value}, unsupported) is None}

    def stored_bytes(self, checkpoint_id: Any) -> Blobs:
        """Return the stored objects of a checkpoint, past the backend; out of reach, the scenario ends."""
        self.needs("stored_bytes")
        announce("call", owner=self.storage_owner, part="S", name="blobs")
        try:
            blobs = None if self.storage.blobs is None else self.storage.blobs(checkpoint_id)
        except LookupError as error:
            self.give_up(f"the stored bytes cannot be reached: {error}")
        if blobs is None or not into_subject(blobs.names):
            self.give_up("the stored bytes cannot be reached: the record gives no access to them")
        confirmed = Confirmed.where_possible(blobs, checkpoint_id, self._witness)
        if confirmed is None:
            return blobs
        self._confirmed.append(confirmed)
        return confirmed

    @contextlib.contextmanager
    def damage_confirmed(self) -> Iterator[None]:
        """End the scenario, at its end, where damage to stored bytes was not done: nothing follows from its outcome."""
        try:
            yield
        finally:
            self._witness.close()
        lie = next((item.lie for item in self._confirmed if item.lie), "")
        if lie:
            self.give_up(lie)

    def new_group(self, timeout: float, ranks: list[int] | None = None) -> Any:
        """Return a process group of `ranks` (default: all) whose collectives give up after `timeout` seconds."""
        return torch.distributed.new_group(ranks, timeout=datetime.timedelta(seconds=timeout), backend="gloo")

    def stager(self) -> Any:
        """Make the engine's default stager, so that a writer which is a stager is not measured; the caller closes it.

        None where the engine has none that it exports: then its async_save stages by itself.
        """
        # torch's stager under a foreign engine would test a combination that nobody ships.
        if "DefaultStager" not in self.engine.utilities and self.spec.engine.reference != TORCH_ENGINE:
            return None
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        kind = self.engine.utilities.get("DefaultStager", DefaultStager)
        options = self.engine.utilities.get("StagingOptions", StagingOptions)
        return kind(
            options(
                use_pinned_memory=False, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=False
            )
        )

    def blobs(self, checkpoint_id: Any) -> Blobs | None:
        """Return the stored bytes of a checkpoint, past the backend; None where they cannot be reached."""
        announce("call", owner=self.storage_owner, part="S", name="blobs")
        try:
            return None if self.storage.blobs is None else self.storage.blobs(checkpoint_id)
        except LookupError:  # how a record says that it has none; `stored_bytes` says why
            return None

    def tool(self, name: str) -> Any:
        """Return a planner or utility by torch's name: the subject's own where it supplies one, else torch's."""
        # A backend without an engine may supply them too, beside its storage.
        held = [(self.storage, self.storage_owner), (self.engine, self.engine_owner)]
        held = [(part, owner) for part, owner in held if name in part.utilities]
        # Planners and utilities share this door, and which letter a clause counts as use is not known here: both do.
        for part in ("P", "U"):
            announce("call", owner=held[0][1] if held else TORCH_ENGINE, part=part, name=name)
        return held[0][0].utilities[name] if held else GIVEN.get(name) or torch_tool(name)

    def takes(self, call: str, parameter: str) -> bool:
        """Tell whether the engine's save, load or async_save has this parameter.

        An engine need not take a planner, say.
        """
        return takes(getattr(self.engine, call), parameter)

    def may_leave_out(self, call: str, parameter: str) -> bool:
        """Tell whether the engine's save, load or async_save can be called without this parameter."""
        return not demands(getattr(self.engine, call), parameter)

    def needs_arguments(self, call: str, arguments: Iterable[str]) -> None:
        """End the scenario, as not applicable, where the engine's signature has no room for an argument of DCP's."""
        lacking = [name for name in arguments if not self.takes(call, name)]
        if lacking:
            self.excuse(f"its {call} takes no {' and no '.join(lacking)}, so nothing is claimed about it")

    @property
    def drives_storage(self) -> bool:
        """Whether the engine works through the storage pair: one with a store of its own shows no plans to anybody."""
        pair = self.storage.writer is not None and self.storage.reader is not None
        return pair and self.takes("save", "storage_writer") and self.takes("load", "storage_reader")

    @property
    def storage_owner(self) -> str:
        """How events name the storage."""
        return self.spec.owner(self.spec.storage)

    @property
    def engine_owner(self) -> str:
        """How events name the engine."""
        return self.spec.owner(self.spec.engine)

    def function_owner(self, name: str) -> str:
        """Say how events name the supplier of save, load or async_save: those not exported are torch's."""
        return self.engine_owner if name not in FUNCTIONS or name in self._own_functions else TORCH_ENGINE

    def _needs_of(self, call: str, state: Any, arguments: dict[str, Any]) -> None:
        """Look at what a call asks of the storage: a check that forgot to ask for a capability is no alarm."""
        if call == "async_save":
            self.needs("async_save")
        if arguments.get("use_collectives") is False:
            self.needs("rank_local_metadata")
        lacking = unsuited(state, self.storage.unsupported) if call != "load" else None
        if lacking is not None:
            self.excuse(f"it opted out of {lacking[0]}, and {lacking[1]}")

    def _fault_rank(self, rank: int | None) -> int:
        return self.rank if rank is None else rank

    def _save_arguments(self, call: str, checkpoint_id: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        faults, writer = arguments.pop("faults", ()), arguments.pop("writer", None)
        # An engine without that parameter stores by itself: giving it the pair would be an error of the caller's.
        if self.storage.writer is not None and takes(getattr(self.engine, call), "storage_writer"):
            arguments["storage_writer"] = self.writer(checkpoint_id, faults=faults) if writer is None else writer
        elif faults or writer is not None:
            self.excuse(OWN_STORE)
        # The dict stands for "not given": a scenario passes None to mean that this engine has no stager to be given.
        if arguments.get("async_stager", arguments) is None:
            del arguments["async_stager"]
        return self._styled(checkpoint_id, "storage_writer", arguments)

    def _load_arguments(self, checkpoint_id: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        faults, reader = arguments.pop("faults", ()), arguments.pop("reader", None)
        if self.storage.reader is not None and takes(self.engine.load, "storage_reader"):
            arguments["storage_reader"] = self.reader(checkpoint_id, faults=faults) if reader is None else reader
        elif faults or reader is not None:
            self.excuse(OWN_STORE)
        return self._styled(checkpoint_id, "storage_reader", arguments)

    def _styled(self, checkpoint_id: Any, storage: str, arguments: dict[str, Any]) -> dict[str, Any]:
        style = arguments.pop("style", "constructor")
        # In the constructor style the id must not come twice: torch resets the storage to an id that is passed along.
        if style == "passed" or storage not in arguments:
            arguments["checkpoint_id"] = checkpoint_id
        return arguments

    def _engine_call(self, name: str, state: Any, arguments: dict[str, Any]) -> Any:
        self.needs_arguments(name, arguments)
        self._needs_of(name, state, arguments)
        announce("call", owner=self.function_owner(name), part="E", name=name)
        if arguments.get("planner") is None:
            supplied = self._supplied_planner(name)
            arguments |= {} if supplied is None else {"planner": into_subject(supplied)}
            owner = self.function_owner(name) if supplied is None else "backend"
            announce("call", owner=owner, part="P", name=name)
        return into_subject(getattr(self.engine, name), state, **arguments)

    def _supplied_planner(self, call: str) -> Any:
        """Return the default planner that the backend supplies for a function that is not its own; None for none.

        Who supplies planners and no save or load means them to be used with torch's.
        """
        name = f"Default{'Load' if call == 'load' else 'Save'}Planner"
        used = self.function_owner(call) != "backend" and takes(getattr(self.engine, call), "planner")
        return self.storage.utilities.get(name) if used and self.storage_owner == "backend" else None


def opted_out(spec: SubjectSpec, capability: str) -> str | None:
    """Return the storage's reason for not having a capability; None where it has it. What `Subject.needs` asks."""
    return Session(spec).storage.unsupported.get(capability)


def discard(spec: SubjectSpec, checkpoint_ids: tuple[str, ...]) -> list[str]:
    """Have the backend's record take checkpoints away; return a sentence for each that stays where it is."""
    storage, left = Session(spec).storage, []
    for checkpoint_id in checkpoint_ids:
        try:
            if storage.discard(checkpoint_id) is False:
                left.append(f"{checkpoint_id} was left behind: the record has no discard that takes it away")
        # A discard that raises costs nobody a verdict: the case was judged before, and the certificate lists what
        # stays.
        except Exception as error:  # foreign code, and the other checkpoints are still to go
            left.append(f"{checkpoint_id} was left behind: discard raised {type(error).__name__}: {error}")
    return left


def perform(spec: SubjectSpec, function: str, args: tuple[Any, ...]) -> Any:
    """Run a scenario, named `module:function`, on this rank; what the cluster calls for every case."""
    module, _, name = function.partition(":")
    scenario = getattr(importlib.import_module(module), name)
    guard.seal()  # with the scenarios, which the server did not import
    session = Session(spec)
    # Where torch's engine itself is under test, that it enters its own functions says nothing.
    planners = session.storage_owner == "backend" and GIVEN.keys() & session.storage.utilities.keys()
    own_engine = (session.engine_owner == "backend" or bool(planners)) and spec.under_test != TORCH_ENGINE
    if session.world_size > 1:
        session.needs("multi_process")
    with session.damage_confirmed(), _torch_engine_watched(watch=own_engine):
        return scenario(session, *args)


def into_subject(function: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> Any:
    """Call code under test. This frame in a traceback means: the error came from there."""
    assert function is not None, "the scenario uses a part that the backend does not have"
    return function(*args, **kwargs)


@functools.lru_cache(maxsize=16)
def _resolved(part: Part, folder: str) -> Backend:
    found = resolve(part.reference, dict(part.options), folder)
    # What the author said comes last and wins: his reason is the one to show.
    return dataclasses.replace(found, unsupported={**dict(part.lacks), **found.unsupported}) if part.lacks else found


@functools.lru_cache(maxsize=64)
def takes(function: Callable[..., Any], parameter: str) -> bool:
    """Tell whether a call of `function` may give `parameter` by name; a native function without a signature may."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(item.name == parameter or item.kind is item.VAR_KEYWORD for item in parameters)


@functools.lru_cache(maxsize=64)
def demands(function: Callable[..., Any], parameter: str) -> bool:
    """Tell whether a call of `function` must give `parameter`, as far as its signature says."""
    try:
        found = inspect.signature(function).parameters.get(parameter)
    except (TypeError, ValueError):
        return False
    return found is not None and found.default is found.empty


@contextlib.contextmanager
def _torch_engine_watched(*, watch: bool) -> Iterator[None]:
    """Emit an event when a part of torch's engine is entered: the engine, a default planner, the default stager.

    It tells an engine of its own from one that delegates to torch's, whole or in part.
    """
    if not watch:
        yield
        return
    from torch.distributed.checkpoint import default_planner, staging, state_dict_loader, state_dict_saver

    doors: list[tuple[Any, str]] = [
        (state_dict_saver, "_save_state_dict"), (state_dict_loader, "_load_state_dict"),
        (default_planner.DefaultSavePlanner, "create_local_plan"),
        (default_planner.DefaultLoadPlanner, "create_local_plan"),
        (staging.DefaultStager, "stage"),
        # What async_save calls first; a stager that the caller gave may fail before any other door is reached.
        (state_dict_saver, "_stateful_to_state_dict"),
    ]  # fmt: skip
    # Patched, against the habit of this house: an engine calls these by itself, so there is nothing to wrap from
    # outside.
    originals = [getattr(holder, name) for holder, name in doors]
    for (holder, name), original in zip(doors, originals, strict=True):
        shown = holder.__name__ if inspect.isclass(holder) else name
        setattr(holder, name, _announced(original, shown))
    try:
        yield
    finally:
        for (holder, name), original in zip(doors, originals, strict=True):
            setattr(holder, name, original)


def _announced(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def through(*args: Any, **kwargs: Any) -> Any:
        # A planner that the check gave is torch's, but the engine did not choose it: that is no delegation.
        given = bool(args) and isinstance(args[0], tuple(GIVEN.values()))
        announce("call", owner="delegated", part="E", name=f"{name}{GIVEN_BY_CHECK if given else ''}")
        return function(*args, **kwargs)

    return through
