"""Storage that says the wrong thing about ids, or takes back what it gave to a planner."""

from __future__ import annotations

import io
from typing import Any

from dcp_conformance.harness import control
from tests.mutants.making import storage


class _NoWriter(control.Writer):
    """Leaves the choice to others."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return False


class _YesReader(control.Reader):
    """Has nothing against anything."""

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        return True


class _Lending:
    """A planner whose streams are done with once it was told of them."""

    def __init__(self, planner: Any) -> None:
        self._planner, self._stream = planner, io.BytesIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._planner, name)

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        self._planner.load_bytes(read_item, value)
        value.close()


class _Pooled(_Lending):
    """As _Lending; one buffer is filled anew for each object."""

    def load_bytes(self, read_item: Any, value: io.BytesIO) -> None:
        self._stream.seek(0)
        self._stream.write(value.getvalue())
        self._stream.truncate()
        self._stream.seek(0)
        self._planner.load_bytes(read_item, self._stream)


class _ClosingReader(control.Reader):
    lends = _Lending

    def read_data(self, plan: Any, planner: Any) -> Any:
        return super().read_data(plan, self.lends(planner))  # type: ignore[arg-type]


class _PooledReader(_ClosingReader):
    lends = _Pooled


does_not_know_its_own_ids = storage(breaks=["API-29"], writer=_NoWriter)
believes_that_it_serves_everything = storage(breaks=["API-30"], reader=_YesReader)
closes_streams_that_it_gave = storage(breaks=["BYTE-09"], reader=_ClosingReader)
gives_one_stream_again_and_again = storage(breaks=["BYTE-09"], reader=_PooledReader)
