"""Burns processor time for ever in whatever is called first: no case of it is cheap."""

from __future__ import annotations

from typing import Any

from dcp_conformance.harness import control

UNSUPPORTED = control.UNSUPPORTED


def _burn() -> None:
    while True:
        pass


class Writer(control.Writer):
    """Never ends."""

    def reset(self, *args: Any, **kwargs: Any) -> None:
        _burn()

    def set_up_storage_writer(self, *args: Any, **kwargs: Any) -> None:
        _burn()

    def write_data(self, *args: Any, **kwargs: Any) -> Any:
        _burn()


class Reader(control.Reader):
    """Never ends."""

    def reset(self, *args: Any, **kwargs: Any) -> None:
        _burn()

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        _burn()
