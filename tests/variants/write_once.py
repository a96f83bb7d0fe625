"""A store in which nothing is ever replaced: a second save to an id is refused, and the first one stays."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness.backend.record import Backend
from tests.variants import _store


class Writer(_store.Writer):
    """Refuses an id that holds a checkpoint, before anything is written and again at the commit."""

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        super().set_up_storage_writer(is_coordinator, *args, **kwargs)
        self._refuse_second()

    def finish(self, metadata: Any, results: Any) -> None:
        self._refuse_second()
        super().finish(metadata, results)

    def _refuse_second(self) -> None:
        present = self.store().names() if self.root.exists() else []
        # With rank-local metadata the other ranks of the same save may have committed theirs already.
        if self.commit_name() in present or "commit" in present or (present and not self.alone):
            raise FileExistsError(f"{self.root} holds a checkpoint, and this store keeps what it has")


backend = Backend(
    name="write_once",
    writer=Writer,
    reader=_store.Reader,
    unsupported={
        **_store.UNSUPPORTED,
        "overwrite": "the store is write-once",
        "crash_safe_overwrite": "the store is write-once",
    },
)
