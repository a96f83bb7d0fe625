"""The stand-in that taps a writer must be taken for the writer by everything that an engine may ask."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from torch.distributed.checkpoint import FileSystemWriter, StorageWriter
from torch.distributed.checkpoint.staging import AsyncStager

from dcp_conformance.harness import control
from dcp_conformance.harness.faults.fault import WRITER_PHASES
from dcp_conformance.harness.faults.proxy import interpose


class Tap:
    """Counts calls and forwards them."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def call(self, method: str, inner: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.seen.append(method)
        return inner(*args, **kwargs)


class Odd(control.Writer):
    """Has a length of 0, a slot of its own, a method with a signature, and calls itself."""

    mode = "class attribute"

    def __len__(self) -> int:
        return 0

    def set_up_storage_writer(self, is_coordinator: bool) -> None:
        self.reset()


def proxied(kind: Any = Odd) -> tuple[Any, Any, Tap]:
    inner, tap = kind("/nowhere"), Tap()
    return interpose(inner, tuple(WRITER_PHASES), tap), inner, tap


def test_it_is_an_instance_of_everything_that_the_writer_is() -> None:
    proxy, _, _ = proxied(FileSystemWriter)
    assert isinstance(proxy, FileSystemWriter) and isinstance(proxy, StorageWriter) and isinstance(proxy, AsyncStager)
    assert not isinstance(proxied(Odd)[0], AsyncStager)


def test_truth_and_length_are_the_writers_own() -> None:
    assert not proxied()[0] and len(proxied()[0]) == 0
    sound = proxied(control.Writer)[0]
    assert sound and not hasattr(sound, "__len__")


def test_signatures_are_kept_because_engines_look_for_kwargs() -> None:
    assert "kwargs" not in inspect.signature(proxied()[0].set_up_storage_writer).parameters
    assert "kwargs" in inspect.signature(proxied(control.Writer)[0].set_up_storage_writer).parameters


def test_calls_across_the_interface_are_tapped_and_calls_to_itself_are_not() -> None:
    proxy, _, tap = proxied()
    proxy.set_up_storage_writer(True)
    assert tap.seen == ["set_up_storage_writer"]


def test_attributes_are_read_and_written_on_the_writer() -> None:
    proxy, inner, _ = proxied()
    proxy.mode = "changed"
    proxy.fresh = 1
    assert (inner.mode, inner.fresh, proxy.mode) == ("changed", 1, "changed")
    del proxy.fresh
    assert not hasattr(inner, "fresh")
    with pytest.raises(AttributeError):
        proxy.absent  # noqa: B018


def test_class_methods_work_through_it() -> None:
    assert proxied(control.Writer)[0].validate_checkpoint_id("/tmp/x") is True


def test_a_pickled_copy_is_tapped_too() -> None:
    copy = pickle.loads(pickle.dumps(proxied()[0]))
    assert isinstance(copy, Odd) and not copy
    copy.set_up_storage_writer(False)


@pytest.mark.parametrize("method", sorted(set(WRITER_PHASES)))
def test_every_method_of_the_interface_is_tapped(method: str) -> None:
    assert hasattr(StorageWriter, method), "the interface of this torch lacks a method that a phase is named after"


def test_no_method_of_the_interface_slips_past() -> None:
    public = {name for name in vars(StorageWriter) if not name.startswith("_")}
    assert public - set(WRITER_PHASES) == {"validate_checkpoint_id"}, "a new method: give it a phase, or say why not"
