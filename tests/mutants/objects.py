"""Bugs in how values that are not tensors are stored and put back."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from dcp_conformance import reference_impl
from dcp_conformance.harness import control
from tests.mutants.making import Tap, engine, storage
from tests.mutants.partial import loading


class _Loading(reference_impl.DefaultLoadPlanner):
    """A planner that changes what was loaded, or what it does with it."""

    def _put(self, name: str, value: Any) -> None:
        super()._put(name, self.changed(self.state_dict.get(name), value))

    def changed(self, old: Any, new: Any) -> Any:
        """What is put in the place of `old` where `new` was loaded."""
        return new


class _Common(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        if isinstance(new, frozenset):
            return set(new)
        return tuple(new) if isinstance(new, torch.Size) else new


class _Filling(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        return new if old is None else old


class _TakesNoneForNothing(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        return old if new is None else new


class _TakesFalseForNothing(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        return new if isinstance(new, torch.Tensor) or new else old


class _Unpacking(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        return new.getvalue() if isinstance(new, io.BytesIO) else new


class _SameLength(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        if isinstance(old, list) and isinstance(new, list):
            return new[: len(old)] + old[len(new) :]
        return new


class _TuplesInPlace(_Loading):
    def changed(self, old: Any, new: Any) -> Any:
        if not (isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new)):
            return new
        return tuple(self._filled(left, right) for left, right in zip(old, new, strict=True))

    def _filled(self, old: Any, new: Any) -> Any:
        if isinstance(old, torch.Tensor) and isinstance(new, torch.Tensor):
            return old.copy_(new)
        return new


class _Forgiving(reference_impl.DefaultLoadPlanner):
    """Takes an object that it cannot make for one that is not needed any more."""

    def load_bytes(self, read_item: Any, value: Any) -> None:
        try:
            super().load_bytes(read_item, value)
        except Exception:
            self._put(read_item.dest_index.fqn, None)


class _Skipping(reference_impl.DefaultSavePlanner):
    """Stores None for what cannot be pickled."""

    def lookup_object(self, index: Any) -> Any:
        found = super().lookup_object(index)
        if isinstance(found, torch.Tensor):
            return found
        try:
            pickle.dumps(found)
        except Exception:  # whatever it was, the save goes on without it: that is the bug
            return None
        return found


def _save_skipping(state_dict: Any, **options: Any) -> Any:
    options["planner"] = options.get("planner") or _Skipping()
    return reference_impl.save(state_dict, **options)


class _Streams(Tap):
    """A planner that gets other streams than the stored ones."""

    def __init__(self, planner: Any, *, padding: bytes = b"", at_end: bool = False) -> None:
        super().__init__(planner)
        self._padding, self._at_end = padding, at_end

    def load_bytes(self, item: Any, value: Any) -> None:
        stream = io.BytesIO(value.getvalue() + self._padding)
        stream.seek(0, io.SEEK_END if self._at_end else io.SEEK_SET)
        self._inner.load_bytes(item, stream)


class _PaddingReader(control.Reader):
    """Hands over whole blocks of 4 KiB, as its store keeps them."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        streams: Any = _Streams(planner, padding=bytes(4096))
        return super().read_data(plan, streams)


class _UnwoundReader(control.Reader):
    """Hands over the stream that it has just written."""

    def read_data(self, plan: Any, planner: Any) -> Any:
        streams: Any = _Streams(planner, at_end=True)
        return super().read_data(plan, streams)


turns_rare_types_into_common_ones = loading(_Common, breaks=["BYTE-01"])
fills_only_empty_places = loading(_Filling, breaks=["BYTE-02", "BYTE-03", "BYTE-04"])
takes_none_for_nothing = loading(_TakesNoneForNothing, breaks=["BYTE-01"])
takes_what_is_false_for_nothing = loading(_TakesFalseForNothing, breaks=["BYTE-01"])
unpacks_streams = loading(_Unpacking, breaks=["BYTE-03"])
keeps_the_length_of_lists = loading(_SameLength, breaks=["BYTE-04"])
loads_tensors_of_tuples_in_place = loading(_TuplesInPlace, breaks=["BYTE-06"])
gives_none_for_vanished_classes = loading(_Forgiving, breaks=["BYTE-08"])
stores_none_for_what_cannot_be_stored = engine(breaks=["BYTE-05"], save=_save_skipping)
hands_over_padded_streams = storage(breaks=["BYTE-07"], reader=_PaddingReader)
hands_over_streams_at_their_end = storage(breaks=["BYTE-07"], reader=_UnwoundReader)
