"""Bugs that need a history: each step is right by itself, and so is each pair of steps that a check had in mind."""

from __future__ import annotations

import copy
import functools
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from dcp_conformance.harness.control.objects import read_object
from tests.mutants.making import engine, storage


class _Linked(control.Reader):
    """Follows names that lead into another checkpoint."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        for request in plan.items:
            name = self._names[request.storage_index]
            root, linked, inner = name.partition("::")
            content = read_object(Path(root), inner) if linked else read_object(self._root, name)
            control._deliver(content, [request], planner)
        return _done([])


def _done(results: list[Any]) -> Any:
    done: Any = torch.futures.Future()
    done.set_result(results)
    return done


class _Incremental(control.Writer):
    """Writes what changed since its own last save, wherever that one went; the rest it finds there."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._kept: dict[str, tuple[str, Path, str]] = {}

    def write_data(self, plan: Any, planner: Any) -> Any:
        return _done([self._or_known(one) for one in super().write_data(plan, planner).value()])

    def _or_known(self, one: Any) -> Any:
        digest = hashlib.sha256(read_object(self._root, one.storage_data)).hexdigest()
        known, root, name = self._kept.get(one.index.fqn, ("", Path(), ""))
        if known == digest and root != self._root:
            return replace(one, storage_data=f"{root}::{name}")
        self._kept[one.index.fqn] = (digest, self._root, one.storage_data)
        return one


class _Resuming(control.Writer):
    """Goes on with what a save that was not finished has written, by key and size."""

    _unfinished: ClassVar[dict[tuple[str, int], tuple[Path, str]]] = {}

    def write_data(self, plan: Any, planner: Any) -> Any:
        return _done([self._or_unfinished(one) for one in super().write_data(plan, planner).value()])

    def _or_unfinished(self, one: Any) -> Any:
        root, name = self._unfinished.setdefault((one.index.fqn, one.size_in_bytes), (self._root, one.storage_data))
        other = root != self._root and (root / name).exists()
        return replace(one, storage_data=f"{root}::{name}") if other else one

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        self._unfinished.clear()


class _MakesFoldersOnce(control.Writer):
    """Remembers the folders that it has made."""

    def __init__(self, checkpoint_id: Any) -> None:
        super().__init__(checkpoint_id)
        self._made: set[Path] = set()

    def write_data(self, plan: Any, planner: Any) -> Any:
        if self._root in self._made and not self._root.exists():
            raise FileNotFoundError(f"no such folder: {self._root}")
        self._made.add(self._root)
        return super().write_data(plan, planner)


_pool = ThreadPoolExecutor(1)
_newest: dict[str, Any] = {}


@functools.wraps(reference_impl.save)
def _save(state_dict: Any, **kwargs: Any) -> Any:
    _newest["writer"] = kwargs.get("storage_writer")
    return reference_impl.save(state_dict, **kwargs)


@functools.wraps(reference_impl.async_save)
def _save_later(state_dict: Any, **kwargs: Any) -> Any:
    """Writes where the training saves now, and asks for that when it comes to it."""
    began = _newest.get("writer")
    state = copy.deepcopy(state_dict)
    given = {name: kwargs[name] for name in ("checkpoint_id", "planner", "process_group") if name in kwargs}

    def late() -> Any:
        time.sleep(0.03)
        now = _newest.get("writer")
        return reference_impl.save(state, storage_writer=kwargs["storage_writer"] if now is began else now, **given)

    return _pool.submit(late)


links_what_its_last_save_had = storage(breaks=["FIN-04"], writer=_Incremental, reader=_Linked)
goes_on_with_a_save_that_failed = storage(breaks=["FIN-14"], writer=_Resuming, reader=_Linked)
makes_each_folder_once = storage(breaks=["API-09"], writer=_MakesFoldersOnce)
follows_the_training_to_another_id = engine(breaks=["FIN-04"], save=_save, async_save=_save_later)
